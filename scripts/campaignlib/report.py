"""What a campaign found, for people and for programs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.campaignlib.incidents import GROUPS, deck
from scripts.campaignlib.ledger import KINDS, PATIENCE_BLOCKS
from scripts.campaignlib.run import Outcome


def as_json(outcome: Outcome) -> dict[str, Any]:
    late = sum(count for blocks, count in outcome.delays.items() if blocks > PATIENCE_BLOCKS)
    return {
        "seed": outcome.seed,
        "minutes": round(outcome.minutes, 1),
        "blocks": outcome.blocks,
        "faults": dict(outcome.faults),
        "effects": dict(outcome.hits),
        "impossible_here": sorted(outcome.left_out),
        "left_out": dict(sorted(outcome.left_out.items())),
        "met_nothing": dict(+outcome.met_nothing),
        "lost": {kind: sum(loss.kind == kind for loss in outcome.losses) for kind in KINDS},
        "losses": [f"{loss.kind}: {loss.what}" for loss in outcome.losses],
        "findings": outcome.findings,
        "kills": outcome.kills,
        "lives": outcome.lives,
        "ended_by_itself": [end["code"] for end in outcome.exits],
        "liquidations": {"ours": outcome.liquidated, "within_5_blocks": sum(outcome.delays.values()) - late,
                         "later": late, "slowest_blocks": max(outcome.delays, default=0), "late": list(outcome.late)},
        "transactions": {"signed": outcome.transactions, "mined": outcome.mined},
        "notices": {"distinct": outcome.notices, "repeated": outcome.repeated},
        "positions_compared": outcome.positions_compared,
        "lag_blocks": _spread(outcome.lags),
        "memory_mib": {"first": _mib(outcome.memory_kib[:3]), "last": _mib(outcome.memory_kib[-3:]),
                       "most": _mib([max(outcome.memory_kib, default=0)])},
        "happened": dict(outcome.happened),
        "excused": dict(outcome.excused),
        "said": {event: outcome.said[event] for event in sorted(outcome.said) if event in _TELLING},
    }  # fmt: skip


_TELLING = (
    "rpc_endpoint_failed", "rpc_endpoint_excluded", "rpc_endpoint_recovered", "retrying", "heads_subscription_silent",
    "heads_stopped", "chain_reorganized", "started", "catching_up", "rpc_endpoint_lied", "rpc_endpoint_paroled",
    "rpc_endpoint_readmitted", "endpoints_contradict", "mode_changed", "foreign_transactions_mined",
    "transactions_left_at_once",
)  # fmt: skip


def _spread(values: Sequence[int]) -> dict[str, int]:
    ranked = sorted(values)
    at = lambda share: ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0  # noqa: E731
    return {"median": at(0.5), "p95": at(0.95), "most": at(1.0)}


def _mib(values: Sequence[int]) -> int:
    return round(max(values, default=0) / 1024)


def table(told: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of one campaign or several, each as `as_json` tells it: what befell how often, and what was lost."""
    faults, effects, lost = Counter[str](), Counter[str](), Counter[str]()
    for one in told:
        faults.update(one["faults"])
        effects.update(one["effects"])
        lost.update(one["lost"])
    groups = {kind: make().group for kind, make in deck(random.Random(0), 1_000).items()}  # noqa: S311
    lines = ["| fault | injected | effects |", "|---|--:|--:|"]
    for group in GROUPS:
        kinds = [kind for kind in groups if groups[kind] == group and kind in faults]
        lines += [f"| {group}: {kind} | {faults[kind]} | {effects[kind]} |" for kind in kinds]
    lines.append(f"| **all, of {len(faults)} kinds** | **{sum(faults.values())}** | **{sum(effects.values())}** |")
    lines += ["", "| lost | |", "|---|--:|", *(f"| {kind} | {lost[kind]} |" for kind in KINDS)]
    return "\n".join(lines)


def summary(told: Mapping[str, Any]) -> list[str]:
    """The rest of one campaign, in words."""
    settled, lag, memory = told["liquidations"], told["lag_blocks"], told["memory_mib"]
    notices, transactions = told["notices"], told["transactions"]
    return [
        f"seed {told['seed']}: {told['minutes']} minutes, {told['blocks']} blocks, {told['lives']} lives, "
        f"{told['kills']} kills, {len(told['ended_by_itself'])} ends by itself",
        f"liquidations confirmed {settled['ours']}; runs of liquidatable blocks settled within five fair ones "
        f"{settled['within_5_blocks']}, later {settled['later']}, the slowest after {settled['slowest_blocks']}",
        f"transactions signed {transactions['signed']}, mined {transactions['mined']}; notices {notices['distinct']}, "
        f"repeated {notices['repeated']}; positions equal to a fresh index {told['positions_compared']}",
        f"blocks behind: median {lag['median']}, p95 {lag['p95']}, most {lag['most']}; "
        f"memory MiB: first {memory['first']}, last {memory['last']}, most {memory['most']}",
        *(f"late: {one}" for one in settled.get("late", ())),
        *(f"met nothing, {count} times: {kind}" for kind, count in told.get("met_nothing", {}).items()),
        *(f"left out: {', '.join(kinds)}: {reason}" for reason, kinds in _by_reason(told.get("left_out", {})).items()),
    ]


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, reason in left_out.items():
        kinds.setdefault(reason, []).append(kind)
    return kinds

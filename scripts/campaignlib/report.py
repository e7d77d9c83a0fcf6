"""What a campaign found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scripts.campaignlib.ledger import KINDS, PATIENCE_BLOCKS
from scripts.campaignlib.run import Outcome

_GROUPS = ("node", "kill", "machine", "receiver", "chain", "load")


def as_json(outcome: Outcome) -> dict[str, Any]:
    late = sum(count for blocks, count in outcome.delays.items() if blocks > PATIENCE_BLOCKS)
    return {
        "seed": outcome.seed,
        "minutes": round(outcome.minutes, 1),
        "blocks": outcome.blocks,
        "faults": dict(outcome.faults),
        "effects": dict(outcome.hits),
        "impossible_here": sorted(outcome.impossible),
        "lost": {kind: sum(loss.kind == kind for loss in outcome.losses) for kind in KINDS},
        "losses": [f"{loss.kind}: {loss.what}" for loss in outcome.losses],
        "findings": outcome.findings,
        "kills": outcome.kills,
        "lives": outcome.lives,
        "ended_by_itself": [end["code"] for end in outcome.exits],
        "liquidations": {"ours": outcome.liquidated, "within_5_blocks": sum(outcome.delays.values()) - late,
                         "later": late, "slowest_blocks": max(outcome.delays, default=0)},
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
    "heads_stopped", "chain_reorganized", "started", "catching_up", "endpoint_quarantined", "endpoint_readmitted",
    "mode_changed", "foreign_transaction_adopted",
)  # fmt: skip


def _spread(values: Sequence[int]) -> dict[str, int]:
    ranked = sorted(values)
    at = lambda share: ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0  # noqa: E731
    return {"median": at(0.5), "p95": at(0.95), "most": at(1.0)}


def _mib(values: Sequence[int]) -> int:
    return round(max(values, default=0) / 1024)


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: kinds, how often, what each did; then what was lost."""
    faults, hits, groups = Counter[str](), Counter[str](), dict[str, str]()
    for one in outcomes:
        faults += one.faults
        hits += one.hits
        groups |= one.groups
    lines = ["| fault | injected | effects |", "|---|--:|--:|"]
    for group in _GROUPS:
        kinds = sorted(kind for kind in faults if groups[kind] == group)
        lines += [f"| {group}: {kind} | {faults[kind]} | {hits[kind]} |" for kind in kinds]
    lines.append(f"| **all** | **{sum(faults.values())}** | **{sum(hits.values())}** |")
    lost = Counter(loss.kind for one in outcomes for loss in one.losses)
    lines += ["", "| lost | |", "|---|--:|", *(f"| {kind} | {lost[kind]} |" for kind in KINDS)]
    return "\n".join(lines)

"""What a run found, held against bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from scripts.endurancelib.run import BLOCK_S, SLOW_SYNC_S, Outcome


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that is allowed. waiting_growth: notices not told yet on one channel, per call that may be open: one
    that opened and ended waits twice. settled: blocks from the one that opens a loan until it is closed."""

    lag_p50_s: float = 0.25
    lag_p95_s: float = 1.5
    lag_most_s: float = 15.0
    resident_growth: float = 1.10
    settled_p95: int = 5
    settled_most: int = 40
    waiting_growth: float = 2.5
    crowd_told_s: float = 240.0


@dataclass(frozen=True, slots=True)
class Verdict:
    what: str
    found: float
    bound: float
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.found <= self.bound


def verdicts(outcome: Outcome, bounds: Bounds) -> list[Verdict]:
    seconds = [lag.seconds for lag in outcome.lags]
    took = [one.blocks for one in outcome.opened if one.blocks is not None]
    before, after = quarters([float(sample.resident) for sample in outcome.samples])
    waiting = most_waiting(outcome)
    room = (outcome.size.crowd + 2 * len(outcome.opened) + 50) * bounds.waiting_growth
    return [
        Verdict("behind the chain, median", share(seconds, 0.5), bounds.lag_p50_s, "s"),
        Verdict("behind the chain, 95 % of the time", share(seconds, 0.95), bounds.lag_p95_s, "s"),
        Verdict("behind the chain, most", share(seconds, 1.0), bounds.lag_most_s, "s"),
        Verdict("liquidatable loans never settled", sum(one.until is None for one in outcome.opened), 0),
        Verdict("blocks until settled, 95 %", share(took, 0.95), bounds.settled_p95),
        Verdict("blocks until settled, most", share(took, 1.0), bounds.settled_most),
        Verdict("resident memory, last quarter over second", round(after / before, 3), bounds.resident_growth),
        *(Verdict(f"notices waiting for {name}, most", count, room) for name, count in sorted(waiting.items())),
        Verdict("the whole crowd told, slowest", max(outcome.crowd_told_s, default=0.0), bounds.crowd_told_s, "s"),
        Verdict("ends of the daemon by itself", len(outcome.exits), 0),
        Verdict("findings", len(outcome.findings), 0),
    ]


def most_waiting(outcome: Outcome) -> dict[str, int]:
    most: Counter[str] = Counter()
    for sample in outcome.samples:
        for channel, count in sample.waiting.items():
            most[channel] = max(most[channel], count)
    return dict(most)


def as_json(outcome: Outcome, bounds: Bounds) -> dict[str, Any]:
    found = verdicts(outcome, bounds)
    took = [one.blocks for one in outcome.opened if one.blocks is not None]
    return {
        "minutes": round(outcome.seconds / 60, 2),
        "size": asdict(outcome.size),
        "blocks": outcome.blocks,
        "block_s": {"wanted": BLOCK_S, "got": round(outcome.seconds / max(outcome.blocks, 1), 3)},
        "storms": outcome.storms,
        "crowds_called": outcome.crowds_called,
        "crowd_told_s": outcome.crowd_told_s,
        "lag_blocks": spread([lag.blocks for lag in outcome.lags]),
        "lag_s": spread([lag.seconds for lag in outcome.lags]),
        "lag_s_with_slow_disk": spread([lag.seconds for lag in outcome.lags if lag.trouble]),
        "resident_mib": spread([sample.resident >> 20 for sample in outcome.samples]),
        "waiting_most": most_waiting(outcome),
        "delivered": outcome.delivered,
        "liquidations": {"opened": len(outcome.opened), "confirmed": outcome.liquidated, "blocks": spread(took)},
        "slow_sync_s": SLOW_SYNC_S if outcome.slow_syncs is not None else None,
        "verdicts": [{**asdict(one), "met": one.met} for one in found],
        "findings": outcome.findings,
        "exits": outcome.exits,
    }


def table(told: Mapping[str, Any]) -> str:
    lines = [
        f"{told['blocks']:,} blocks in {told['minutes']:.1f} minutes, one every {told['block_s']['got'] * 1e3:.0f} ms; "
        f"{told['size']['stored']:,} stored positions, {len(told['storms'])} storms, "
        f"{told['crowds_called']} times {told['size']['crowd']:,} calls, "
        f"{told['liquidations']['confirmed']} liquidations, notices delivered: {told['delivered']}",
        "",
        "| | found | at most | |",
        "|---|--:|--:|---|",
    ]
    for one in told["verdicts"]:
        unit = f" {one['unit']}" if one["unit"] else ""
        lines.append(
            f"| {one['what']} | {one['found']:g}{unit} | {one['bound']:g}{unit} | "
            f"{'met' if one['met'] else '**broken**'} |"
        )
    lines += [
        "",
        "| | median | 95 % | most |",
        "|---|--:|--:|--:|",
    ]
    for name, key in (
        ("blocks behind", "lag_blocks"),
        ("seconds behind", "lag_s"),
        ("seconds behind while the disk was slow", "lag_s_with_slow_disk"),
        ("resident MiB", "resident_mib"),
    ):
        lines.append(f"| {name} | {told[key]['median']:g} | {told[key]['p95']:g} | {told[key]['most']:g} |")
    took = told["liquidations"]["blocks"]
    lines.append(f"| blocks until a loan was settled | {took['median']:g} | {took['p95']:g} | {took['most']:g} |")
    return "\n".join([*lines, *(f"- {finding}" for finding in told["findings"])])


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": share(values, 0.5), "p95": share(values, 0.95), "most": share(values, 1.0)}


def share(values: Sequence[float], part: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))] if ranked else 0


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Means of the second and of the last quarter; 1 and 1 where there are too few to tell."""
    quarter = len(values) // 4
    if not quarter:
        return 1.0, 1.0
    return fmean(values[quarter : 2 * quarter]), fmean(values[-quarter:])

"""One line of the benchmark: a floor, ours, and how far apart they may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """what is measured against which floor; seconds of each (None where something else than time is counted); ours in
    floors, or the count; the most that it should be. remark: what else to know, for people. reason: of a target that is
    missed, what takes the time, found by profiling."""

    what: str
    floor_s: float | None
    ours_s: float | None
    ratio: float
    target: float
    remark: str = ""
    reason: str = ""

    @property
    def met(self) -> bool:
        return self.ratio <= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": round(self.ratio, 3), "met": self.met}


def timed(
    what: str, floor_s: float, ours_s: float, target: float, remark: str = "", reason: Callable[[], str] | str = ""
) -> Row:
    """reason: told, or found, only where the target is missed."""
    row = Row(what, floor_s, ours_s, ours_s / floor_s, target, remark)
    if row.met or not reason:
        return row
    return replace(row, reason=reason if isinstance(reason, str) else reason())


def counted(what: str, count: float, target: float, remark: str = "") -> Row:
    return Row(what, None, None, count, target, remark)

"""What became of each position of a replay, and of all of them (interface.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Json = dict[str, Any]

NEAR = 1.02
"""A call during which health never fell below this was not needed."""

_DAY_S = 86_400
MONTH_S = 365.25 / 12 * _DAY_S


@dataclass
class Call:
    """One episode. low: the lowest health in it. acted: the owner changed the position in it."""

    opened: int
    low: float = math.inf
    closed: int | None = None
    reason: str | None = None
    urgent: int | None = None
    acted: bool = False

    @property
    def is_false(self) -> bool:
        return self.reason == "cured" and not self.acted and self.low >= NEAR

    @property
    def is_needless(self) -> bool:
        return self.is_false or (self.closed is None and self.low >= NEAR)


@dataclass
class Outcome:
    """One position from `since` to `to`, which is where the prices end if they end earlier."""

    position: str
    since: int
    to: int
    began_low: bool = False
    liquidatable_at: int | None = None
    in_force: Call | None = None  # at that moment
    low: float = math.inf
    calls: list[Call] = field(default_factory=list)
    notices: list[int] = field(default_factory=list)  # when each was due
    bands: list[tuple[int, str]] = field(default_factory=list)

    @property
    def lead_s(self) -> int | None:
        if self.liquidatable_at is None or self.in_force is None:
            return None
        return self.liquidatable_at - self.in_force.opened

    @property
    def worst_day(self) -> int:
        """The most notices on one day (UTC)."""
        return max(Counter(at // _DAY_S for at in self.notices).values(), default=0)

    def row(self) -> Json:
        call = (
            self.in_force if self.liquidatable_at is not None else next((one for one in self.calls if one.urgent), None)
        )
        return {
            "position": self.position,
            "liquidatable_at": self.liquidatable_at,
            "called_at": None if self.in_force is None else self.in_force.opened,
            "urgent_at": None if call is None else call.urgent,
            "lead_s": self.lead_s,
            "min_health": None if not math.isfinite(self.low) else round(self.low, 6),
            "notices": len(self.notices),
            "began_low": self.began_low,
            "episodes": [[call.opened, call.closed, call.reason] for call in self.calls],
            "bands": [[at, band] for at, band in self.bands],
        }


def summary(outcomes: Sequence[Outcome], settings: Json) -> Json:
    """Everything but `began_low` and the notices is about positions that did not begin below their call line."""
    fair = [one for one in outcomes if not one.began_low]
    low = [one for one in outcomes if one.began_low]
    months = sum(one.to - one.since for one in fair) / MONTH_S
    days = sum(one.to - one.since for one in outcomes) / _DAY_S
    false = sum(call.is_false for one in fair for call in one.calls)
    needless = sum(call.is_needless for one in fair for call in one.calls)
    return {
        "positions": len(outcomes),
        **_leads(fair),
        "false_calls": false,
        "needless_calls": needless,
        "false_calls_per_position_month": _rate(false, months),
        "needless_calls_per_position_month": _rate(needless, months),
        "notices_per_position_day": _rate(sum(len(one.notices) for one in outcomes), days),
        "notices_worst_position_day": max((one.worst_day for one in outcomes), default=0),
        "position_months": round(months, 3),
        "began_low": {"positions": len(low), **_leads(low)},
        "settings": settings,
    }


def _leads(outcomes: Sequence[Outcome]) -> Json:
    breached = [one for one in outcomes if one.liquidatable_at is not None]
    leads = sorted(one.lead_s or 0 for one in breached)
    return {
        "breached": len(breached),
        "called_before_breach": sum(lead > 0 for lead in leads),
        "missed": sum(lead <= 0 for lead in leads),
        "lead_s_median": median(leads) if leads else None,
        "lead_s_p10": _tenth(leads) if leads else None,
        "called_15m": _rate(sum(lead >= 900 for lead in leads), len(leads)),
        "called_1h": _rate(sum(lead >= 3600 for lead in leads), len(leads)),
    }


def _tenth(ordered: Sequence[int]) -> int:
    """The tenth percentile, by the nearest rank."""
    return ordered[max(math.ceil(len(ordered) / 10) - 1, 0)]


def _rate(count: float, of: float) -> float | None:
    return round(count / of, 6) if of else None

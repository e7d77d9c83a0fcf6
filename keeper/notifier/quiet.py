"""Hours in which a channel is not to be disturbed, as a person says them: by the clock on the wall.

A night is the time from one instant to another: the first moment at which the clock of that day shows `start`, and the
first at which that of its last day shows `end`. So an hour that the clock skips or repeats makes a night shorter or
longer, and never splits it. A time that is skipped stands for the moment as far beyond the change.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """From `start` to `end` by the wall clock, over midnight when `end` is not later."""

    start: time
    end: time


@dataclass(frozen=True, slots=True)
class QuietHours:
    hours: Hours
    zone: ZoneInfo

    def ends_at(self, now: float) -> float | None:
        """When the night ends in which `now` lies, in unix seconds; None by day."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for day in (today - timedelta(days=1), today):
            begin, end = self._night(day)
            if begin <= now < end:
                return end
        return None

    def _night(self, day: date) -> tuple[float, float]:
        """The one that begins on this day."""
        over_midnight = timedelta(days=1 if self.hours.end <= self.hours.start else 0)
        return self._instant(day, self.hours.start), self._instant(day + over_midnight, self.hours.end)

    def _instant(self, day: date, at: time) -> float:
        return datetime.combine(day, at, self.zone).timestamp()


def parse_hours(text: str) -> Hours:
    """ "22:00-07:00". Raises ValueError with the remedy."""
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'{text!r} are no hours; write them as "22:00-07:00", from 00:00 to 23:59')
    first, second, third, fourth = (int(part) for part in found.groups())
    hours = Hours(time(first, second), time(third, fourth))
    if hours.start == hours.end:
        raise ValueError(
            f"{text!r} begin and end at the same time; raise min_band if a channel is never to be disturbed"
        )
    return hours


def parse_zone(name: str) -> ZoneInfo:
    """An IANA name, such as "Europe/Berlin". Raises ValueError naming the nearest there is."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    by_lower = {known.lower(): known for known in available_timezones()}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"did you mean {by_lower[near[0]]!r}?" if near else 'give an IANA name such as "Europe/Berlin"'
    raise ValueError(f"there is no time zone {name!r}; {hint}")

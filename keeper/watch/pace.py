"""How soon to look again: more often when a position is near, never beyond the budget of requests. Pure."""

from __future__ import annotations

BURST = 60
"""Requests that may be made at once beyond the steady budget: a start, or discovering a market again."""

SLOWEST = 8.0


class Pace:
    """calm_s, near_s: seconds from one look to the next while every position is safe, and while one is not.

    In any hour at most `per_hour + BURST` requests follow one another, whatever looks cost and however they fail. A
    node that says it is asked too often is asked half as often, and again half, until it no longer says so.
    """

    def __init__(self, calm_s: float, near_s: float, per_hour: int) -> None:
        self._calm_s = calm_s
        self._near_s = near_s
        self._per_s = per_hour / 3600
        self._owed = 0.0  # requests made and not yet paid for by time
        self._slow = 1.0

    def rest_s(self, *, requests: int, took_s: float, near: bool, limited: bool) -> float:
        """Seconds to wait after a look that sent so many requests and took so long."""
        self._slow = min(SLOWEST, self._slow * 2) if limited else max(1.0, self._slow / 2)
        self._owed = max(0.0, self._owed - took_s * self._per_s) + requests
        wanted = (self._near_s if near else self._calm_s) * self._slow
        rest = max(0.0, wanted - took_s, (self._owed - BURST) / self._per_s)
        self._owed = max(0.0, self._owed - rest * self._per_s)
        return rest

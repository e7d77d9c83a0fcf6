"""An endpoint that was caught lying: since when and why, how long nobody asks it, and what it must get right to return.

A failure passes by itself, a lie does not: who told one untrue thing may tell another that nothing proves wrong. So it
is asked nothing while any other endpoint answers, and returns only after questions whose answers prove themselves, or
are the same elsewhere. Each further lie doubles the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_S = 3_600.0
FORGIVEN_AFTER_S = 24 * 3_600.0
_MOST_DOUBLINGS = 16
PARTS = 12


@dataclass(frozen=True, slots=True)
class Lie:
    """reason: what was said that is not true. since, until: on the quarantine's clock. count: of its lies, this one
    included."""

    reason: str
    since: float
    until: float
    count: int


@dataclass(slots=True)
class Quarantine:
    """first_s: how long the first lie keeps an endpoint out. clock: seconds that only ever grow. paroled: it proved
    itself before its time was over, and is asked while nobody else is well."""

    first_s: float = 60.0
    clock: Callable[[], float] = time.monotonic
    lie: Lie | None = None
    paroled: bool = False
    _count: int = field(default=0, init=False)
    _last_at: float = field(default=0.0, init=False)

    @property
    def active(self) -> bool:
        """Whether it is still to prove itself."""
        return self.lie is not None

    @property
    def due(self) -> bool:
        """Whether it may prove itself now."""
        return self.lie is not None and self.clock() >= self.lie.until

    @property
    def early(self) -> bool:
        """Whether a first part of its time is over: where every endpoint lied, it may prove itself then."""
        return self.lie is not None and self.clock() - self._last_at >= (self.lie.until - self._last_at) / PARTS

    @property
    def left_s(self) -> float:
        return 0.0 if self.lie is None else max(0.0, self.lie.until - self.clock())

    def begin(self, reason: str) -> Lie:
        """It lied, for the first time or again."""
        now = self.clock()
        if now - self._last_at > FORGIVEN_AFTER_S:
            self._count = 0
        self._count += 1
        self._last_at = now
        rest_s = min(self.first_s * 2 ** min(self._count - 1, _MOST_DOUBLINGS), max(LONGEST_S, self.first_s))
        since = now if self.lie is None else self.lie.since
        self.lie = Lie(reason, since, now + rest_s, self._count)
        self.paroled = False
        return self.lie

    def end(self) -> None:
        self.lie, self.paroled = None, False

    def forgive(self) -> None:
        """It did not lie after all."""
        self.end()
        self._count = 0

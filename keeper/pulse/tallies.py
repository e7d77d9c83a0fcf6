"""What the daemon counts for its pulse. A few integers per block: no lock, no await, nothing that can fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keeper.core.chain import Reverted, Step
from keeper.core.types import Block

_RATE_OVER = 32
"""Blocks over which the rate is measured."""


class HeadTally:
    """Heads as announced and as taken. wall: unix seconds; clock: seconds that only ever grow."""

    def __init__(self, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.perf_counter) -> None:
        self._wall = wall
        self._clock = clock
        self._announced: Block | None = None
        self._announced_at: float | None = None
        self._arrived = 0.0
        self._taken: Block | None = None
        self._taken_at: float | None = None
        self._took_s: float | None = None
        self._recent: list[float] = []
        self.blocks = 0
        self.reorgs = 0
        self.reverted_blocks = 0
        self.deepest_reorg = 0
        self._last_reorg: dict[str, Any] | None = None

    def announced(self, block: Block) -> None:
        """The node told of a head."""
        self._announced, self._announced_at, self._arrived = block, self._wall(), self._clock()

    def took(self, step: Step) -> None:
        """A step is stored, acted on and told."""
        now = self._wall()
        if isinstance(step, Reverted):
            depth = len(step.reverted)
            self.reorgs += 1
            self.reverted_blocks += depth
            self.deepest_reorg = max(self.deepest_reorg, depth)
            self._last_reorg = {"at": now, "depth": depth, "ancestor": step.ancestor.number}
            return
        self.blocks += 1
        self._taken, self._taken_at = step.block, now
        if self._announced is not None and self._announced.hash == step.block.hash:
            self._took_s = self._clock() - self._arrived
        self._recent = [*self._recent[1 - _RATE_OVER :], now]

    def arrived(self, block: Block) -> None:
        """A gap was scanned and ends at this block."""
        self._taken, self._taken_at = block, self._wall()

    def read(self) -> dict[str, Any]:
        """behind_blocks: announced, not taken. age_s: since the newest block taken was made, by the chain's clock.

        took_s: from the announcement of the last head until it was stored, acted on and told. blocks_per_second: taken,
        over the last few dozen, until now.
        """
        now = self._wall()
        taken, announced = self._taken, self._announced
        known = [block.number for block in (announced, taken) if block is not None]
        rate = None
        if len(self._recent) > 1:
            rate = round((len(self._recent) - 1) / max(now - self._recent[0], 1e-3), 4)
        return {
            "number": None if taken is None else taken.number,
            "hash": None if taken is None else "0x" + taken.hash.hex(),
            "timestamp": None if taken is None else taken.timestamp,
            "taken_at": self._taken_at,
            "age_s": None if taken is None else round(max(0.0, now - taken.timestamp), 3),
            "took_s": None if self._took_s is None else round(self._took_s, 6),
            "announced_number": None if announced is None else announced.number,
            "announced_at": self._announced_at,
            "behind_blocks": None if taken is None else max(known) - taken.number,
            "blocks": self.blocks,
            "blocks_per_second": rate,
            "reorgs": self.reorgs,
            "reverted_blocks": self.reverted_blocks,
            "deepest_reorg": self.deepest_reorg,
            "last_reorg": self._last_reorg,
        }


class JobTally:
    """What is done now and then, by name: how often, how long the last took, and whether it failed."""

    def __init__(self, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.perf_counter) -> None:
        self._wall = wall
        self._clock = clock
        self._jobs: dict[str, dict[str, Any]] = {}

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Around one run. What goes wrong passes through."""
        job = self._jobs.setdefault(name, {"runs": 0, "failures": 0, "last_at": None, "last_s": None, "error": None})
        began = self._clock()
        try:
            yield
        except Exception as error:
            job["failures"] += 1
            job["error"] = str(error) or type(error).__name__
            raise
        else:
            job["error"] = None
        finally:
            job["runs"] += 1
            job["last_at"], job["last_s"] = self._wall(), round(self._clock() - began, 6)

    def read(self) -> dict[str, Any]:
        return {name: dict(job) for name, job in sorted(self._jobs.items())}

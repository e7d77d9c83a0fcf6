"""How long it takes from hearing of a head to each stage of what follows.

Integers in fixed buckets: a block costs a few additions, and nothing grows.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

STAGES = ("quick", "judged", "planned", "journalled", "accepted", "included")
"""quick: what was ready left before the block was read. judged: all that the block may have changed. planned:
liquidations were chosen. journalled: they are durable, and may be sent. accepted: the network took one. included: a
block that holds one was heard of."""

BOUNDS_US = tuple(
    factor * 10**power for power in range(2, 8) for factor in (1, 2, 3, 5, 7)
)  # 100 µs to 70 s; what is slower is counted behind the last
_MOST_FOLLOWED = 1_024


class Histogram:
    """counts: by bucket, upper bounds inclusive, one more for what is above the last."""

    __slots__ = ("counts", "most_us", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        self.most_us = 0

    def add(self, took_us: int) -> None:
        self.counts[bisect_left(BOUNDS_US, took_us)] += 1
        self.sum_us += took_us
        self.most_us = max(self.most_us, took_us)

    def read(self) -> dict[str, Any]:
        return {"bounds_us": BOUNDS_US, "counts": self.counts, "sum_us": self.sum_us, "most_us": self.most_us}


class Latency:
    """clock: nanoseconds that only ever grow. Of a block that nobody announced (one of several that were missed, or the
    first) nothing is counted."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._stages = {stage: Histogram() for stage in STAGES}
        self._received: int | None = None
        self._open: set[str] = set()
        self._followed: dict[str, int] = {}

    def begin(self, received_ns: int | None) -> None:
        """A block is taken whose head came at this moment of the clock."""
        self._received = received_ns
        self._open = set(STAGES)

    def reached(self, stage: str) -> None:
        """The block in hand came so far; only the first time counts."""
        self.later(stage)()

    def later(self, stage: str) -> Callable[[], None]:
        """What to call when the block in hand has come so far, also if others have been taken meanwhile."""
        received, open_ = self._received, self._open

        def reached() -> None:
            if received is not None and stage in open_:
                open_.discard(stage)
                self._stages[stage].add((self._clock() - received) // 1_000)

        return reached

    def sent(self, intents: Iterable[str]) -> None:
        """Because of the block in hand; what becomes of them is awaited."""
        if self._received is not None:
            self._followed.update(dict.fromkeys(intents, self._received))
            while len(self._followed) > _MOST_FOLLOWED:
                del self._followed[next(iter(self._followed))]

    def included(self, intent: str) -> None:
        """The block in hand holds its transaction."""
        since = self._followed.pop(intent, None)
        if since is not None and self._received is not None:
            self._stages["included"].add((self._received - since) // 1_000)

    def read(self) -> dict[str, Any]:
        return {"stages": {stage: histogram.read() for stage, histogram in self._stages.items()}}


def quantile_us(counts: Sequence[int], bounds_us: Sequence[int], part: float) -> int | None:
    """An upper bound of this quantile: of the bucket that it falls in. None without a sample, and above the last bound.
    part: 0.5 for the median."""
    wanted, seen = part * sum(counts), 0
    for count, bound in zip(counts, bounds_us, strict=False):
        seen += count
        if seen and seen >= wanted:
            return bound
    return None


def summary(stage: Mapping[str, Any]) -> dict[str, int | None]:
    """Of what a histogram's `read` says: microseconds, quantiles as the bounds of their buckets, or the largest sample
    where that is less."""
    counts, most_us = stage["counts"], stage["most_us"]
    count, bounds = sum(counts), [min(bound, most_us) for bound in stage["bounds_us"]]
    return {
        "count": count,
        "mean_us": stage["sum_us"] // count if count else None,
        "p50_us": quantile_us(counts, bounds, 0.5),
        "p90_us": quantile_us(counts, bounds, 0.9),
        "p99_us": quantile_us(counts, bounds, 0.99),
        "max_us": most_us if count else None,
    }

"""How many blocks to ask for at once. Pure: learns from what passed and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

_PROBE_AFTER = 50  # full ranges in a row before a size that was refused is tried again
_COMFORTABLE_LOGS = 5_000  # a range with more is not made larger: the usual cap is 10,000 logs


@dataclass(slots=True)
class RangeSize:
    """The number of blocks of the next range.

    size: what to ask for next. ceiling: the smallest size that was refused for being too large, less one; approached
    again after a long run of successes, since what was refused may have been one dense stretch. A limit that the
    provider named itself is kept for good.
    """

    size: int = 2_000
    largest: int = 100_000
    ceiling: int | None = None
    _run: int = 0

    def refused(self, asked: int, named_limit: int | None = None) -> None:
        """A range of `asked` blocks was too large; the provider may have named the largest that is not."""
        self._run = 0
        if named_limit is not None and 1 <= named_limit < asked:
            self.largest = min(self.largest, named_limit)
            self.size = self.largest
            return
        self.ceiling = max(1, asked - 1)
        self.size = max(1, min(self.size, asked // 2))

    def passed(self, asked: int, logs: int) -> None:
        """A range of `asked` blocks was answered with so many logs."""
        if asked < self.size:
            return  # the last piece of something, which tells nothing about larger ones
        self._run += 1
        if self.ceiling is not None and self._run >= _PROBE_AFTER:
            self.ceiling = None
            self._run = 0
        if logs <= _COMFORTABLE_LOGS:
            limit = self.largest if self.ceiling is None else min(self.largest, self.ceiling)
            self.size = max(1, min(limit, self.size + max(1, self.size // 2)))

"""What a kind of feed tells of a transaction's call data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Written:
    """A price update: what the aggregator will answer once it is mined, in the aggregator's own decimals."""

    aggregator: bytes
    answer: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A call that the called contract makes in turn."""

    to: bytes
    data: bytes


class FeedKind(Protocol):
    selectors: frozenset[bytes]
    """First four bytes of the calls that it reads."""

    def read(self, to: bytes, data: bytes) -> Sequence[Written | Passed]:
        """What a call with one of the selectors does. Raises DecodeError when the arguments are not what they should
        be, on which the contract would revert."""
        ...

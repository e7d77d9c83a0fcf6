"""Call data and logs of a transaction to the price updates in it, by all kinds of feeds together."""

from __future__ import annotations

from collections.abc import Sequence

from keeper.core.errors import DecodeError
from keeper.core.types import RawLog
from keeper.executor.oracles.ports import FeedKind, Passed, Written

ANSWER_UPDATED = "0x0559884fd3a460db3073b7fc896cc77986f16e378210ded43186175bf646fc5f"
"""AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt), which every aggregator emits."""

_DEEPEST = 3
_MOST = 32  # calls of one transaction that are looked at


class Reader:
    def __init__(self, kinds: Sequence[FeedKind]) -> None:
        self._kinds = {selector: kind for kind in kinds for selector in kind.selectors}

    def knows(self, data: bytes) -> bool:
        """Whether a call may be a price update, by its first four bytes alone."""
        return data[:4] in self._kinds

    def updates(self, to: bytes, data: bytes) -> list[Written]:
        """Price updates that a call makes, whomever it passes them through; a part that is malformed makes none."""
        found: list[Written] = []
        calls = [(to, data, _DEEPEST)]
        for _ in range(_MOST):
            if not calls:
                break
            to, data, depth = calls.pop()
            kind = self._kinds.get(data[:4])
            if kind is None:
                continue
            try:
                read = kind.read(to, data)
            except DecodeError:
                continue  # the contract would revert
            found += [one for one in read if isinstance(one, Written)]
            if depth:
                calls += [(one.to, one.data, depth - 1) for one in read if isinstance(one, Passed)]
        return found


def announced(logs: Sequence[RawLog]) -> list[Written]:
    """Price updates that a transaction says it made, or would make, in its logs."""
    found = []
    for log in logs:
        if len(log.topics) == 3 and log.topics[0] == ANSWER_UPDATED:
            answer = int.from_bytes(bytes.fromhex(log.topics[1][2:]), "big", signed=True)
            found.append(Written(bytes.fromhex(log.address[2:]), answer))
    return found

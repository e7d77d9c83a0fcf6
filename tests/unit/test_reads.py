"""drive(): reads as data, many at once for one round trip each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keeper.core.ports import Reads
from keeper.core.reads import drive
from keeper.core.types import Call, CallResult


def call(tag: str) -> Call:
    return Call(b"\x01" * 20, tag.encode())


class Chain:
    """Answers each call with its own data; None for those that say so."""

    def __init__(self) -> None:
        self.round_trips: list[list[bytes]] = []

    async def __call__(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        self.round_trips.append([one.data for one in calls])
        return [None if one.data == b"reverts" else one.data for one in calls]


def asks(*rounds: Sequence[str]) -> Reads[list[CallResult]]:
    seen: list[CallResult] = []
    for tags in rounds:
        seen += yield [call(tag) for tag in tags]
    return seen


async def test_reads_that_ask_nothing_cost_nothing():
    chain = Chain()
    assert await drive([asks(), asks()], chain) == [[], []]
    assert chain.round_trips == []


async def test_many_reads_share_their_round_trips():
    """Three protocols, of which one needs two rounds, cost two round trips."""
    chain = Chain()
    answers = await drive([asks(["a", "b"], ["c"]), asks(), asks(["d", "reverts"])], chain)
    assert answers == [[b"a", b"b", b"c"], [], [b"d", None]]
    assert chain.round_trips == [[b"a", b"b", b"d", b"reverts"], [b"c"]]


async def test_an_error_while_absorbing_reaches_the_caller():
    def refuses() -> Reads[None]:
        yield [call("a")]
        raise ValueError("not this shape")

    with pytest.raises(ValueError, match="not this shape"):
        await drive([refuses()], Chain())

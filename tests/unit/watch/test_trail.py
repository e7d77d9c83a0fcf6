"""Searching an account's logs: complete, resumed, newest first, and never in the way of an assessment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from keeper.core.errors import LogRangeTooLarge, RpcRefused, RpcUnavailable
from keeper.core.types import Log, LogTrace
from keeper.indexer.rpc.client import RpcClient
from keeper.watch.look import Watched
from keeper.watch.trail import OVERLAP_BLOCKS, Tracer, Trail

ACCOUNT, CONTRACT, EVENT = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 32
BEGINNING, HEAD = 1_000, 9_000


class Markets:
    """An adapter as far as a search knows it: a log in a block is a position named after the block."""

    name = "markets"
    start_block = BEGINNING

    def trace(self, account: bytes) -> LogTrace:
        return LogTrace(CONTRACT, (EVENT, bytes(12) + account))

    def touch_in(self, market_id: bytes, account: bytes) -> bytes:
        return market_id

    def traced(self, logs: Sequence[Log]) -> list[bytes]:
        return [int(log.block_number, 16).to_bytes(4, "big") for log in logs]


class Node(Tracer):
    """Serves at most `widest` blocks at once; says so in its own way."""

    def __init__(self, *blocks: int, widest: int = 1 << 62, failure: Exception | None = None) -> None:
        super().__init__(cast(RpcClient, None))
        self.blocks = blocks
        self.widest = widest
        self.failure = failure
        self.asked: list[tuple[int, int]] = []

    async def _ask(self, trace: LogTrace, first: int, last: int) -> Any:
        self.asked.append((first, last))
        if last - first >= self.widest:
            raise self.failure or LogRangeTooLarge(f"eth_getLogs: limited to {self.widest} blocks range")
        return [Log("0x", (), block_number=hex(number)) for number in self.blocks if first <= number <= last]

    async def search(self, trail: Trail, most: int = 10, head: int = HEAD) -> Trail:
        return await self.extend(cast(Watched, Markets()), ACCOUNT, trail, head, most)

    def found_everything(self, trail: Trail) -> bool:
        return self.is_complete(cast(Watched, Markets()), trail)


def places(trail: Trail) -> list[int]:
    return sorted(int.from_bytes(touch, "big") for touch in trail.touches)


async def test_a_generous_node_is_asked_once() -> None:
    """From the protocol's beginning to the head; Aave's, whose accounts are their own keys, never are."""
    node = Node(1_500, 8_000)
    trail = await node.search(Trail())
    assert (places(trail), node.asked, node.found_everything(trail)) == ([1_500, 8_000], [(BEGINNING, HEAD)], True)


async def test_a_narrow_node_is_asked_newest_first_and_on_until_the_beginning() -> None:
    """A few requests at a time, each block once; the size it names is taken at its word."""
    node = Node(1_500, 8_000, widest=1_000)
    trail, rounds = Trail(), 0
    while not node.found_everything(trail):
        trail, rounds = Trail.load((await node.search(trail, most=3)).dump()), rounds + 1
        if rounds == 1:
            assert places(trail) == [8_000]
    assert places(trail) == [1_500, 8_000]
    newest = [(HEAD + 1 - OVERLAP_BLOCKS, HEAD)] * (rounds - 1)  # whatever a reorg replaced, at each visit
    assert sorted(node.asked[1:]) == sorted([(BEGINNING, BEGINNING), *newest, *(
        (first, first + 999) for first in range(BEGINNING + 1, HEAD, 1_000)
    )])  # fmt: skip


async def test_what_is_new_is_found_without_asking_for_what_is_old() -> None:
    """But for a few blocks that a reorg may have replaced."""
    node = Node(1_500)
    trail = await node.search(Trail())
    node.blocks, node.asked = (1_500, HEAD - 3, HEAD + 50), []
    trail = await node.search(trail, head=HEAD + 100)
    assert places(trail) == [1_500, HEAD - 3, HEAD + 50]
    assert node.asked == [(HEAD + 1 - OVERLAP_BLOCKS, HEAD + 100)]


async def test_a_node_that_fails_delays_nobody_and_is_asked_for_less_next_time() -> None:
    node = Node(8_900, widest=500, failure=RpcUnavailable("no answer within 10 s"))
    trail = Trail()
    for _ in range(3):
        trail = await node.search(trail)
    assert node.asked[:3] == [(BEGINNING, HEAD), (HEAD - 1_999, HEAD), (HEAD - 499, HEAD)]
    assert places(trail) == [8_900]


async def test_a_node_without_logs_is_not_asked_again() -> None:
    node = Node(widest=1, failure=RpcRefused("the method eth_getLogs does not exist", -32601))
    for _ in range(3):
        assert await node.search(Trail()) == Trail()
    assert (len(node.asked), node.refused) == (1, True)


@pytest.mark.parametrize("trail", [Trail(), Trail(5, 9, frozenset({b"\x01", b"\x02" * 52}))])
def test_a_trail_survives_storage(trail: Trail) -> None:
    assert Trail.load(trail.dump()) == trail

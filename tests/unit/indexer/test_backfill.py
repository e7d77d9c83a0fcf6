"""What a backfill arrives with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from keeper.core.errors import LogRangeTooLarge, StateUnavailable
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, LogFilter, Update
from keeper.indexer.backfill import backfill
from keeper.store import open_store
from tests.support.toy_chain import ToyNode, ToyProtocol

TARGET = Block(BlockRef(5, b"\x05" * 32), b"\x04" * 32, 1_700_000_000)


class Learning:
    """A protocol whose market grows by what its logs name, which only the snapshot reads."""

    name, start_block = "learning", 6

    def bootstrap(self, known: Any = None) -> Any:
        return "bare"
        yield

    def filter(self, market: str) -> LogFilter:
        return LogFilter(frozenset(), frozenset())

    def head_calls(self, market: str) -> list[Call]:
        return []

    def snapshot(self, market: str, touches: Sequence[bytes], block: Block, head: Any, held: Any) -> Any:
        return Update("grown", {}, {b"key": "position"})
        yield


class NoChain:
    async def read_calls(
        self, calls: Sequence[Call], block: BlockRef, *, avoid: Any = None
    ) -> tuple[list[CallResult], None]:
        return [], None


async def test_a_market_that_the_snapshot_made_larger_is_kept() -> None:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        books = [(cast("Any", Learning()), cast("Book[Any, Any]", Book()), None)]
        [update] = await backfill(cast("Any", NoChain()), store, books, TARGET, 5, lambda step: None)
    assert (update.market, update.positions) == ("grown", {b"key": "position"})


class Counting(Learning):
    """Touched by every piece that is scanned."""

    start_block = 0

    def filter(self, market: str) -> LogFilter:
        return LogFilter(frozenset({b"\x01" * 20}), frozenset({b"\x02" * 32}))

    def touches(self, market: str, logs: Sequence[Any]) -> list[bytes]:
        return [b"touched"]


class DenseChain(NoChain):
    """Whose logs of block 2,000 no endpoint serves."""

    async def read(self, requests: Sequence[Any], parse: Callable[[Any], Any], **_: Any) -> Any:
        if int(requests[1][1][0]["toBlock"], 16) >= 2_000:
            raise LogRangeTooLarge("too many logs")
        results = [msgspec.Raw(b'"0xffff"'), *(msgspec.Raw(b"[]") for _ in requests[1:])]
        return parse(SimpleNamespace(results=results, endpoint=SimpleNamespace(name="test")))


async def test_what_was_scanned_before_a_range_failed_is_kept() -> None:
    """However short a time ago the last checkpoint was."""
    target = Block(BlockRef(2_500, b"\x05" * 32), b"\x04" * 32, 1_700_000_000)
    with closing(open_store("sqlite://", chain_id=1)) as store:
        books = [(cast("Any", Counting()), cast("Book[Any, Any]", Book()), None)]
        with pytest.raises(LogRangeTooLarge):
            await backfill(cast("Any", DenseChain()), store, books, target, 2_500, lambda step: None)
        assert (store.scanned_to("learning"), list(store.touches("learning"))) == (1_999, [b"touched"])


WAD = 10**18
ALICE, BOB = b"\x0a" * 20, b"\x0b" * 20


class Reorganizing(ToyNode):
    """Which leaves the newest blocks of its branch once they were scanned, and no longer has their state."""

    async def read(self, *args: Any, **named: Any) -> Any:
        answer = await super().read(*args, **named)
        if not self.forks:
            self.drop(2)
            self.mine(positions={BOB: (WAD, 19 * WAD)})
            self.mine()
            self.mine()
        return answer

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        if block not in [mined.block.ref for mined in self.canonical]:
            raise StateUnavailable("header not found")
        return await super().call_many(calls, block)


async def test_what_was_scanned_above_finality_is_scanned_again() -> None:
    """On a young chain the target is not final: where its newest blocks are replaced before the backfill is through, by
    others that touched somebody else, the next attempt finds those too."""
    node, protocol = Reorganizing(), ToyProtocol()
    node.mine(positions={ALICE: (WAD, WAD)})
    for _ in range(6):
        node.mine()
    final = node.head.block.number - 3
    books = [(cast("Any", protocol), cast("Book[Any, Any]", Book()), None)]
    with closing(open_store("sqlite://", chain_id=1)) as store:
        with pytest.raises(StateUnavailable):
            await backfill(cast("Any", node), store, books, node.head.block, final, lambda step: None)
        assert store.scanned_to("toy") == final
        [update] = await backfill(cast("Any", node), store, books, node.head.block, final, lambda step: None)
    assert set(update.positions) == {ALICE, BOB}

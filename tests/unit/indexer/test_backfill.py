"""What a backfill arrives with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

from keeper.core.types import Block, BlockRef, Book, Call, CallResult, LogFilter, Update
from keeper.indexer.backfill import backfill
from keeper.store import open_store

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
    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        return []


async def test_a_market_that_the_snapshot_made_larger_is_kept() -> None:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        books = [(cast("Any", Learning()), cast("Book[Any, Any]", Book()))]
        [update] = await backfill(cast("Any", NoChain()), store, books, TARGET, lambda step: None)
    assert (update.market, update.positions) == ("grown", {b"key": "position"})

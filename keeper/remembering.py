"""At a first start: what the protocols' price feeds remember, so that lines know volatility from the beginning.

Costs a few round trips, once. Where a node refuses, or feeds remember nothing, the lines begin with a presumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from keeper.core.errors import KeeperError
from keeper.core.types import Block, BlockRef, Call, CallResult, Prices
from keeper.evaluator.judge import REMEMBERED
from keeper.indexer.reads import drive
from keeper.protocols.rounds import histories
from keeper.track import Track

log = structlog.get_logger(__name__)


class Node(Protocol):
    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]: ...


async def remember(node: Node, track: Track, market: Any, prices: Prices, block: Block) -> None:
    """Let a track that observed nothing yet begin with the rounds of the last weeks, as of this block."""
    wanted = track.judge.wants_history(market)
    if not wanted:
        return

    async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
        return await node.call_many(calls, block.ref)

    seconds = REMEMBERED * track.judge.longest_memory_s
    try:
        [feeds] = await drive([track.adapter.feeds(market)], execute)
        [found] = await drive([histories(feeds, wanted, seconds)], execute)
    except KeeperError as error:
        log.warning(
            "price_history_unavailable", protocol=track.name, error=str(error), remedy="presumed until observed"
        )
        return
    track.remember(prices, found, block.timestamp)
    rounds = sum(map(len, found.values()))
    log.info("price_history_read", protocol=track.name, assets=len(found), of=len(wanted), rounds=rounds)

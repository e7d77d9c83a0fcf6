"""Looking: every protocol at one block, each position held against the protocol's own view."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.core.errors import ConfigError, LogRangeTooLarge, RetryableError, RpcRefused
from keeper.core.ports import Traceable
from keeper.core.reads import drive
from keeper.core.types import Block, Call, CallResult, Liquidated
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.scan import scan
from keeper.watch.look import Known, Sight, Watched, differing, look

log = structlog.get_logger(__name__)

SEARCH_S = 300.0
"""How often positions are searched where they must be: a new isolated position is noticed this late."""

AFRESH_S = 6 * 3600.0
"""How often a market is discovered again, for what neither renewing it nor the protocol's own view gives away."""

AGAIN_S = 600.0
"""Between two attempts at a market in which our view of a position is not the protocol's own."""

LOGS_TIMEOUT_S = 30.0
MOST_LOG_REQUESTS = 40
"""Spent on the logs of one gap: a node that serves ten blocks at once tells of the last few hundred only."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of one protocol before a look: a market, keys of positions there, and what else to read."""

    market: Any = None
    keys: frozenset[bytes] = frozenset()
    touches: frozenset[bytes] = frozenset()


class Eyes:
    """sights: by protocol, the newest. differing: ids of positions of which it is not the protocol's own view."""

    def __init__(self, rpc: RpcClient, adapters: Sequence[Watched], markets: Sequence[bytes] = ()) -> None:
        """markets: ids of isolated markets to look in, besides those found. Raises ConfigError where there are none."""
        if markets and not any(isinstance(adapter, Traceable) for adapter in adapters):
            kinds = ", ".join(sorted({adapter.kind for adapter in adapters}))
            raise ConfigError(f"--market: none of the protocols here ({kinds}) has isolated markets; leave it out")
        self._rpc = rpc
        self._markets = tuple(markets)
        self.adapters: Mapping[str, Watched] = {adapter.name: adapter for adapter in adapters}
        self.sights: Mapping[str, Sight] = {}
        self.differing: tuple[str, ...] = ()
        self._searched_at: float | None = None
        self._afresh_at = time.monotonic()
        self._doubted_at = float("-inf")

    async def see(self, head: Block, accounts: Collection[bytes], held: Mapping[str, Held]) -> Mapping[str, Sight]:
        """Everything these accounts have at this block. held: by protocol, what is known of them."""
        now = time.monotonic()
        search = self._searched_at is None or now - self._searched_at >= SEARCH_S
        afresh = now - self._afresh_at >= AFRESH_S
        sights = await self._look_at(list(self.adapters), head, accounts, held, search=search, afresh=afresh)
        wrong = self._wrong(sights, head)
        if wrong and self.sights and not afresh and now - self._doubted_at >= AGAIN_S:
            self._doubted_at = now
            log.info("market_discovered_again", protocols=sorted(wrong), block=head.number)
            sights |= await self._look_at(sorted(wrong), head, accounts, held, search=search, afresh=True)
            wrong = self._wrong(sights, head)
        before = self.differing
        self.differing = tuple(self.adapters[name].position_id(key) for name in sorted(wrong) for key in wrong[name])
        for position in set(self.differing) - set(before):
            log.error("position_differs_from_chain", position=position, block=head.number)
        self.sights = sights
        self._searched_at = now if search else self._searched_at
        self._afresh_at = now if afresh else self._afresh_at
        return sights

    async def liquidations(self, name: str, first: int, last: int) -> list[Liquidated]:
        """Those of one protocol in these blocks, or in as many of them as the node is willing to tell of: nobody must
        wait for a warning because the past is not told."""
        adapter, market, asked = self.adapters[name], self.sights[name].market, self._rpc.requests
        found: list[Liquidated] = []
        try:
            async with asyncio.timeout(LOGS_TIMEOUT_S):
                scanned = scan(
                    self._rpc,
                    adapter.liquidation_filter(market),
                    first,
                    last,
                    lambda logs: adapter.liquidations(market, list(logs)),
                )
                async for _, to_block, happened in scanned:
                    found += happened
                    if to_block < last and self._rpc.requests - asked > MOST_LOG_REQUESTS:
                        raise LogRangeTooLarge(f"{last - to_block} blocks are left after {MOST_LOG_REQUESTS} requests")
        except (RetryableError, RpcRefused, TimeoutError) as error:
            log.warning(
                "liquidations_unknown",
                protocol=name,
                from_block=first,
                to_block=last,
                error=str(error) or f"not told within {LOGS_TIMEOUT_S:.0f} s",
                remedy="an end is told as cured or repaid though it may have been a liquidation; use another node",
            )
        return found

    def _wrong(self, sights: Mapping[str, Sight], head: Block) -> dict[str, list[bytes]]:
        found = {name: differing(self.adapters[name], sight, head.timestamp) for name, sight in sights.items()}
        return {name: keys for name, keys in found.items() if keys}

    async def _look_at(
        self,
        names: Sequence[str],
        head: Block,
        accounts: Collection[bytes],
        held: Mapping[str, Held],
        *,
        search: bool,
        afresh: bool,
    ) -> dict[str, Sight]:
        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            return await self._rpc.call_many(calls, head.ref)

        looks = []
        for name in names:
            before, mine = self.sights.get(name), held.get(name, Held())
            known = Known(mine.market if before is None else before.market, mine.keys)
            adapter, also = self.adapters[name], set(mine.touches)
            if isinstance(adapter, Traceable):
                also.update(adapter.touch_in(market, account) for market in self._markets for account in accounts)
            afresh_here = afresh or before is None  # a market that was stored may be from long ago
            looks.append(look(adapter, accounts, head, known, search=search, afresh=afresh_here, also=also))
        return dict(zip(names, await drive(looks, execute), strict=True))

"""Price updates that are not mined yet, judged as if they were, and acted on right behind them.

    pool, hints ─▶ call data read ─▶ tracked ─▶ as if mined: prices, what they open ─▶ executor, behind the update

Heads come first: whatever is being judged here is dropped when one arrives, and what still waits to be mined after it
is judged again on top of it. What is tracked is bounded; too much drops the oldest, and is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from eth_hash.auto import keccak

from keeper.core.errors import KeeperError, RetryableError
from keeper.core.types import Block, Book, Call, CallResult
from keeper.executor.ahead import Ahead, read_pending
from keeper.executor.oracles import stub
from keeper.executor.oracles.watched import Watched, look_up
from keeper.executor.oracles.written import Reader, announced
from keeper.executor.ports import Hint, HintRoute, Opportunity, Request, Venue
from keeper.indexer.reads import drive
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pending import PendingTransactions
from keeper.pipeline import Pipeline
from keeper.track import Track

log = structlog.get_logger(__name__)

MOST_TRACKED = 64
LOOK_UP_S = 300.0
"""How often it is looked up which contracts the prices come from; they are replaced a few times a year."""

LOOK_UP_AGAIN_S = 15.0


class Foresight:
    """turn: held by whoever reads or changes the books. rpc: a connection of its own, on which no head waits."""

    def __init__(
        self, pipeline: Pipeline, rpc: RpcClient, reader: Reader, routes: Sequence[HintRoute], turn: asyncio.Lock
    ) -> None:
        self.watched = Watched()
        self.dropped = 0
        self._pipeline = pipeline
        self._rpc = rpc
        self._reader = reader
        self._routes = tuple(routes)
        self._turn = turn
        self._pool = PendingTransactions(rpc, self._wanted, self.see)
        self._tracked: dict[bytes, Ahead] = {}
        self._due: dict[bytes, None] = {}
        self._said: dict[bytes, tuple[str, int]] = {}
        self._wake = asyncio.Event()
        self._started = asyncio.Event()
        self._judging: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pool.run(), name="follow pending transactions")
            group.create_task(self._look_up(), name="look up price feeds")
            group.create_task(self._work(), name="judge pending prices")
            for route in self._routes:
                group.create_task(self._listen(route), name=f"hints of {route.name}")

    async def close(self) -> None:
        await self._rpc.close()

    # --- what the daemon tells

    def head_comes(self) -> None:
        """Give way at once."""
        if self._judging is not None:
            self._judging.cancel()

    def head_taken(self) -> None:
        """Everything that still waits is judged again on top of the new block; a hint was for one block alone."""
        self._tracked = {key: ahead for key, ahead in self._tracked.items() if not ahead.hint_of}
        self._said = {key: said for key, said in self._said.items() if key in self._tracked}
        self._due = dict.fromkeys(self._tracked)
        self._started.set()
        self._wake.set()

    # --- what is heard

    def see(self, transaction: Mapping[str, Any]) -> None:
        """Track a pending transaction if it is a price update that matters."""
        ahead = read_pending(transaction)
        if ahead is None or ahead.call is None:
            return
        writes = self._reader.updates(ahead.call.to, ahead.call.data)
        writes = self.watched.relevant(writes, ahead.sender, ahead.call.to)
        if writes:
            self._track(replace(ahead, writes=tuple(writes)))

    def hear(self, hint: Hint, route: HintRoute) -> None:
        """Track what a relay tells of, if it is a price update that matters."""
        told = [one for to, data in hint.calls for one in self._reader.updates(to, data)]
        writes = self.watched.relevant(dict.fromkeys([*told, *announced(hint.logs)]))
        if writes:
            self._track(Ahead(hint.hash, tuple(writes), hint_of=route.name))

    def _wanted(self, to: str) -> bool:
        return to in self.watched.addressees

    async def _listen(self, route: HintRoute) -> None:
        async for hint in route.hints():
            self.hear(hint, route)

    def _track(self, ahead: Ahead) -> None:
        """One more, instead of the one with the same nonce that it replaces."""
        if ahead.tx_hash in self._tracked:
            return
        for key, other in list(self._tracked.items()):
            if ahead.sender and (other.sender, other.nonce) == (ahead.sender, ahead.nonce):
                self._forget(key)
        while len(self._tracked) >= MOST_TRACKED:
            self._forget(next(iter(self._tracked)))
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                log.warning("price_updates_dropped", dropped=self.dropped, limit=MOST_TRACKED)
        self._tracked[ahead.tx_hash] = ahead
        self._due[ahead.tx_hash] = None
        self._wake.set()

    def _forget(self, key: bytes) -> None:
        self._tracked.pop(key, None)
        self._due.pop(key, None)

    # --- judging

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            async with self._turn:
                if self._due and len(self._pipeline.window):
                    key = next(iter(self._due))
                    del self._due[key]
                    await self._interruptibly(self._tracked[key])
                else:
                    self._wake.clear()

    async def _interruptibly(self, ahead: Ahead) -> None:
        """Judge until a head comes. Errors of the chain are logged; it is judged again after the next head."""
        self._judging = asyncio.create_task(self._judge(ahead))
        try:
            await asyncio.wait({self._judging})
        finally:
            judging, self._judging = self._judging, None
            if not judging.done():  # we are being stopped ourselves
                judging.cancel()
                await asyncio.wait({judging})
        if judging.cancelled():
            return
        try:
            judging.result()
        except KeeperError as error:
            level = log.warning if isinstance(error, RetryableError) else log.error
            level("pending_price_not_judged", error=str(error))

    async def _look_up(self) -> None:
        """Keep knowing which contracts the prices come from, and who writes to them. Heads need not wait for it, nor it
        for them: what it reads is of one block."""
        await self._started.wait()
        while True:
            pause_s = LOOK_UP_S
            try:
                watched = await self._find_feeds()
                if watched != self.watched:
                    self.watched = watched
                    known = len(watched.aggregators)
                    log.info("price_feeds_watched", aggregators=known, addressees=len(watched.addressees))
                    await self._pool.catch_up()
            except KeeperError as error:
                pause_s = LOOK_UP_AGAIN_S
                log.warning("price_feeds_not_found", error=str(error), again_s=pause_s)
            await asyncio.sleep(pause_s)

    async def _find_feeds(self) -> Watched:
        execute = self._at(self._pipeline.window.tip)
        tracks = [track for track in self._pipeline.tracks if track.book.market is not None]
        feeds = await drive([track.adapter.feeds(track.book.market) for track in tracks], execute)
        protocols: dict[bytes, set[str]] = {}
        for track, aggregators in zip(tracks, feeds, strict=True):
            for aggregator in aggregators:
                protocols.setdefault(aggregator, set()).add(track.name)
        [watched] = await drive([look_up(protocols)], execute)
        return watched

    async def _judge(self, ahead: Ahead) -> None:
        """See what an update would open at the tip, and act behind it."""
        pipeline, tip = self._pipeline, self._pipeline.window.tip
        landing_at = pipeline.landing_at(tip)
        ahead = replace(ahead, stand_ins=self._stand_ins(ahead, landing_at))
        names = self.watched.protocols(ahead.writes)
        tracks = [track for track in pipeline.tracks if track.name in names]
        groups = [track.adapter.head_calls(track.book.market) for track in tracks]
        results, answers = await pipeline.executor.foresee(
            ahead, [call for group in groups for call in group], tip.ref, landing_at, _about(ahead, tip)
        )
        if not ahead.hint_of:
            if read_pending(answers[0]) is None:
                self._forget(ahead.tx_hash)
                return
            if answers[2] != hex(ahead.nonce):  # another transaction of its sender has to be mined first
                self._say("price_update_waits_for_another", ahead, tip, 0)
                return
            ahead = replace(ahead, raw=_raw(answers[1], ahead.tx_hash))
        if results is None:
            self._say("price_update_would_fail", ahead, tip, 0)
            return
        venues = {venue.name: venue for venue in pipeline.venues}
        opportunities: list[Opportunity] = []
        for track, group in zip(tracks, groups, strict=True):
            head, results = results[: len(group)], results[len(group) :]
            book = await self._foreseen(track, tip, head)
            venues[track.name] = Venue(track.adapter, book)
            opened = track.judge.foreseen(book, landing_at)
            opportunities += [Opportunity(venues[track.name], key) for key in opened]
        self._say("price_update_foreseen", ahead, tip, len(opportunities))
        if opportunities:
            await pipeline.executor.act_behind(ahead, tip, opportunities, list(venues.values()), landing_at)

    def _say(self, event: str, ahead: Ahead, tip: Block, opened: int) -> None:
        """Once, and again when it is another: an update may wait for many blocks."""
        said = self._said.get(ahead.tx_hash)
        self._said[ahead.tx_hash] = event, opened
        level = log.debug if said == (event, opened) else log.info
        answers = {"0x" + one.aggregator.hex(): one.answer for one in ahead.writes}
        level(event, update=ahead.name, answers=answers, block=tip.number, open_to_liquidation=opened)

    async def _foreseen(self, track: Track, tip: Block, head: Sequence[CallResult]) -> Book[Any, Any]:
        """The book with the prices that the update makes; its positions are the present ones."""
        [update] = await drive([track.adapter.sync(track.book, tip, (), head)], self._at(tip))
        market = track.book.market if update.market is None else update.market
        return Book(market, update.prices, track.book.positions)

    def _stand_ins(self, ahead: Ahead, at: int) -> dict[bytes, bytes]:
        return {
            one.aggregator: stub.answering(one.answer, self.watched.aggregators[one.aggregator].decimals, at)
            for one in ahead.writes
            if one.aggregator in self.watched.aggregators
        }

    def _at(self, block: Block) -> Any:
        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            return await self._rpc.call_many(calls, block.ref)

        return execute


def _about(ahead: Ahead, tip: Block) -> list[Request]:
    """Whether it still waits, its bytes, and its sender's next nonce; of what only a relay has, nothing."""
    if ahead.hint_of:
        return []
    at = {"blockHash": "0x" + tip.hash.hex()}
    return [
        ("eth_getTransactionByHash", [ahead.name]),
        ("eth_getRawTransactionByHash", [ahead.name]),
        ("eth_getTransactionCount", ["0x" + ahead.sender.hex(), at]),
    ]


def _raw(answer: Any, tx_hash: bytes) -> bytes | None:
    """The bytes of a transaction; None where the node does not tell them."""
    try:
        raw = bytes.fromhex(answer[2:]) if isinstance(answer, str) else b""
    except ValueError:
        return None
    return raw if keccak(raw) == tx_hash else None

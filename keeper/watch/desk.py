"""One account's desk: its store, the procedure over its positions, and what carries notices out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from keeper.core.errors import StoreError
from keeper.core.ports import Notifier, Store
from keeper.core.types import Band, Block, Liquidated, Update
from keeper.evaluator.bands import BandRules
from keeper.indexer.rpc.client import RpcClient
from keeper.notifier.outbox import Deliverer
from keeper.pipeline import Pipeline
from keeper.track import Track
from keeper.upkeep.feeds import FeedWatch
from keeper.upkeep.headwatch import HeadWatch
from keeper.watch.look import Sight
from keeper.watch.trail import Trail
from keeper.wire import House

DRAIN_S = 5.0


class Desk:
    """`start` begins to deliver; `close` delivers what is due and lets go of the store."""

    def __init__(
        self,
        account: bytes,
        store: Store,
        pipeline: Pipeline,
        deliverer: Deliverer | None = None,
        channels: Sequence[Notifier] = (),
        feeds: FeedWatch | None = None,
        heads: HeadWatch | None = None,
    ) -> None:
        self.account = account
        self.pipeline = pipeline
        self._store = store
        self._deliverer = deliverer
        self._channels = channels
        self._feeds = feeds
        self._heads = heads
        self._tasks: list[asyncio.Task[None]] = []
        pipeline.load()
        self.is_new = not len(pipeline.window)

    @classmethod
    def open(cls, account: bytes, house: House, rpc: RpcClient, blind_s: float) -> Desk:
        """blind_s: without a block judged for this long its owner hears that nobody is watching.

        Raises StoreInUse when another process watches this account.
        """
        try:
            store = house.open_store()
        except StoreError as error:
            error.add_note("keeper watch keeps one file per chain and account; --store DIR puts it into another folder")
            raise
        try:
            channels = house.telling.notifiers()
            deliverer = house.telling.deliverer(store, channels)
            pipeline = house.pipeline(rpc, store, channels, deliverer.wake, samples=True)
            conditions = house.telling.conditions(store, channels, deliverer.wake)
            heads = HeadWatch(store, conditions, blind_s, blind_s)
            return cls(account, store, pipeline, deliverer, channels, FeedWatch(conditions), heads)
        except BaseException:
            store.close()
            raise

    def start(self) -> Sequence[asyncio.Task[None]]:
        """The tasks that deliver and that notice blindness; they end only by failing."""
        assert self._deliverer is not None and self._heads is not None
        who = f"0x{self.account.hex()}"
        self._tasks = [
            asyncio.create_task(self._deliverer.run(), name=f"deliver notices of {who}"),
            asyncio.create_task(self._heads.run(), name=f"watch the heads for {who}"),
        ]
        return self._tasks

    async def close(self) -> None:
        with contextlib.closing(self._store):
            if self._tasks and self._deliverer is not None:
                await self._deliverer.drain(DRAIN_S)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.pipeline.close()
            for channel in self._channels:
                await channel.close()

    @property
    def tip(self) -> Block | None:
        window = self.pipeline.window
        return window.tip if len(window) else None

    def track(self, name: str) -> Track:
        return next(track for track in self.pipeline.tracks if track.name == name)

    def keys(self, name: str) -> frozenset[bytes]:
        """Of the positions it has in a protocol, as far as it knows."""
        return frozenset(self.track(name).book.positions)

    def trail(self, name: str) -> Trail:
        """Where this account's logs were searched for positions in a protocol."""
        return Trail.load(self._store.meta(f"trail:{name}"))

    def keep_trail(self, name: str, trail: Trail) -> None:
        with self._store.transaction() as tx:
            tx.set_meta(f"trail:{name}", trail.dump())

    def rules_of(self, name: str, key: bytes) -> BandRules:
        """The lines of a position, at the block it was last looked at."""
        track, tip = self.track(name), self.tip
        return track.judge.rules if tip is None else track.judge.rules_of(track.book, key, tip.timestamp)

    def is_near(self) -> bool:
        """Whether a position was below its watch line when last looked at, or could not be judged."""
        if (tip := self.tip) is None:
            return False
        for track in self.pipeline.tracks:
            for key in track.book.positions:
                health = track.judge.health(track.book, key, tip.timestamp)
                band = Band.SAFE if health is None else self.rules_of(track.name, key).band(health)
                if band is None or band >= Band.WATCH:
                    return True
        return False

    def begin_at(self, final: Block) -> None:
        """Hold a final block and nothing else, so that every look can be taken back."""
        self.pipeline.sample(final, [Update(None, {}, {}) for _ in self.pipeline.tracks], final=final.number)

    def changed(self, name: str, sight: Sight) -> dict[bytes, Any]:
        """What of a look is new: raw state by key, None for positions that are gone."""
        track = self.track(name)
        held = track.book.positions
        mine = {
            key: position for key, position in sight.positions.items() if track.adapter.account(key) == self.account
        }
        new = {key: position for key, position in mine.items() if held.get(key) != position}
        return new | dict.fromkeys(held.keys() - mine.keys())

    def take(
        self, block: Block, sights: Mapping[str, Sight], liquidations: Mapping[str, Sequence[Liquidated]], final: int
    ) -> None:
        """Judge what was seen at a block, store it, and put what is due in the outbox."""
        updates: list[Update[Any, Any]] = []
        for track in self.pipeline.tracks:
            sight = sights[track.name]
            updates.append(
                Update(
                    market=None if sight.market == track.book.market else sight.market,
                    prices=sight.prices,
                    positions=self.changed(track.name, sight),
                    liquidations=tuple(liquidations.get(track.name, ())),
                )
            )
        self.pipeline.sample(block, updates, final=final)
        if self._feeds is not None:
            for track in self.pipeline.tracks:
                self._feeds.look(track, block)
        if self._heads is not None:
            self._heads.saw_block()

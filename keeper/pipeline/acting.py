"""What of a block, or of the next one, the executor is to act on."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

from keeper.core.types import Block, Book, Health, Update
from keeper.evaluator.judge import Ruling
from keeper.executor.armed import View
from keeper.executor.armory import Verdicts
from keeper.executor.ports import Opinions, Opportunity, Venue
from keeper.executor.simulate import Verdict
from keeper.pipeline.memory import Memory

ARMED_BELOW = 1.1
"""Health up to which a position is near enough to liquidation for its transaction to be kept ready."""


class Acting:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def fire(
        self,
        block: Block,
        updates: Sequence[Update[Any, Any]],
        asked: Awaitable[Opinions] | None,
        tried: Awaitable[Verdicts] | None,
    ) -> bool:
        """Send what is ready of the positions that this block opens. asked: what others say of these, where there are
        others; tried: what the calls of our contract do on it. Only waited for where there is something to send."""
        firing = self._memory.executor.firing
        names = firing.armed
        if not names:
            return False
        landing_at = self._memory.landing_at(block)
        views: dict[str, View] = {}
        for track, update in zip(self._memory.tracks, updates, strict=True):
            if track.name in names:
                market = track.book.market if update.market is None else update.market
                book = Book(market, update.prices, track.book.positions)
                screen = partial(track.judge.may_open, book, landing_at)
                views[track.name] = View(Venue(track.adapter, book), update.positions, screen)
        opinions, verdicts = None, dict[str, Verdict]()
        if tried is not None and firing.awaits(views, landing_at):
            verdicts.update(await tried)
        if asked is not None and firing.would_fire(block, views, landing_at, verdicts):
            opinions = await asked
        return firing.fire(block, views, landing_at, opinions, verdicts)

    async def arm(self) -> None:
        """Between blocks: have transactions ready for the positions nearest to liquidation. May be cancelled."""
        firing = self._memory.executor.firing
        most = firing.looks_at
        if not len(self._memory.window) or not most:
            return
        tip = self._memory.window.tip
        landing_at, edge = self._memory.landing_at(tip), list[tuple[Health, Venue, bytes]]()
        for track, venue in zip(self._memory.tracks, self._memory.venues, strict=True):
            near = track.judge.edge(track.book, landing_at, most, ARMED_BELOW)
            edge += [(health, venue, key) for key, health in near]
        edge.sort(key=lambda one: one[0].factor_wad or 0)
        books = [(track.book.market, track.book.prices) for track in self._memory.tracks]

        def still() -> bool:
            now = [(track.book.market, track.book.prices) for track in self._memory.tracks]
            return self._memory.window.tip is tip and all(
                a is c and b is d for (a, b), (c, d) in zip(books, now, strict=True)
            )

        nearest = [(venue, key) for _, venue, key in edge[:most]]
        await firing.arm(tip, nearest, landing_at, still)

    def opportunities(self, rulings: Sequence[Ruling]) -> list[Opportunity]:
        return [
            Opportunity(venue, judgement.key)
            for venue, ruling in zip(self._memory.venues, rulings, strict=True)
            for judgement in ruling.breached
        ]

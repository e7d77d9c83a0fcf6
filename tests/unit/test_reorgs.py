"""Reorgs around every transition of a call: what each reader is told, in order, is consistent and ends true.

Through the whole pipeline, a real store and the rules of delivery. Every case: which transition is undone, alone or
with what led to it; how far each reader's channel had come by then; and what the new branch holds instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from keeper.core.ports import Store
from keeper.core.records import DeliveryStatus, Notice
from keeper.core.types import Band, Book, Update
from keeper.evaluator.directory import Directory
from keeper.evaluator.episodes import Episode
from keeper.evaluator.judge import Judge
from keeper.executor.executor import Executor
from keeper.executor.ports import Settings
from keeper.executor.submitters.public import PublicMempool
from keeper.indexer.follow import steps_to
from keeper.notifier.queue import take
from keeper.notifier.routing import Route, Router
from keeper.pipeline import Pipeline
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from keeper.telling import Teller
from keeper.track import Track
from tests.support.linear_market import Holdings, Market, prices_of
from tests.support.toy_chain import ToyNode, ToyProtocol
from tests.unit.test_pipeline import RULES, WAD, NoNode

OWNER = b"\x01" * 20
ROUTES = (Route(channel="all"), Route(channel="deep", min_band=Band.URGENT), Route(channel="slow"))

# What a block may bring. The owner holds one of asset 0 (threshold 80 %) and owes 12: health is price / 15.
CALM, CALLED, URGENT, OPEN = 20 * WAD, 16 * WAD, 153 * WAD // 10, 14 * WAD
STEPS: Mapping[str, Mapping[str, Any]] = {
    "quiet": {},
    "calm": {"price": CALM},
    "called": {"price": CALLED},
    "urgent": {"price": URGENT},
    "liquidatable": {"price": OPEN},
    "repaid": {"positions": {OWNER: (WAD, 0)}},
    "topped up": {"positions": {OWNER: (2 * WAD, 12 * WAD)}},
    "liquidated": {"positions": {OWNER: (WAD // 2, 4 * WAD)}, "liquidated": [OWNER]},
    "liquidated in part": {"positions": {OWNER: (WAD * 9 // 10, 10 * WAD)}, "liquidated": [OWNER]},
}
TRANSITIONS: Sequence[tuple[str, ...]] = (
    ("called",),
    ("urgent",),
    ("called", "urgent"),
    ("called", "urgent", "liquidatable"),
    ("called", "topped up"),
    ("urgent", "calm"),
    ("called", "repaid"),
    ("urgent", "liquidatable", "liquidated"),
    ("called", "liquidatable", "liquidated in part"),
)
INSTEAD: Sequence[tuple[str, ...]] = (
    ("quiet", "quiet"),
    ("calm", "quiet"),
    ("called", "quiet"),
    ("urgent", "quiet"),
    ("liquidatable", "liquidated"),
    ("called", "urgent", "calm"),
)


@dataclass
class Reader:
    """A channel and whoever reads it. believes: how deep the call is that is open, as far as they were told."""

    route: Route
    heard: list[Notice] = field(default_factory=list)
    believes: Band | None = None

    def hear(self, notice: Notice) -> None:
        assert notice.id not in {one.id for one in self.heard}, "the same was said twice"
        depth = Band[notice.band.upper()]
        if notice.event.closes:
            assert self.believes is not None, f"{notice.event} of what they never heard of"
            self.believes = None
        else:
            assert self.believes is None or depth > self.believes, f"{notice.event} says nothing new"
            self.believes = depth
        self.heard.append(notice)


class House:
    """A daemon whose channels come as far as the case says."""

    def __init__(self, store: Store) -> None:
        self.store, self.node = store, ToyNode()
        self.readers = {route.channel: Reader(route) for route in ROUTES}
        self.node.mine(positions={OWNER: (WAD, 12 * WAD)})
        self.pipeline = self._start()
        first = Update(Market(), prices_of(20 * WAD, WAD), {})
        self.pipeline.skip_to(self.node.canonical[0].block, [first], present=True)

    def _start(self) -> Pipeline:
        judge: Judge[Market, Holdings] = Judge(ToyProtocol(), RULES, acts=False)
        teller = Teller(judge, Router.of(ROUTES), Directory(checksummed))
        executor = Executor(self.store, NoNode(), PublicMempool(NoNode()), Settings(chain_id=1), lambda: 0.0)
        pipeline = Pipeline(
            self.node,
            self.store,
            [Track(judge.adapter, Book(), judge, teller)],
            executor,
            finality=1_000,
            clock=lambda: 0.0,
            wake=lambda: None,
        )
        pipeline.load()
        return pipeline

    def restart(self) -> None:
        self.pipeline = self._start()

    async def follow(self) -> None:
        for step in await steps_to(self.pipeline.window, self.node.head.block, self.node):
            await self.pipeline.apply(step)

    async def live(self, steps: Sequence[str]) -> None:
        for step in steps:
            self.node.mine(**STEPS[step])
            await self.follow()

    def deliver(self, channel: str, *, in_the_air: bool = False) -> None:
        """Everything that is due on a channel; or only its first, of which nobody can know whether it arrived."""
        while True:
            taken = take(self.store, self.readers[channel].route, 0.0)
            if in_the_air or not (taken.claimed or taken.moved):
                return
            for delivery in taken.claimed:
                with self.store.transaction() as tx:
                    tx.settle(delivery.notice.id, channel, DeliveryStatus.SENT, at=0.0)
                self.readers[channel].hear(delivery.notice)

    def truth(self) -> Episode | None:
        (track,) = self.pipeline.tracks
        return next(iter(track.judge.episodes.values()), None)


PROGRESS = (
    ("nothing", "nothing", "nothing"),
    ("sent", "sent", "sent"),
    ("sent", "nothing", "nothing"),
    ("nothing", "in the air", "sent"),
    ("in the air", "sent", "nothing"),
)
"""How far each reader's channel has come when the reorg happens."""


@pytest.mark.parametrize("came", TRANSITIONS, ids=" then ".join)
async def test_every_reader_ends_up_believing_what_is_true(came: tuple[str, ...]) -> None:
    """Whatever is undone, however far each channel had come, whatever comes instead, with and without a restart."""
    cases = product({1, len(came)}, INSTEAD, PROGRESS)
    for number, (depth, instead, progress) in enumerate(cases):
        restart = number % 2 == 0
        case = f"{came} undone by {depth}, then {instead}; {progress}; {restart=}"
        with closing(open_store("sqlite://", chain_id=1)) as store:
            house = House(store)
            await house.follow()
            await house.live(came[:-1])
            for channel, how in zip(house.readers, progress, strict=True):
                if how != "nothing":
                    house.deliver(channel)
            await house.live(came[-1:])
            for channel, how in zip(house.readers, progress, strict=True):
                if how != "nothing":
                    house.deliver(channel, in_the_air=how == "in the air")
            house.node.drop(depth)
            if restart:
                house.restart()
            await house.live(instead)
            for channel in house.readers:
                house.deliver(channel)
            truth = house.truth()
            for reader in house.readers.values():
                told = [(notice.event.value, notice.band) for notice in reader.heard]
                if reader.believes is not None:
                    assert truth is not None, f"{reader.route.channel} believes in a call that is over: {told}; {case}"
                    assert reader.believes >= truth.deepest or truth.deepest < reader.route.min_band
                elif truth is not None:
                    assert truth.deepest < reader.route.min_band, f"{reader.route.channel} was not told: {told}; {case}"

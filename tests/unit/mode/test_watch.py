"""Every transition is recorded once and told to whom it concerns; what halts transactions is found and let go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from keeper.core.records import NoticeEvent
from keeper.core.types import Block, BlockRef
from keeper.executor.breakers import Limits
from keeper.executor.guard import Guard
from keeper.executor.halt import Halt
from keeper.executor.switch import Switch
from keeper.indexer.rpc.endpoint import Endpoint, EndpointStatus
from keeper.mode.machine import Mode
from keeper.mode.watch import ModeWatch
from keeper.store import open_store
from keeper.upkeep.headwatch import HeadWatch
from tests.support.conditions import World


@dataclass
class Scene:
    world: World
    steady: float = 1000.0
    halt: Halt = field(default_factory=Halt)
    endpoints: list[EndpointStatus] = field(default_factory=list)
    modes: ModeWatch = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.world.restart()
        heads = HeadWatch(self.world.store, self.world.conditions, 120, 1800, lambda: self.steady)
        self.modes = ModeWatch(
            heads,
            self.world.store,
            self.world.conditions,
            self.halt,
            ahead_limit_s=900,
            clock=lambda: self.world.now,
            steady=lambda: self.steady,
        )
        self.modes.connect(lambda: self.endpoints, None)

    def take(self, number: int, ahead_s: int = 0) -> None:
        block = Block(BlockRef(number, bytes(31) + bytes([number])), bytes(32), int(self.world.now) + ahead_s)
        self.modes.announced(block)
        self.modes.saw_block(block)
        self.modes.look()

    def passes(self, seconds: float) -> None:
        self.steady += seconds
        self.world.now += seconds
        self.modes.look()

    def recorded(self) -> list[tuple[str | None, str]]:
        return [(entry.before, entry.event) for entry in self.world.store.audit("mode")]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield Scene(World(store))


def test_transitions_are_recorded_once_each(scene: Scene):
    scene.take(1)
    scene.take(2)
    scene.passes(121)
    scene.passes(121)
    scene.take(3)
    assert scene.recorded() == [("catching_up", "following"), ("following", "blind"), ("blind", "following")]
    assert list(scene.world.store.audit("mode"))[1].evidence["block"] == 2


def test_operators_hear_that_keeper_is_blind_and_that_it_sees_again(scene: Scene):
    scene.take(1)
    scene.passes(121)
    assert scene.world.told() == [("ops", NoticeEvent.UNHEALTHY)]
    scene.take(2)
    assert scene.world.told() == [("ops", NoticeEvent.UNHEALTHY), ("ops", NoticeEvent.RECOVERED)]


def test_degraded_is_told_with_its_reason_and_over_when_that_is_gone(scene: Scene):
    scene.take(1)
    scene.halt.set("foreign", "another program sends with our key")
    scene.take(2)
    scene.take(3)
    assert scene.modes.state.mode is Mode.DEGRADED
    assert scene.world.told() == [("ops", NoticeEvent.UNHEALTHY)]
    assert "Another program sends with our key." in scene.world.notices()[0].text
    scene.halt.set("foreign", None)
    scene.take(4)
    assert scene.modes.state.mode is Mode.FOLLOWING
    assert scene.world.told()[1:] == [("ops", NoticeEvent.RECOVERED)]


def test_missed_blocks_are_caught_up_with_and_operators_hear_when_that_takes_long(scene: Scene):
    scene.take(1)
    scene.modes.announced(Block(BlockRef(1001, b"h" * 32), bytes(32), 0))
    scene.modes.look()
    scene.passes(100)
    assert scene.modes.state.mode is Mode.CATCHING_UP
    assert scene.world.told() == []
    scene.modes.progressed()
    scene.passes(30)
    assert [notice.title for notice in scene.world.notices()] == ["Keeper is unhealthy: catching up for 2 minutes"]
    scene.take(200)
    assert scene.world.told()[1:] == [("ops", NoticeEvent.RECOVERED)]


def test_a_block_from_the_future_halts_transactions_until_the_clocks_agree(scene: Scene):
    scene.take(1, ahead_s=900)
    assert not scene.halt
    scene.take(2, ahead_s=3600)
    assert scene.modes.state.mode is Mode.DEGRADED
    assert "block 2 is 3600 s ahead of this machine's clock" in scene.halt.reasons["clock"]
    scene.take(3)
    assert not scene.halt


def liar(*, lied: bool) -> EndpointStatus:
    endpoint = Endpoint("ws://node", 1)
    if lied:
        endpoint.quarantine.begin("gave 0 logs of block 7")
    return endpoint.status()


def test_a_lying_endpoint_is_told_to_operators_and_all_of_them_halt_transactions(scene: Scene):
    scene.take(1)
    scene.endpoints = [liar(lied=True), liar(lied=False)]
    scene.take(2)
    assert [notice.title for notice in scene.world.notices()] == [
        "Keeper is unhealthy: rpc endpoint ws://node was caught lying"
    ]
    assert "gave 0 logs of block 7." in scene.world.notices()[0].text
    assert not scene.halt
    scene.endpoints = [liar(lied=True), liar(lied=True)]
    scene.take(3)
    assert scene.halt.reasons == {"endpoints": "all 2 rpc endpoints were caught lying"}
    scene.endpoints = [liar(lied=False), liar(lied=False)]
    scene.take(4)
    assert not scene.halt
    assert {event for _, event in scene.world.told()[-3:]} == {NoticeEvent.RECOVERED}


def test_the_only_endpoint_may_have_lied_without_halting_transactions(scene: Scene):
    """What it said was refused; there is nobody else to ask, and what it says next is checked as well."""
    scene.endpoints = [liar(lied=True)]
    scene.take(1)
    assert scene.modes.state.mode is Mode.FOLLOWING


def test_a_halted_guard_lets_nothing_new_through(scene: Scene, tmp_path):
    halt = Halt()
    guard = Guard(scene.world.store, Limits(), Switch(tmp_path / "pause"), lambda: scene.world.now, halt=halt)
    guard.load()
    assert guard.review((), None, 1, None) and guard.admit([1, 1], 0, 1) == 2
    halt.set("clock", "it is wrong")
    assert not guard.review((), None, 2, None)
    assert guard.admit([1, 1], 0, 2) == 0
    halt.set("clock", None)
    assert guard.review((), None, 3, None) and guard.admit([1, 1], 0, 3) == 2


def test_a_pause_degrades_without_a_notice(scene: Scene, tmp_path):
    """Whoever paused knows it."""
    guard = Guard(scene.world.store, Limits(), Switch(tmp_path / "pause"), lambda: scene.world.now, halt=scene.halt)
    scene.modes.connect(list, guard)
    (tmp_path / "pause").touch()
    guard.review((), None, 1, None)
    scene.take(1)
    assert scene.modes.state.mode is Mode.DEGRADED
    assert scene.world.told() == []

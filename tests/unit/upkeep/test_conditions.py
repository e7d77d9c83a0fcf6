"""What is wrong with Keeper or its prices: told once when it begins, once when it is over, to those it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from keeper.core.records import CommittedBlock, DeliveryStatus, NoticeEvent
from keeper.core.types import Block, BlockRef
from keeper.evaluator.house import Trouble
from keeper.notifier.routing import Route
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from keeper.upkeep.feeds import FeedWatch
from keeper.upkeep.headwatch import HeadWatch
from tests.support.conditions import ALICE, ALICES, BOB, MAIL, OPS, PAGER, World, at, holding, prices, tracked
from tests.support.linear_market import Holdings, asset
from tests.support.notices import notice


@pytest.fixture
def world() -> Iterator[World]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield World(store)


# --- Keeper itself ----------------------------------------------------------------------------------------------------


def test_operators_hear_once_that_heads_stopped_and_everybody_when_it_lasts(world: World) -> None:
    """A restart in between repeats nothing; whoever was told of the beginning is told of the end."""
    clock = 1000.0

    def heads() -> HeadWatch:
        return HeadWatch(world.store, world.conditions, 120, 1800, lambda: clock)

    watch = heads()
    watch.look()
    clock += 121
    for _ in range(3):
        watch.look()
    assert world.told() == [("ops", NoticeEvent.UNHEALTHY)]
    world.restart()
    watch = heads()
    watch.look()  # it has seen no block yet, so nothing is over
    clock += 1801
    watch.look()
    watch.look()
    unhealthy = [("ops", NoticeEvent.UNHEALTHY), ("mail", NoticeEvent.UNHEALTHY), ("alice", NoticeEvent.UNHEALTHY)]
    assert world.told() == unhealthy
    watch.saw_block()
    watch.look()
    watch.look()
    assert world.told()[3:] == [(channel, NoticeEvent.RECOVERED) for channel in ("alice", "mail", "ops")]
    assert world.notices()[0].title == "Keeper is unhealthy: no new block for 2 minutes"
    assert len({one.id for one in world.notices()}) == 6


def test_a_long_catching_up_is_no_blindness(world: World) -> None:
    clock = 0.0
    watch = HeadWatch(world.store, world.conditions, 120, None, lambda: clock)
    for _ in range(10):
        clock += 100
        watch.progressed()
        watch.look()
    assert world.told() == []


def test_without_an_operator_every_channel_is_one(world: World) -> None:
    """As with breakers, whatever depth of calls a channel is for; one that wants other events only is left alone."""
    world.operators, world.routes = (
        (),
        (OPS, PAGER, Route(channel="losses", events=frozenset({NoticeEvent.LIQUIDATED}))),
    )
    world.restart()
    world.conditions.begin(Trouble("gas", "no gas"))
    assert [channel for channel, _ in world.told()] == ["ops", "pager"]


def test_the_same_trouble_again_is_told_again(world: World) -> None:
    """Once per time that it begins: the block, and with it the idempotency key, is another one."""
    for number in (1, 2, 3):
        block = Block(BlockRef(number, bytes([number]) * 32), bytes([number - 1]) * 32, 100 + number)
        with world.store.transaction() as tx:
            tx.commit_block(CommittedBlock(block, ()))
        world.conditions.begin(Trouble("gas", "no gas"))
        world.conditions.begin(Trouble("gas", "no gas"))
        world.conditions.end("gas", "gas")
        world.conditions.end("gas", "gas")
    assert world.told() == [("ops", NoticeEvent.UNHEALTHY), ("ops", NoticeEvent.RECOVERED)] * 3
    assert len({one.id for one in world.notices()}) == 6


def test_the_same_trouble_again_is_told_again_without_a_block_in_between(world: World) -> None:
    """An endpoint that fails again before the first block: what was told before is part of the idempotency key. What a
    channel refused is not, or it would be told that time and again."""
    for _ in range(3):
        world.conditions.begin(Trouble("heads", "no block"))
        world.conditions.begin(Trouble("heads", "no block"))
        world.conditions.end("heads", "blocks again")
        world.conditions.end("heads", "blocks again")
    assert world.told() == [("ops", NoticeEvent.UNHEALTHY), ("ops", NoticeEvent.RECOVERED)] * 3
    world.settle(DeliveryStatus.SENT, "ops")
    for _ in range(3):
        world.conditions.begin(Trouble("heads", "no block"))
        world.settle(DeliveryStatus.DEAD, "ops")
        world.restart()
    assert len(world.told()) == 7


def test_what_a_channel_refuses_the_others_hear(world: World) -> None:
    """Counted since it last took anything, and without what was said of such refusals, which would never end."""
    world.operators = ("mail",)
    world.restart()
    world.conditions.begin(Trouble("gas", "no gas"))
    world.settle(DeliveryStatus.DEAD, "mail")
    assert world.store.refused("mail") == (0, None)
    with world.store.transaction() as tx:
        for number in (1, 2, 3):
            tx.add_notice(notice(number, position=f"aave:0x{number}"), ["mail"], world.now)
    for status, refused in ((DeliveryStatus.DEAD, (3, "no such chat")), (DeliveryStatus.SENT, (0, None))):
        world.settle(status, "mail")
        assert world.store.refused("mail") == refused
        with world.store.transaction() as tx:
            tx.add_notice(notice(9, position="aave:0x9"), ["mail"], world.now)


# --- prices -----------------------------------------------------------------------------------------------------------


def test_a_stale_price_is_told_to_those_whose_positions_depend_on_it(world: World) -> None:
    """Once per staleness, to channels that are for such a position, and again when it recovers; not to those that only
    escalate calls."""
    world.routes = (MAIL, ALICES, Route(channel="bob", accounts=frozenset({BOB})), PAGER)
    world.restart()
    track = tracked(frozenset(), {ALICE: holding(115), BOB: holding(300), b"\xcc" * 20: holding(120, 2, 3)})
    watch = FeedWatch(world.conditions)
    track.book.prices = prices(1000)
    watch.look(track, at(1050))
    assert world.told() == []
    track.book.prices = prices(1000, t0=900)
    for now in (1051, 1052):
        watch.look(track, at(now))
    world.restart()
    FeedWatch(world.conditions).look(track, at(1053))
    assert world.told() == [("mail", NoticeEvent.STALE_PRICE), ("alice", NoticeEvent.STALE_PRICE)]
    stale = world.notices()[0]
    assert stale.title == "Price of T0 is stale on lab"
    assert f"{checksummed(ALICE)} (Alice): health 1.1500" in stale.text and checksummed(BOB) not in stale.text
    assert stale.body["positions"] == [track.adapter.position_id(ALICE)]
    track.book.prices = prices(1000, t0=1054)
    for now in (1054, 1055):
        FeedWatch(world.conditions).look(track, at(now))
    assert world.told()[2:] == [("alice", NoticeEvent.PRICE_RECOVERED), ("mail", NoticeEvent.PRICE_RECOVERED)]


def test_of_named_accounts_every_position_with_a_debt_is_watched(world: World) -> None:
    """An owner wants to know although nothing is near: while its price stands still, health does too."""
    world.routes = (MAIL,)
    world.restart()
    debtless = Holdings({0: 10**20}, {})
    track = tracked(frozenset({ALICE, BOB}), {ALICE: holding(300), BOB: debtless, b"\xcc" * 20: holding(105)})
    track.book.prices = prices(900)
    FeedWatch(world.conditions).look(track, at(1053))
    first = world.notices()[0]
    assert first.body["positions"] == [track.adapter.position_id(ALICE)]
    assert [one.body["symbol"] for one in world.notices()] == ["T0", "T1"]


def test_a_price_that_is_missing_altogether_is_told_too(world: World) -> None:
    track = tracked(frozenset({ALICE}), {ALICE: holding(300)})
    track.book.prices = {one: price for one, price in prices(1000).items() if one != asset(0)}
    FeedWatch(world.conditions).look(track, at(1053))
    missing = world.notices()[0]
    assert missing.title == "No usable price of T0 on lab"
    assert "health unknown" in missing.text and missing.body["priced"] is False

"""The daily digest: one a day and channel, whatever restarts, is missed, or happens twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keeper.core.records import CommittedBlock, Notice, NoticeEvent
from keeper.core.types import Block, BlockRef, Liquidated
from keeper.evaluator.episodes import EpisodeStatus, Loss, Mark, step
from keeper.evaluator.house import Trouble
from keeper.notifier.routing import Route
from keeper.store import open_store
from keeper.store.sql import SqlStore
from keeper.track import Track, episode_fact
from keeper.upkeep.digest import Digests, due_day
from tests.support.conditions import ALICE, BOB, MAIL, RULES, World, holding, prices, tracked
from tests.unit.evaluator.builders import block, health, judged

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).timestamp()
DAY = 86_400.0


@pytest.fixture
def world() -> Iterator[World]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield World(store, routes=(MAIL, Route(channel="alice", accounts=frozenset({ALICE}))), now=MONDAY)


@pytest.fixture
def track() -> Track:
    found = tracked(frozenset(), {ALICE: holding(115), BOB: holding(108), b"\xcc" * 20: holding(300)})
    found.book.prices = prices(2**40)
    return found


def tell(world: World, track: Track, *channels: str, hour: int = 7) -> list[Notice]:
    """What one look adds, after a restart."""
    before = len(world.notices())
    world.restart()
    tip = Block(BlockRef(9, b"\x09" * 32), b"", int(world.now) - 5)
    Digests(world.store, world.conditions, channels or ("mail",), hour, closest=2).tell([track], tip)
    return world.notices()[before:]


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-11-23T06:59:59", "2026-11-22"),
        ("2026-11-23T07:00:00", "2026-11-23"),
        ("2026-11-24T00:00:01", "2026-11-23"),
    ],
)
def test_a_day_begins_at_its_hour(moment: str, day: str) -> None:
    """In UTC, which has no hour twice and none missing."""
    assert due_day(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp(), 7) == day


def test_there_is_exactly_one_a_day_across_restarts(world: World, track: Track) -> None:
    """Looked at every minute for three days, each time by a process that has just started."""
    assert tell(world, track) == []  # its first day begins after it was configured
    told = []
    for _ in range(3 * 24 * 12):
        world.now += 300
        told += tell(world, track)
    assert [one.body["day"] for one in told] == ["2026-11-24", "2026-11-25", "2026-11-26"]
    assert len({one.id for one in told}) == 3


def test_days_that_were_missed_are_told_together(world: World, track: Track) -> None:
    """By the next, which reaches back to the last one that was told."""
    tell(world, track)
    world.now += 5 * DAY
    (late,) = tell(world, track)
    assert (late.body["day"], late.body["since"]) == ("2026-11-28", MONDAY)
    assert tell(world, track) == []


def test_each_channel_has_its_own(world: World, track: Track) -> None:
    """Of the accounts that it is for."""
    tell(world, track, "mail", "alice")
    world.now += DAY
    mail, alice = tell(world, track, "mail", "alice")
    assert (mail.event, mail.body["watched"], alice.body["watched"]) == (NoticeEvent.DIGEST, 3, 1)
    assert [near["health_wad"][:4] for near in mail.body["closest"]] == ["1080", "1150"]
    assert [near["health_wad"][:4] for near in alice.body["closest"]] == ["1150"]


def history(store: SqlStore, track: Track) -> None:
    """Bob's call is open since block 7; Alice was liquidated in block 8."""
    opened = step(None, judged(health("1.08")), block(7), RULES, "lab")
    assert opened is not None
    bobs = replace(opened, key=BOB, account=BOB, position=track.adapter.position_id(BOB), id="bobs")
    event = Liquidated(ALICE, ALICE, b"\x11" * 20, b"\xa1" * 20, 1, b"\xa0" * 20, 1, b"\x77" * 32, 0)
    lost = replace(
        opened,
        id="alices",
        status=EpisodeStatus.LIQUIDATED,
        marks=(*opened.marks, Mark("liquidated", opened.band, block(8).ref, int(MONDAY) + 100, None)),
        losses=(Loss(block(8).ref, event, 900, 1000),),
    )
    with store.transaction() as tx:
        tx.commit_block(CommittedBlock(block(8), (episode_fact(bobs), episode_fact(lost))))
    track.judge.recall(track.open_episodes(store))


def test_it_says_what_is_open_what_is_near_what_happened_and_what_is_wrong(world: World, track: Track) -> None:
    """Everything that an owner wants to know who reads once a day."""
    tell(world, track)
    history(world.store, track)
    world.conditions.begin(Trouble("gas", "no gas"), owners_too=True)
    world.now += DAY
    (told,) = tell(world, track)
    assert told.title == "Daily digest of 2026-11-24: 1 open call, 3 positions watched"
    assert "Needs attention:\n  - Keeper is unhealthy: no gas" in told.text
    assert "on lab: health 1.0800, call, open for" in told.text
    assert "on lab: liquidated, 2026-11-23 12:01:40 UTC; penalty 100 USD" in told.text
    assert "opened" not in told.text.partition("Since")[2]  # that was long before
    world.now += DAY
    (quiet,) = tell(world, track)
    assert "Nothing happened since 2026-11-24" in quiet.text

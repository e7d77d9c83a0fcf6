"""Notices of no single position as people and programs read them: held against files, one per event and form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given

from keeper.core.records import NoticeEvent
from keeper.core.types import Band, BlockRef
from keeper.evaluator.daily_digest import DailyDigest, Happening, Near, OpenCall
from keeper.evaluator.directory import Directory
from keeper.evaluator.feed_notices import Affected, Feed, PriceRecovered, StalePrice
from keeper.evaluator.house import (
    BreakerTripped,
    HouseNotice,
    KeeperRecovered,
    KeeperUnhealthy,
    ProtocolCovered,
    ProtocolUncovered,
    Trouble,
)
from tests.support.snapshots import matches
from tests.unit.evaluator.builders import ALICE, wad
from tests.unit.evaluator.test_calls import HOSTILE, Tags

AT, NOW = BlockRef(123, b"\xab" * 32), 1_700_000_000.0
BOB = b"\xb0" * 20
DIRECTORY = Directory(to_checksum_address, {ALICE: "Treasury"}.get)
FEED = Feed("aave", b"\xee" * 20, "WETH", True, 1_699_990_000)
AFFECTED = (Affected("aave:0x1", ALICE, wad("1.0834"), True), Affected("aave:0x2", BOB, None, False))
TROUBLE = Trouble(
    "heads",
    "no new block for 2 minutes",
    ("The last one was block 122.", "No position is being watched."),
    "Check the node.",
)
DIGEST = DailyDigest(
    channel="mail",
    at=AT,
    now=NOW,
    day="2023-11-14",
    since=NOW - 86_400,
    directory=DIRECTORY,
    watched=12,
    calls=(OpenCall("aave", ALICE, Band.URGENT, wad("1.0234"), int(NOW) - 7_300),),
    closest=(Near("aave", ALICE, wad("1.0234"), "9,195.40 USD"), Near("aave", BOB, wad("1.3"), "5 USD")),
    happened=(Happening("aave", BOB, "liquidated", int(NOW) - 4_000, "penalty 200 USD"),),
    troubles=("Keeper is unhealthy: no new block for 2 minutes",),
)
NOTICES: dict[str, HouseNotice] = {
    "stale_price": StalePrice("mail", AT, NOW, FEED, DIRECTORY, AFFECTED),
    "price_recovered": PriceRecovered("mail", AT, NOW, FEED, DIRECTORY),
    "unhealthy": KeeperUnhealthy("ops", AT, NOW, TROUBLE),
    "recovered": KeeperRecovered("ops", AT, NOW, "heads", "blocks are being taken again"),
    "tripped": BreakerTripped("", None, NOW, "gas_per_hour", "0.2 spent, 0.1 allowed", 123, "Look, then resume."),
    "uncovered": ProtocolUncovered("ops", AT, NOW, Trouble("aave", "aave: 5 of 9 USD are covered", ("Lost: 9 USD.",))),
    "covered": ProtocolCovered("ops", AT, NOW, "aave", "aave: all of 9 USD"),
    "digest": DIGEST,
}


@pytest.mark.parametrize("event", list(NOTICES))
def test_every_event_reads_as_it_was_approved(event: str) -> None:
    one = NOTICES[event].notice()
    assert one.event.value == event
    folder = Path(__file__).parent / "snapshots"
    for form, text in (("txt", one.text), ("md", one.markdown), ("html", one.html)):
        assert matches(folder / f"{event}.{form}", text)
    assert matches(folder / f"{event}.json", json.dumps(one.body, indent=1, ensure_ascii=False))


def test_there_is_a_class_for_every_event_of_no_position() -> None:
    """A summary is made of other notices, and a test message is of nothing."""
    of_none = {event.value for event in NoticeEvent if not event.of_episode}
    assert of_none - {"summary", "test"} == set(NOTICES)


def test_the_same_is_said_under_the_same_id() -> None:
    """After a restart too; of another block, on another channel, or of another day, under another."""
    one = NOTICES["unhealthy"]
    assert replace(one, now=NOW + 5).notice().id == one.notice().id
    others = [replace(one, at=BlockRef(123, b"\xac" * 32)), replace(one, channel="mail")]
    assert len({one.notice().id, *(other.notice().id for other in others)}) == 3
    later = replace(DIGEST, at=BlockRef(999, b"\xac" * 32), now=NOW + 9_000, calls=())
    assert later.notice().id == DIGEST.notice().id
    assert replace(DIGEST, day="2023-11-15").notice().id != DIGEST.notice().id


def test_no_reorg_takes_back_what_was_wrong() -> None:
    """The store drops what was judged above a block; this was judged at none, whatever it says of the newest."""
    for one in NOTICES.values():
        assert (one.notice().block_number, one.notice().block_hash) == (0, b"")


def test_a_long_list_is_cut_with_its_count() -> None:
    """A feed that a whole market depends on must not fill a mailbox."""
    many = tuple(Affected(f"aave:{number}", number.to_bytes(20, "big"), wad("1.1"), False) for number in range(500))
    stale = StalePrice("mail", AT, NOW, FEED, DIRECTORY, many).notice()
    assert stale.text.count(": health 1.1000") == 20 and "and 480 more" in stale.text
    assert len(stale.body["positions"]) == 500
    calls = tuple(OpenCall("aave", one.account, Band.CALL, wad("1.05"), 0) for one in many)
    assert "and 480 more" in replace(DIGEST, calls=calls).notice().text


@given(text=HOSTILE)
def test_nothing_that_others_say_becomes_markup(text: str) -> None:
    """Symbols, names, and what a node or a channel answered: quoted, never obeyed."""
    directory = Directory(to_checksum_address, lambda _: text)
    trouble = replace(TROUBLE, summary=text, details=(text, text), remedy=text or "-")
    hostile: list[HouseNotice] = [
        StalePrice("mail", AT, NOW, replace(FEED, symbol=text), directory, AFFECTED),
        KeeperUnhealthy("ops", AT, NOW, trouble),
        replace(DIGEST, directory=directory, troubles=(text,)),
    ]
    for one in (each.notice() for each in hostile):
        allowed = {("h3", ()), ("b", ()), ("p", ()), ("ul", ()), ("li", ()), ("br", ()), ("code", ())}
        assert set(Tags(one.html).tags) <= allowed
        assert len(one.title.splitlines()) == 1
        assert "](" not in one.markdown.replace("\\](", "").replace("\\]\\(", "") or "`" in one.markdown

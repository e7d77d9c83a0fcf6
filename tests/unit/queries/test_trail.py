"""The audit trail that stands alone: complete, in order, and harmless wherever it is opened."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from keeper.core.errors import ConfigError
from keeper.core.records import CommittedBlock, DeliveryStatus, NoticeEvent
from keeper.core.types import Band, Demand, Liquidated, Price, Token
from keeper.evaluator.episodes import Episode, EpisodeStatus, Loss, Mark
from keeper.queries.record import moment
from keeper.queries.trail import trail_rows
from keeper.queries.trailforms import COLUMNS, Origin, csv_lines, html_lines
from keeper.store import open_store
from keeper.store.sql import SqlStore
from keeper.track import episode_fact
from tests.support.snapshots import matches
from tests.support.store_work import notice
from tests.unit.evaluator.builders import ALICE, block

WETH, USDC, LIQUIDATOR = b"\xaa" * 20, b"\xbb" * 20, b"\x11" * 20
NOW = 1_700_000_000
HOSTILE = '=HYPERLINK("https://evil.example")</pre><script>alert(1)</script>'
ORIGIN = Origin(1, 9, f"0x{'09' * 32}", NOW + 900, 0.0)


def token(protocol: str, asset: bytes) -> Token | None:
    return {WETH: Token("WETH", 18), USDC: Token("USDC", 6)}.get(asset)


def call(name: str, *, ended: int | None = NOW + 600) -> Episode:
    """Called, escalated, and liquidated; or still open."""
    prices = ((WETH, Price(1_840 * 10**8, 8, NOW - 60)), (USDC, Price(10**8, 8, None)))
    marks = [
        Mark("opened", Band.CALL, block(3).ref, NOW, 105 * 10**16, prices),
        Mark("escalated", Band.LIQUIDATABLE, block(5).ref, NOW + 300, 99 * 10**16, prices),
    ]
    event = Liquidated(ALICE, ALICE, LIQUIDATOR, USDC, 4_000 * 10**6, WETH, 21 * 10**17, b"\x77" * 32, 3)
    losses = (Loss(block(6).ref, event, 4_000 * 10**8, 4_200 * 10**8),) if ended else ()
    if ended:
        marks.append(Mark("liquidated", Band.SAFE, block(6).ref, ended, 12 * 10**17, prices))
    return Episode(
        id=name,
        protocol="aave",
        position=f"aave:0x{ALICE.hex()}",
        key=ALICE,
        account=ALICE,
        status=EpisodeStatus.LIQUIDATED if ended else EpisodeStatus.OPEN,
        band=Band.SAFE if ended else Band.LIQUIDATABLE,
        deepest=Band.LIQUIDATABLE,
        liquidations=len(losses),
        marks=tuple(marks),
        demands=() if ended else (Demand("repay", USDC, "USDC", 6, 5, None),),
        losses=losses,
    )


@pytest.fixture
def store() -> Iterator[SqlStore]:
    """One call with all that was told of it on a channel that failed at first, and a notice of no call."""
    with closing(open_store("sqlite://", chain_id=1)) as store:
        episode = call("e1")
        with store.transaction() as tx:
            tx.commit_block(CommittedBlock(block(6), (episode_fact(episode),)))
            for number, event in ((3, NoticeEvent.OPENED), (6, NoticeEvent.LIQUIDATED)):
                one = notice(f"n{number}", number, event, of=episode.position, episode="e1", text=f"{event}\n{HOSTILE}")
                one = replace(one, body={"block_number": number, "block_hash": "0xab", "health_wad": str(10**18)})
                tx.add_notice(one, ["hook"], NOW + 100.0 * number)
            tx.add_notice(
                notice("k1", 0, NoticeEvent.UNHEALTHY, of="keeper:heads@ops", title=f"No blocks {HOSTILE}"),
                ["ops"],
                NOW,
            )
            tx.audit("e1", "acknowledged", {"by": HOSTILE}, at=NOW + 310.0)
        with store.transaction() as tx:
            tx.settle("n3", "hook", DeliveryStatus.DEAD, at=NOW + 301.0, error=f"500 {HOSTILE}")
            tx.settle("n6", "hook", DeliveryStatus.SENT, at=NOW + 601.0)
        yield store


def rows(store: SqlStore, **options: Any) -> list[dict[str, Any]]:
    return list(trail_rows(store, token, **options))


def test_a_call_tells_its_whole_story_in_order(store: SqlStore) -> None:
    """Every step with its evidence, what was told and how that went, and who acknowledged it."""
    told, _ = rows(store)
    story = [(entry["type"], entry["event"]) for entry in told["trail"]]
    assert story == [
        ("step", "opened"),
        ("step", "escalated"),
        ("notice", "opened"),
        ("delivery", "dead"),
        ("record", "acknowledged"),
        ("step", "liquidated"),
        ("liquidation", "liquidation"),
        ("notice", "liquidated"),
        ("delivery", "sent"),
    ]
    opened = told["trail"][0]
    assert opened["prices"][0] == {
        "asset": "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa",
        "symbol": "WETH",
        "price": "1840",
        "updated_at": NOW - 60,
    }
    (loss,) = (entry for entry in told["trail"] if entry["type"] == "liquidation")
    assert (loss["seized_amount"], loss["repaid_amount"], loss["penalty_value"]) == (
        "2.1 WETH",
        "4,000 USDC",
        str(200 * 10**8),
    )
    assert json.loads(json.dumps(told)) == told


def test_it_can_be_asked_for_what_is_recent_and_for_one_account(store: SqlStore) -> None:
    """What is open is always part of it; notices of no account are nobody's."""
    assert [row["type"] for row in rows(store)] == ["call", "notice"]
    assert rows(store, since=NOW + 602.0) == []
    assert [row["type"] for row in rows(store, accounts=[ALICE])] == ["call"]
    assert rows(store, accounts=[LIQUIDATOR]) == []
    with store.transaction() as tx:
        tx.commit_block(
            CommittedBlock(replace(block(7), parent_hash=block(6).hash), (episode_fact(call("e2", ended=None)),))
        )
    assert [row["id"] for row in rows(store, since=NOW + 10**6)] == ["e2"]


def test_as_a_table_every_entry_is_a_line_that_no_spreadsheet_runs(store: SqlStore) -> None:
    """Line breaks within cells survive; a cell that a spreadsheet would take for a formula is text."""
    lines = list(csv.DictReader("".join(csv_lines(rows(store))).splitlines(keepends=True)))
    assert len(lines) == sum(len(row["trail"]) for row in rows(store))
    assert tuple(lines[0]) == COLUMNS
    assert (lines[0]["type"], lines[0]["event"], lines[0]["health"], lines[0]["band"]) == (
        "step",
        "opened",
        "1.05",
        "call",
    )
    assert lines[0]["detail"] == "WETH 1840; USDC 1"
    assert not [cell for line in lines for cell in line.values() if cell[:1] in ("=", "+", "-", "@")]
    harmless = "".join(csv_lines([{"type": "notice", "about": "=1+1", "trail": [{"time": "t", "type": "delivery"}]}]))
    assert "'=1+1" in harmless


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]


def test_as_a_page_it_asks_nobody_for_anything(store: SqlStore) -> None:
    """No scripts, no images, no fonts, no links but within it; and hostile words are only words."""
    text = "".join(html_lines(rows(store), ORIGIN))
    page = Page(text)
    assert page.tags <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td", "a", "b"),
        *("small", "code", "pre", "details", "summary", "br"),
    }
    assert set(page.links) == {"#e1"}
    assert "<script" not in text and "url(" not in text and "@import" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_the_page_reads_as_it_was_approved(store: SqlStore) -> None:
    assert matches(
        Path(__file__).parents[1] / "evaluator" / "snapshots" / "trail.html", "".join(html_lines(rows(store), ORIGIN))
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14", 1_699_920_000),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("30d", NOW - 30 * 86_400),
        ("12h", NOW - 43_200),
    ],
)
def test_a_moment_is_a_date_a_time_or_how_long_ago(text: str, seconds: float) -> None:
    """In UTC, unless it says else."""
    assert moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "30", "-5d", "2023-13-01", ""])
def test_what_is_no_moment_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--since .* is no moment; give a date such as"):
        moment(text, NOW)

"""Notices of positions as people and programs read them: held against files, one per event and form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import (
    Assessment,
    Band,
    BlockRef,
    BreachPrice,
    Demand,
    Health,
    Holding,
    Liquidated,
    Margin,
    Price,
    Token,
)
from keeper.evaluator.calls import NOTICES, compose
from keeper.evaluator.directory import Directory
from keeper.evaluator.episodes import Episode, EpisodeStatus, Loss, Mark, step
from keeper.evaluator.judgement import Dossier
from keeper.evaluator.notices import Due
from keeper.evaluator.situation import Earlier, Situation
from tests.support.snapshots import matches
from tests.unit.evaluator.builders import ALICE, POSITION, RULES, block, health, judged, wad

WETH, USDC, LIQUIDATOR, OURS = b"\xaa" * 20, b"\xbb" * 20, b"\x11" * 20, b"\x22" * 20
HOLDINGS = (
    Holding(WETH, "WETH", 18, 6 * 10**18, 12_000 * 10**8, True, 8_300, 8_050, 500),
    Holding(USDC, "USDC", 6, 9_195_402_298, 9_195_40229800, True),
)
DOSSIER = Dossier(
    demands=(
        Demand("add_collateral", WETH, "WETH", 18, 512_300_000_000_000_001, wad("1.25")),
        Demand("repay", USDC, "USDC", 6, 1_227_402_298, wad("1.250000001")),
    ),
    breach_prices=(BreachPrice(WETH, "WETH", 184_650_000_000, 8, -767),),
    prices=((WETH, Price(2_000 * 10**8, 8, 1)), (USDC, Price(10**8, 8, 1))),
    tokens=((WETH, Token("WETH", 18)), (USDC, Token("USDC", 6))),
    assessment=Assessment(health("1.083456"), HOLDINGS[:1], HOLDINGS[1:], {}),
    currency="USD",
    currency_decimals=8,
    sigmas=((WETH, 2.14),),
    health_sigmas=1.97,
)
DIRECTORY = Directory(
    to_checksum_address,
    {ALICE: "Treasury"}.get,
    {"lab": "https://app.example/?user={account}&chain={chain_id}"},
    "https://scan.example",
    chain_id=1,
    ours=frozenset({OURS}),
)
LOSSES = (
    Loss(
        BlockRef(122, b"\x12" * 32),
        Liquidated(ALICE, ALICE, LIQUIDATOR, USDC, 4_000 * 10**6, WETH, 21 * 10**17, b"\x77" * 32, 3),
        repaid_value=4_000 * 10**8,
        seized_value=4_200 * 10**8,
    ),
    Loss(
        BlockRef(123, b"\x13" * 32),
        Liquidated(ALICE, ALICE, OURS, USDC, 1_000 * 10**6, b"\xcc" * 20, 7, b"\x78" * 32, 3),
        repaid_value=1_000 * 10**8,
    ),
)
NOW = {
    NoticeEvent.OPENED: (Band.CALL, "1.083456", Earlier(wad("1.1012"), 1_700_000_000 + 12 * 123 - 780)),
    NoticeEvent.ESCALATED: (Band.LIQUIDATABLE, "0.999999", Earlier(wad("1.0834"), 1_700_000_000 + 12 * 123 - 300)),
    NoticeEvent.CURED: (Band.URGENT, "1.26", Earlier(wad("1.02"), 1_700_000_000 + 12 * 123 - 780)),
    NoticeEvent.REPAID: (Band.CALL, None, Earlier(wad("1.02"), 1_700_000_000 + 12 * 123 - 780)),
    NoticeEvent.WITHDRAWN: (Band.CALL, "1.3", None),
    NoticeEvent.LIQUIDATED: (Band.LIQUIDATABLE, "1.12", None),
}
OF_POSITIONS = list(NOTICES)


def situation(event: NoticeEvent, **changed: object) -> Situation:
    depth, factor, earlier = NOW[event]
    truth: Episode | None = None
    if event is not NoticeEvent.WITHDRAWN:
        opened = step(None, judged(health("1.0734")), block(17), RULES, "lab")
        assert opened is not None
        status = EpisodeStatus(event.value) if event.closes else EpisodeStatus.OPEN
        losses = LOSSES if event is NoticeEvent.LIQUIDATED else ()
        truth = replace(opened, status=status, band=depth, deepest=depth, losses=losses)
    found: Health | None = None
    dossier = DOSSIER
    if truth is None or not truth.is_open:
        dossier = replace(DOSSIER, demands=(), breach_prices=(), sigmas=(), health_sigmas=None)
    if factor is not None:
        found = replace(health(factor), collateral_value=12_000 * 10**8, debt_value=9_195_40229800)
        assessment = dossier.assessment
        dossier = replace(dossier, assessment=None if assessment is None else replace(assessment, health=found))
    due = Due(POSITION, event, "e1", depth, truth, None)
    return replace(
        Situation(due, ALICE, "lab", block(123), found, dossier, RULES, DIRECTORY, earlier),
        **changed,  # type: ignore[arg-type]
    )


def notice(event: NoticeEvent, **changed: object) -> Notice:
    return compose(situation(event, **changed))


@pytest.mark.parametrize("event", OF_POSITIONS)
def test_every_event_reads_as_it_was_approved(event: NoticeEvent) -> None:
    """Who, where, how bad and since when, what cures it and what it is worth, what would break it, judged when."""
    one = notice(event)
    folder = Path(__file__).parent / "snapshots"
    for form, text in (("txt", one.text), ("md", one.markdown), ("html", one.html)):
        assert matches(folder / f"{event.value}.{form}", text)
    body = json.dumps(one.body, indent=1, ensure_ascii=False)
    assert matches(folder / f"{event.value}.json", body)


def test_a_cure_of_a_fall_of_seconds_is_told_from_the_fall() -> None:
    """Where a health is what it was minutes ago, a step of the call in between says what happened."""
    before, fell = 1_700_000_000 + 12 * 123 - 120, 1_700_000_000 + 12 * 123 - 8
    cured = situation(NoticeEvent.CURED, earlier=Earlier(wad("1.26"), before))
    truth = cured.due.truth
    assert truth is not None
    (mark,) = truth.marks

    def told(*marks: Mark) -> str:
        due = replace(cured.due, truth=replace(truth, marks=marks))
        return compose(replace(cured, due=due)).text

    opened = replace(mark, timestamp=fell, health_wad=wad("0.9899"))
    closed = replace(mark, timestamp=fell + 8, health_wad=wad("1.26"), event="cured")
    assert "Health 1.2600; rising, from 0.9899 8 seconds ago." in told(opened, closed)
    assert "Health 1.2600; the same as 2 minutes ago." in told(replace(opened, timestamp=before - 1), closed)


def test_there_is_a_class_for_every_event_of_a_position() -> None:
    assert {event for event in NoticeEvent if event.of_episode} == set(OF_POSITIONS)


def test_the_body_is_the_webhooks() -> None:
    """Names and types of interface.md: integers that can exceed 2^53 are decimal strings."""
    body = json.loads(json.dumps(notice(NoticeEvent.OPENED).body))
    assert {name: body[name] for name in ("event", "position", "protocol", "episode", "band", "block_number")} == {
        "event": "opened",
        "position": POSITION,
        "protocol": "lab",
        "episode": "e1",
        "band": "call",
        "block_number": 123,
    }
    assert body["account"] == to_checksum_address(ALICE)
    assert body["health_wad"] == "1083456000000000000"
    assert body["block_hash"] == "0x" + block(123).hash.hex()
    demand = body["demands"][0]
    assert (demand["action"], demand["asset"]) == ("add_collateral", to_checksum_address(WETH))
    assert (demand["amount"], demand["resulting_health_wad"]) == ("512300000000000001", str(wad("1.25")))
    assert "text" not in body and "markdown" not in body


@pytest.mark.parametrize("event", [event for event in OF_POSITIONS if event.closes])
def test_a_closing_demands_nothing_and_reaches_those_who_heard_of_the_deepest_band(event: NoticeEvent) -> None:
    """Its body says where the position stands now."""
    closing = notice(event)
    assert closing.body["demands"] == closing.body["breach_prices"] == [] and "To restore" not in closing.text
    assert closing.band == NOW[event][0].label
    found = situation(event).health
    assert closing.body["band"] == ("safe" if found is None else RULES.band(found).label)  # type: ignore[union-attr]


def test_what_is_not_known_is_left_out() -> None:
    """No trend, no sigmas, no names, no links, no values: a notice still says what to do."""
    bare = replace(DOSSIER, sigmas=(), health_sigmas=None, assessment=None, prices=(), currency="")
    found = notice(NoticeEvent.OPENED, earlier=None, dossier=bare, directory=Directory(to_checksum_address))
    assert "sigmas" not in found.text and "See" not in found.text and "about" not in found.text
    assert "  - repay 1,227.402298 USDC\n" in found.text
    assert found.title == f"Margin call: {to_checksum_address(ALICE)} on lab"


def test_where_no_single_action_cures_it_says_so() -> None:
    """An empty list would leave its reader guessing."""
    found = notice(NoticeEvent.OPENED, dossier=replace(DOSSIER, demands=()))
    assert "No single deposit or repayment that the protocol takes now restores 1.25." in found.text


def test_stale_and_missing_prices_are_named() -> None:
    """An alert that rests on an old price says so, by symbol, and by address where the symbol is not known."""
    stale = replace(health("1.05"), stale_assets=(WETH, b"\xcc" * 20))
    opened = notice(NoticeEvent.OPENED, health=stale)
    assert f"stale, so that health may be off: WETH, {to_checksum_address(bytes([0xCC]) * 20)}." in opened.text
    assert opened.body["stale_assets"] == [to_checksum_address(WETH), to_checksum_address(b"\xcc" * 20)]
    unknown = Health(None, False, 0, 0, unpriced_assets=(WETH,))
    assert "Health unknown: no usable price of WETH." in notice(NoticeEvent.OPENED, health=unknown).text


def test_a_notice_of_an_isolated_position_names_its_market() -> None:
    due = replace(situation(NoticeEvent.OPENED).due, position=f"{POSITION}:0x{'ab' * 32}")
    assessment = DOSSIER.assessment
    assert assessment is not None
    named = replace(DOSSIER, assessment=replace(assessment, market_name="WETH/USDC 86% @everyone <b>"))
    found = notice(NoticeEvent.OPENED, due=due, dossier=named)
    assert " on lab, market WETH/USDC 86% everyone b (0xabababab…)" in found.title


def test_a_margin_account_is_told_its_equity_and_exposure() -> None:
    """Of perpetuals nothing is owed in the way of a loan."""
    margin = Margin(500 * 10**8, 100 * 10**8, 60 * 10**8, 100 * 10**8, 500 * 10**8, None, ((WETH, 1_000 * 10**8),))
    required = replace(health("8.3"), collateral_value=500 * 10**8, debt_value=60 * 10**8)
    assessment = Assessment(required, HOLDINGS[:1], HOLDINGS[1:], {}, margin=margin)
    found = notice(NoticeEvent.OPENED, dossier=replace(DOSSIER, assessment=assessment), health=required)
    assert "Equity 500 USD, exposure 1,000 USD, leverage 2x." in found.text
    assert "debt" not in found.text


def test_the_words_are_a_function_of_what_is_said() -> None:
    """A retry after a restart composes the same bytes."""
    assert notice(NoticeEvent.OPENED) == notice(NoticeEvent.OPENED)
    assert notice(NoticeEvent.OPENED).id != notice(NoticeEvent.OPENED, block=block(124)).id


class Tags(HTMLParser):
    """What a browser makes of a fragment."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.urls: list[str | None] = []
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.urls += [value for name, value in attrs if name == "href"]


HOSTILE = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [
            "</code><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "](https://evil.example) [",
            "`[x](https://evil.example)`",
            "**@everyone**\n\n# free money\n- https://evil.example",
            "\u202egnp.exe",
            "a\r\nBcc: everybody@example.com",
            "\\`\\[x\\](javascript:alert(1))",
        ]
    ),
)


@given(symbol=HOSTILE, label=HOSTILE, market=HOSTILE, event=st.sampled_from(OF_POSITIONS))
def test_nothing_that_others_name_becomes_markup(symbol: str, label: str, market: str, event: NoticeEvent) -> None:
    """Symbols, names and labels are chosen by whoever deploys or registers them: the lines, tags and links of a notice
    are those of an innocent one."""
    found = situation(event)

    def named(symbol: str, label: str, market: str) -> Notice:
        dossier = found.dossier
        assert dossier.assessment is not None
        tokens = tuple((asset, Token(symbol, token.decimals)) for asset, token in dossier.tokens)
        dossier = replace(
            dossier,
            demands=tuple(replace(demand, symbol=symbol) for demand in dossier.demands),
            breach_prices=tuple(replace(breach, symbol=symbol) for breach in dossier.breach_prices),
            tokens=tokens,
            assessment=replace(dossier.assessment, market_name=market),
            currency=symbol,
        )
        directory = replace(DIRECTORY, label=lambda _: label)
        due = replace(found.due, position=f"{POSITION}:0x{'ab' * 32}")
        return compose(replace(found, dossier=dossier, directory=directory, due=due))

    hostile, innocent = named(symbol, label, market), named("WETH", "Treasury", "WETH/USDC")
    assert len(hostile.text.splitlines()) == len(innocent.text.splitlines())
    assert len(hostile.markdown.splitlines()) == len(innocent.markdown.splitlines())
    assert len(hostile.title.splitlines()) == 1
    shown = Tags(hostile.html)
    unnamed = ("code",) if not (label and hostile.body["name"]) else ()
    assert [tag for tag in shown.tags if tag[0] not in unnamed] == [
        tag for tag in Tags(innocent.html).tags if tag[0] not in unnamed
    ]
    assert shown.urls == Tags(innocent.html).urls
    # Outside code spans, Markdown has no link that is not ours.
    outside = re.sub(r"`[^`]*`", "", hostile.markdown)
    assert re.findall(r"(?<!\\)\]\(([^)]*)\)", outside) == re.findall(r"(?<!\\)\]\(([^)]*)\)", innocent.markdown)
    assert outside.count("`") == 0

"""Notices as people and programs read them."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import Band, BreachPrice, Demand, Health, Token
from keeper.evaluator.episodes import Episode, EpisodeStatus, step
from keeper.evaluator.judgement import Dossier
from keeper.evaluator.notices import Due
from keeper.evaluator.wording import Subject, clean_symbol, compose
from tests.unit.evaluator.builders import ALICE, POSITION, RULES, block, health, judged, wad

WETH, USDC = b"\xaa" * 20, b"\xbb" * 20
SUBJECT = Subject(ALICE, "aave", to_checksum_address)
DOSSIER = Dossier(
    demands=(
        Demand("add_collateral", WETH, "WETH", 18, 512_300_000_000_000_001, wad("1.25")),
        Demand("repay", USDC, "USDC", 6, 812_340_000, wad("1.250000001")),
    ),
    breach_prices=(BreachPrice(WETH, "WETH", 187_650_000_000, 8, -620),),
    tokens=((WETH, Token("WETH", 18)), (USDC, Token("USDC", 6))),
)


def notice(
    event: NoticeEvent, found: Health | None, *, depth: Band = Band.CALL, dossier: Dossier = DOSSIER, number: int = 123
) -> Notice:
    truth: Episode | None = None
    if event is not NoticeEvent.WITHDRAWN:
        opened = step(None, judged(health("1.05")), block(1), RULES, "aave")
        assert opened is not None
        status = EpisodeStatus(event.value) if event.closes else EpisodeStatus.OPEN
        truth = replace(opened, status=status, band=depth, deepest=depth)
    return compose(Due(POSITION, event, "e1", depth, truth, None), SUBJECT, block(number), found, dossier, RULES)


def test_a_call_says_who_how_bad_where_what_cures_and_what_breaches() -> None:
    """Everything an owner needs to act, and the block it was judged at."""
    opened = notice(NoticeEvent.OPENED, health("1.083456"))
    assert opened.text == (
        f"Margin call: {to_checksum_address(ALICE)} on aave\n"
        "Health 1.0834: below 1.1 (call).\n"
        f"Block 123 (0x{block(123).hash.hex()[:8]}…).\n"
        "To restore 1.25, do one of:\n"
        "  - add 0.512300000000000001 WETH as collateral\n"
        "  - repay 812.34 USDC\n"
        "Open to liquidation, all else equal, at:\n"
        "  - WETH 1876.5 (-6.2 %)"
    )
    assert opened.markdown.startswith(f"**Margin call**: `{to_checksum_address(ALICE)}` on `aave`\n\nHealth 1.0834")
    assert "\n- repay 812.34 USDC" in opened.markdown


def test_the_body_is_the_webhooks_and_survives_json() -> None:
    """Names and types of interface.md: integers that can exceed 2^53 are decimal strings."""
    opened = notice(NoticeEvent.OPENED, health("1.083456"))
    body = json.loads(json.dumps(opened.body))
    assert body["id"] == opened.id
    assert {name: body[name] for name in ("event", "position", "protocol", "episode", "band", "block_number")} == {
        "event": "opened",
        "position": POSITION,
        "protocol": "aave",
        "episode": "e1",
        "band": "call",
        "block_number": 123,
    }
    assert body["account"] == to_checksum_address(ALICE)
    assert body["health_wad"] == "1083456000000000000"
    assert body["block_hash"] == "0x" + block(123).hash.hex()
    assert body["demands"][0] == {
        "action": "add_collateral",
        "asset": to_checksum_address(WETH),
        "symbol": "WETH",
        "decimals": 18,
        "amount": "512300000000000001",
        "resulting_health_wad": str(wad("1.25")),
    }
    assert "text" not in body and "markdown" not in body


def test_a_health_just_below_one_does_not_read_as_one() -> None:
    """Truncated, never rounded up into comfort."""
    text = notice(NoticeEvent.ESCALATED, health("0.999999999"), depth=Band.LIQUIDATABLE).text
    assert "Health 0.9999: open to liquidation." in text


@pytest.mark.parametrize(
    ("event", "found", "said"),
    [
        (NoticeEvent.CURED, health("1.26"), "Margin call cured: "),
        (NoticeEvent.REPAID, None, "Nothing is owed."),
        (NoticeEvent.LIQUIDATED, health("1.05"), "Position liquidated: "),
        (NoticeEvent.WITHDRAWN, health("1.3"), "the block that gave the reason is no longer part of the chain"),
    ],
)
def test_a_closing_says_how_and_demands_nothing(event: NoticeEvent, found: Health | None, said: str) -> None:
    """Its readers are those who heard of the deepest band; its body says where the position stands now."""
    closing = notice(event, found, depth=Band.URGENT)
    assert said in closing.text
    assert closing.body["demands"] == [] and "To restore" not in closing.text
    assert closing.band == "urgent"
    assert closing.body["band"] == ("safe" if found is None else RULES.band(found).label)  # type: ignore[union-attr]


def test_stale_prices_are_named() -> None:
    """An alert that rests on an old price says so, by symbol, and by address where the symbol is not known."""
    opened = notice(NoticeEvent.OPENED, health("1.05", stale=(WETH, b"\xcc" * 20)))
    assert f"stale, so that health may be off: WETH, {to_checksum_address(bytes([0xCC]) * 20)}." in opened.text
    assert opened.body["stale_assets"] == [to_checksum_address(WETH), to_checksum_address(b"\xcc" * 20)]


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("USDC.e", "USDC.e"),
        ("USD₮0", "USD₮0"),
        ("PT-sUSDE-27NOV", "PT-sUSDE-27NOV"),
        ("claim.xyz", "claim-xyz"),
        ("https://evil.example/x", "httpsevil-exampl"),
        ("**[free](http://x)**", "freehttpx"),
        ("\u202eCDSU", "CDSU"),
        ("A\nB\x00\x1b[31m", "AB31m"),
        ("@everyone <b>", "everyoneb"),
        ("Z̸̧a̶l", "Zal"),
        ("ＵＳＤＣ", "USDC"),
        ("_*_", "token"),
        ("", "token"),
    ],
)
def test_a_symbol_cannot_carry_more_than_a_name(symbol: str, shown: str) -> None:
    """Whoever deploys a token chooses its symbol: no markup, no links, no hidden direction, no second line."""
    assert clean_symbol(symbol) == shown


@given(st.text())
def test_no_symbol_breaks_a_notice(symbol: str) -> None:
    """The lines of a notice are ours, whatever the token says."""
    shown = clean_symbol(symbol)
    assert 1 <= len(shown) <= 16
    assert not set(shown) & set("*_`~[]()<>#|\\!@:/&\"'\n\r\t ")
    assert all(unicodedata.category(char)[0] in "LN" or char in "+-.₮" for char in shown)
    assert clean_symbol(shown) == shown
    hostile = replace(
        DOSSIER, demands=(replace(DOSSIER.demands[0], symbol=symbol),), tokens=((WETH, Token(symbol, 18)),)
    )
    opened = notice(NoticeEvent.OPENED, health("1.05", stale=(WETH,)), dossier=hostile)
    plain = notice(NoticeEvent.OPENED, health("1.05", stale=(WETH,)), dossier=replace(hostile, tokens=()))
    assert len(opened.text.splitlines()) == len(plain.text.splitlines())
    assert opened.body["demands"][0]["symbol"] == shown


def test_the_words_are_a_function_of_what_is_said() -> None:
    """A retry after a restart composes the same bytes."""
    assert notice(NoticeEvent.OPENED, health("1.05")) == notice(NoticeEvent.OPENED, health("1.05"))
    assert notice(NoticeEvent.OPENED, health("1.05")).id != notice(NoticeEvent.OPENED, health("1.05"), number=124).id

"""Names, amounts and moments as people read them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import WAD, format_units
from keeper.evaluator import wording as words

WETH = b"\xaa" * 20


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
    assert words.clean_symbol(symbol) == shown


@given(st.text())
def test_whatever_a_token_is_called_its_symbol_is_harmless(symbol: str) -> None:
    shown = words.clean_symbol(symbol)
    assert 1 <= len(shown) <= 16
    assert not set(shown) & set("*_`~[]()<>#|\\!@:/&\"'\n\r\t ")
    assert all(unicodedata.category(char)[0] in "LN" or char in "+-.₮" for char in shown)
    assert words.clean_symbol(shown) == shown


@given(st.integers(0, 2**256), st.integers(0, 36))
def test_an_amount_is_exact_in_whole_units(assets: int, decimals: int) -> None:
    """Never in raw units, and never rounded: who pays what is said pays enough."""
    shown = words.amount(assets, decimals, "USDC")
    assert shown.replace(",", "") == f"{format_units(assets, decimals)} USDC"


@pytest.mark.parametrize(
    ("units", "decimals", "shown"),
    [
        (123_456_789_012, 8, "1,234.56 USD"),
        (-123_456_789_012, 8, "-1,234.56 USD"),
        (99_999_999, 8, "0.999 USD"),
        (1_234, 8, "0.0000123 USD"),
        (160_000_000, 8, "1.60 USD"),
        (0, 8, "0 USD"),
        (5, 0, "5 USD"),
    ],
)
def test_a_value_is_shown_in_cents_or_in_digits_that_count(units: int, decimals: int, shown: str) -> None:
    assert words.value(units, decimals, "USD") == shown


@pytest.mark.parametrize(
    ("factor", "shown"),
    [(WAD - 1, "0.9999"), (WAD, "1.0000"), (10834 * 10**14 + 99, "1.0834"), (-1, "-0.0001"), (-WAD, "-1.0000")],
)
def test_a_health_is_truncated_downward(factor: int, shown: str) -> None:
    """A health just below 1 must not read as 1."""
    assert words.four_places(factor) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_200, "2 hours"),
        (172_800, "2 days"),
    ],
)
def test_a_duration_is_told_in_a_unit_that_is_felt(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


def test_a_trend_says_where_a_health_came_from() -> None:
    """What differs by less than can be seen is the same; what it was in between is not said."""
    assert words.trend(105 * WAD // 100, 110 * WAD // 100, 780) == "falling, from 1.1000 13 minutes ago"
    assert words.trend(110 * WAD // 100, 105 * WAD // 100, 780) == "rising, from 1.0500 13 minutes ago"
    assert words.trend(WAD, WAD + 10**14, 780) == "the same as 13 minutes ago"
    assert words.trend(WAD, None, 780) == "nothing was owed 13 minutes ago"


def test_moments_are_told_in_utc() -> None:
    assert words.when(1_700_000_000) == "2023-11-14 22:13:20 UTC"


def test_what_an_adapter_demands_beyond_the_usual_is_told_in_its_own_words() -> None:
    demand = Demand("reduce_position", WETH, "WETH", 18, 5 * WAD, None)
    assert words.demand_words(demand, None) == "reduce position 5 WETH"


def test_how_far_a_breach_is_away_is_told_in_sigmas_where_they_are_known() -> None:
    breach = BreachPrice(WETH, "WETH", 187_650_000_000, 8, -620)
    assert words.breach_words(breach, "USD", None) == "WETH at 1,876.5 USD (-6.2 %)"
    assert words.breach_words(breach, "", 2.06) == "WETH at 1,876.5 (-6.2 %, 2.1 daily sigmas)"


@pytest.mark.parametrize(
    ("price", "decimals", "shown"),
    [
        (174418604709, 8, "1,744.18604709"),
        (1744186047099999999999999999, 24, "1,744.186"),
        (123456789012345678901234567890, 18, "123,456,789,012 USDC"),
        (1234567890123, 30, "0.0000000000000000012345678"),
    ],
)
def test_a_breach_price_is_shown_as_far_as_it_can_be_read(price: int, decimals: int, shown: str) -> None:
    """Prices in a loan token have up to 36 decimals."""
    breach = BreachPrice(b"\xa0" * 20, "WETH", price, decimals, -500)
    assert shown in words.breach_words(breach, "USDC", None)

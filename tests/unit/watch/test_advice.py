"""What `keeper watch` tells a person to do: amounts that cure when it is done exactly, and prices with their unit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import scale_decimal
from keeper.watch.show import advice

WAD = 10**18
TOKEN = b"\xa0" * 20


def demand(amount: int, decimals: int = 8, reached: int | None = 125 * 10**16) -> Demand:
    return Demand("add_collateral", TOKEN, "WBTC", decimals, amount, reached)


def breach(price: int, decimals: int = 8, quote: str = "") -> BreachPrice:
    return BreachPrice(TOKEN, "SHIB", price, decimals, -363, quote)


def said(*about: Demand | BreachPrice, open_now: bool = False) -> list[str]:
    demands = [one for one in about if isinstance(one, Demand)]
    breaches = [one for one in about if isinstance(one, BreachPrice)]
    return list(advice(demands, breaches, "USD", open_now=open_now))


@given(amount=st.integers(min_value=1, max_value=10**40), decimals=st.integers(min_value=0, max_value=36))
def test_the_amount_shown_is_the_amount_demanded(amount: int, decimals: int) -> None:
    """To the last unit, however few they are: less would miss the target."""
    (line,) = said(demand(amount, decimals))
    assert scale_decimal(line.split()[1].replace(",", ""), decimals) == amount


def test_a_demand_names_what_to_do_and_the_health_it_gives() -> None:
    assert said(demand(27_243_590)) == ["add 0.2724359 WBTC as collateral for health 1.2500"]
    assert said(demand(99)) == ["add 0.00000099 WBTC as collateral for health 1.2500"]


def test_the_health_that_a_demand_gives_is_never_shown_higher() -> None:
    assert said(demand(1, reached=WAD - 1)) == ["add 0.00000001 WBTC as collateral for health 0.9999"]
    assert said(demand(1, reached=None)) == ["add 0.00000001 WBTC as collateral to owe nothing"]


def test_a_breach_price_is_told_to_its_last_digit_and_in_its_unit() -> None:
    """The base currency of the protocol, or what the price is counted in: on Morpho, the loan token."""
    assert said(breach(1_234)) == ["open to liquidation with SHIB at 0.00001234 USD (-3.63 %)"]
    loan = breach(1_234 * 10**18, 30, "USDC")
    assert said(loan) == ["open to liquidation with SHIB at 0.000000001234 USDC (-3.63 %)"]


def test_of_what_is_open_to_liquidation_it_is_told_when_it_is_so_no_longer() -> None:
    assert said(breach(1_234), open_now=True) == ["no longer open to liquidation with SHIB at 0.00001234 USD (-3.63 %)"]

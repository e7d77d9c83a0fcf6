"""Cures are the smallest there are, breach prices the highest: against trying every smaller or higher one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keeper.core.types import Demand, Price
from keeper.core.units import UINT256_MAX, WAD
from keeper.protocols.aave_v3.demand import breach_prices, demands
from keeper.protocols.aave_v3.sheet import indices, sheet
from keeper.protocols.aave_v3.state import Account, EMode, Market, StableDebt
from tests.support import aave_market as build
from tests.support.aave_market import NOW

ETHER = 10**18
TARGET = 125 * 10**16


def applied(market: Market, account: Account, demand: Demand, amount: int) -> Account:
    """The account after the pool took the amount, by the pool's own scaled rounding."""
    reserve = market.by_asset[demand.asset]
    index = indices(market.rules, reserve, NOW)
    if demand.action == "add_collateral":
        supplies = dict(account.supplies)
        supplies[reserve.id] = supplies.get(reserve.id, 0) + market.rules.scaled_in(amount, index.income_ray)
        return replace(account, supplies=tuple(sorted(supplies.items())))
    debts = dict(account.debts)
    debts[reserve.id] -= min(market.rules.scaled_in(amount, index.debt_ray), debts[reserve.id])
    return replace(account, debts=tuple((i, scaled) for i, scaled in sorted(debts.items()) if scaled))


def health_after(market: Market, prices: dict[bytes, Price], account: Account, demand: Demand, amount: int) -> int:
    return sheet(market, prices, applied(market, account, demand, amount), NOW).totals().health_wad


@given(build.near_health(0.8, 1.2))
def test_a_demanded_amount_restores_the_target_and_one_less_does_not(
    world: tuple[Market, dict[bytes, Price], Account],
) -> None:
    market, prices, account = world
    for demand in demands(market, prices, account, NOW, TARGET):
        after = health_after(market, prices, account, demand, demand.amount)
        assert after >= TARGET
        assert demand.resulting_health_wad == (None if after == UINT256_MAX else after)
        assert demand.amount == 1 or health_after(market, prices, account, demand, demand.amount - 1) < TARGET


@st.composite
def small_worlds(draw: st.DrawFn) -> tuple[Market, dict[bytes, Price], Account]:
    """Amounts of a few hundred units of coarse tokens, so that every smaller amount can be tried."""
    thresholds = draw(st.lists(st.integers(500, 9800), min_size=2, max_size=2))
    reserves = [
        build.reserve(
            i,
            decimals=draw(st.integers(0, 2)),
            liquidation_threshold_bps=threshold,
            liquidity_index_ray=draw(st.integers(10**27, 2 * 10**27)),
            debt_index_ray=draw(st.integers(10**27, 2 * 10**27)),
        )
        for i, threshold in enumerate((*thresholds, 8000))
    ]
    prices = {r.asset: Price(draw(st.integers(1, 300)), 8) for r in reserves}
    supplies = {i: draw(st.integers(1, 60)) for i in range(2)}
    account = build.account(supplies, {2: draw(st.integers(1, 120))})
    return build.market(*reserves, rules=draw(build.rules)), prices, account


@settings(max_examples=120)
@given(small_worlds())
def test_nothing_smaller_cures_despite_the_truncated_average(
    world: tuple[Market, dict[bytes, Price], Account],
) -> None:
    """Before v3.5 more collateral can lower health by a truncation, so every smaller amount is tried."""
    market, prices, account = world
    for demand in demands(market, prices, account, NOW, TARGET):
        assume(demand.amount < 3000)
        cured = [n for n in range(1, demand.amount) if health_after(market, prices, account, demand, n) >= TARGET]
        assert cured == []


def plain(**changed: object) -> tuple[Market, dict[bytes, Price]]:
    return build.market(build.reserve(0, **changed), build.reserve(1)), build.prices(T0=1_00000000, T1=1_00000000)


def test_a_healthy_position_demands_nothing() -> None:
    market, prices = plain()
    assert demands(market, prices, build.account({0: 10 * ETHER}, {1: ETHER}), NOW, TARGET) == ()


def test_the_debt_repaid_wholly_leaves_no_health() -> None:
    """With dust for collateral nothing less than everything cures."""
    market, prices = plain()
    repay = next(
        d for d in demands(market, prices, build.account({0: 1}, {1: 100}), NOW, TARGET) if d.action == "repay"
    )
    assert (repay.amount, repay.resulting_health_wad) == (100, None)


def test_a_debt_that_is_not_enough_alone_is_left_out() -> None:
    """Two equal debts, each too small to cure: only more collateral does."""
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2))
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
    found = demands(market, prices, build.account({0: ETHER}, {1: ETHER, 2: ETHER}), NOW, TARGET)
    assert {d.action for d in found} == {"add_collateral"}


def test_what_the_pool_would_refuse_is_not_demanded() -> None:
    """Frozen reserves take no supplies but repayments; paused ones neither."""
    account = build.account({0: ETHER}, {1: ETHER})
    market, prices = plain(frozen=True)
    assert {d.action for d in demands(market, prices, account, NOW, TARGET)} == {"repay"}
    paused = build.market(build.reserve(0), build.reserve(1, paused=True))
    assert {d.action for d in demands(paused, prices, account, NOW, TARGET)} == {"add_collateral"}


def test_an_unpriced_position_demands_nothing() -> None:
    market, prices = plain()
    del prices[build.asset(0)]
    assert demands(market, prices, build.account({0: ETHER}, {1: ETHER}), NOW, TARGET) == ()
    assert breach_prices(market, prices, build.account({0: ETHER}, {1: ETHER}), NOW) == ()


def test_fixed_rate_debt_is_repaid_in_token_units() -> None:
    market = build.market(build.reserve(0), build.reserve(1, s_token=b"\x55" * 20), rules=build.V30)
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    account = build.account({0: 10 * ETHER}, {}, stables=(StableDebt(1, 8 * ETHER, 0, NOW),))
    (repay,) = (d for d in demands(market, prices, account, NOW, TARGET) if d.action == "repay")
    # 82.5 % of 10 over 1.25 carries a debt of 6.6; before v3.5 its value is rounded down to base units
    assert repay.amount == 14 * ETHER // 10 - 10**10 + 1


# --- breach prices ----------------------------------------------------------------------------------------------------


def liquidatable_at(market: Market, prices: dict[bytes, Price], account: Account, asset: bytes, price: int) -> bool:
    moved = prices | {asset: Price(price, 8)}
    return sheet(market, moved, account, NOW).liquidatable


@given(build.near_health(0.7, 2.0))
def test_a_breach_price_is_an_edge(world: tuple[Market, dict[bytes, Price], Account]) -> None:
    """Liquidatable there, not one unit above; and no price in between is worse where rounding does not truncate."""
    market, prices, account = world
    for breach in breach_prices(market, prices, account, NOW):
        assert liquidatable_at(market, prices, account, breach.asset, breach.price)
        assert not liquidatable_at(market, prices, account, breach.asset, breach.price + 1)


@settings(max_examples=60)
@given(small_worlds().filter(lambda world: world[0].rules.health_from_sums))
def test_a_breach_price_is_the_highest(world: tuple[Market, dict[bytes, Price], Account]) -> None:
    market, prices, account = world
    found = {breach.asset: breach.price for breach in breach_prices(market, prices, account, NOW)}
    for reserve_id, _ in account.supplies:
        asset = build.asset(reserve_id)
        breaching = [p for p in range(1, 1000) if liquidatable_at(market, prices, account, asset, p)]
        assume(not breaching or breaching[-1] < 999)
        assert found.get(asset) == (breaching[-1] if breaching else None)


def test_a_breach_says_how_far_the_price_has_to_move() -> None:
    """10 at 82.5 % against 6.6: liquidatable just below 80 cents, a fall of a fifth, truncated toward zero."""
    market, prices = plain()
    (breach,) = breach_prices(market, prices, build.account({0: 10 * ETHER}, {1: 66 * ETHER // 10}), NOW)
    assert (breach.price, breach.decimals, breach.move_bps) == (79_999_999, 8, -2000)


def test_an_asset_that_cannot_breach_alone_is_left_out() -> None:
    """The other collateral carries the debt by itself."""
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2))
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
    account = build.account({0: ETHER, 1: 100 * ETHER}, {2: 10 * ETHER})
    assert [breach.asset for breach in breach_prices(market, prices, account, NOW)] == [build.asset(1)]


def test_a_position_below_one_breaches_up_to_a_higher_price() -> None:
    market, prices = plain()
    (breach,) = breach_prices(market, prices, build.account({0: 10 * ETHER}, {1: 9 * ETHER}), NOW)
    assert breach.price == 109_090_909
    assert breach.move_bps == 909


def test_an_asset_valued_by_its_e_modes_price_has_no_breach_price_of_its_own() -> None:
    oracle = b"\x77" * 20
    emodes = (EMode(1, 9000, 10100, 0b01, oracle),)
    market = build.market(build.reserve(0), build.reserve(1), rules=build.V30, emodes=emodes)
    prices = build.prices(T0=1_00000000, T1=1_00000000) | {oracle: Price(1_00000000, 8)}
    assert breach_prices(market, prices, build.account({0: 10 * ETHER}, {1: 8 * ETHER}, emode=1), NOW) == ()


def test_the_target_is_reached_from_just_below_one() -> None:
    market, prices = plain()
    account = build.account({0: 10 * ETHER}, {1: 9 * ETHER})
    for demand in demands(market, prices, account, NOW, WAD):
        assert WAD <= (demand.resulting_health_wad or 0) < WAD + 10**9

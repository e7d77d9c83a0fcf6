"""Plans keep to the pool's rules: close factor, dust, grace, pauses, wallet; and say why when there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import LiquidationPlan, Price, Skip
from keeper.core.units import BPS, RAY, WAD
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.liquidate import Pair, pairs, plan, rejudge
from keeper.protocols.aave_v3.sheet import Sheet, sheet
from keeper.protocols.aave_v3.state import Account, EMode, Market, Reserve
from tests.support import aave_market as build
from tests.support.aave_market import NOW

ETHER = 10**18
ME, OWNER = b"\x0f" * 20, b"\x0e" * 20
RICH = {build.asset(i): 1 << 130 for i in range(4)}


def planned(
    market: Market, prices: dict[bytes, Price], account: Account, wallet: dict[bytes, int] | None = None
) -> LiquidationPlan | Skip:
    position = sheet(market, prices, account, NOW)
    return plan(market, OWNER, position, NOW, RICH if wallet is None else wallet, ME)


def two(**changed: object) -> Market:
    """Collateral 0 and debt 1, one dollar each, 18 decimals; changes apply to the collateral."""
    return build.market(build.reserve(0, protocol_fee_bps=0, **changed), build.reserve(1))


DOLLARS = build.prices(T0=1_00000000, T1=1_00000000)


def position_of(collateral: int, debt: int) -> Account:
    """In whole dollars."""
    return build.account({0: collateral * ETHER}, {1: debt * ETHER})


# --- sizing -----------------------------------------------------------------------------------------------------------


def test_half_of_the_debt_while_health_is_above_095() -> None:
    found = planned(two(), DOLLARS, position_of(10_000, 8_500))
    assert isinstance(found, LiquidationPlan)
    assert found.expected_repaid_assets == 4_250 * ETHER
    assert found.expected_seized_assets == 4_250 * ETHER * 10_500 // BPS
    assert found.profit_base == 212_50000000


def test_all_of_the_debt_at_095_and_below() -> None:
    """82.5 % of 10000 over 8700 is 0.948."""
    found = planned(two(), DOLLARS, position_of(10_000, 8_700))
    assert isinstance(found, LiquidationPlan)
    assert found.expected_repaid_assets == 8_700 * ETHER


def test_all_of_a_small_debt_since_v3_3() -> None:
    """Debt below 2000 dollars."""
    account = position_of(2_300, 1_950)
    new, old = planned(two(), DOLLARS, account), planned(replace(two(), rules=build.V30), DOLLARS, account)
    assert isinstance(new, LiquidationPlan)
    assert isinstance(old, LiquidationPlan)
    assert (new.expected_repaid_assets, old.expected_repaid_assets) == (1_950 * ETHER, 975 * ETHER)


def test_half_counts_over_all_debts_since_v3_3() -> None:
    """Debts of 4000 and 4500: either may be repaid by 4250, of which the first is less, wholly."""
    market = build.market(build.reserve(0, protocol_fee_bps=0), build.reserve(1), build.reserve(2))
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
    account = build.account({0: 10_000 * ETHER}, {1: 4_000 * ETHER, 2: 4_500 * ETHER})
    found = planned(market, prices, account, {build.asset(1): 1 << 130})
    assert isinstance(found, LiquidationPlan)
    assert found.expected_repaid_assets == 4_000 * ETHER


def test_collateral_limits_what_is_repaid() -> None:
    """Worth less than debt and bonus: everything is seized, and less repaid."""
    found = planned(two(), DOLLARS, position_of(1_050, 5_000))
    assert isinstance(found, LiquidationPlan)
    assert (found.expected_seized_assets, found.expected_repaid_assets) == (1_050 * ETHER, 1_000 * ETHER)
    assert found.repay_assets > found.expected_repaid_assets


def test_the_protocol_takes_its_part_of_the_bonus() -> None:
    market = build.market(build.reserve(0, protocol_fee_bps=2_000), build.reserve(1))
    found = planned(market, DOLLARS, position_of(10_000, 8_700))
    assert isinstance(found, LiquidationPlan)
    assert found.expected_seized_assets == 8_700 * ETHER * 10_400 // BPS


def test_an_e_mode_gives_its_own_bonus() -> None:
    market = build.market(*two().reserves, emodes=(EMode(1, 9000, 10_100, 0b01),))
    account = build.account({0: 10_000 * ETHER}, {1: 9_500 * ETHER}, emode=1)
    found = planned(market, DOLLARS, account)
    assert isinstance(found, LiquidationPlan)
    assert found.expected_seized_assets == 9_500 * ETHER * 10_100 // BPS


def test_the_best_pair_wins() -> None:
    """The collateral with the larger bonus, against the larger debt."""
    market = build.market(
        build.reserve(0, liquidation_bonus_bps=10_500, protocol_fee_bps=0),
        build.reserve(1, liquidation_bonus_bps=11_000, protocol_fee_bps=0),
        build.reserve(2),
        build.reserve(3),
    )
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000, T3=1_00000000)
    account = build.account({0: 10_000 * ETHER, 1: 10_000 * ETHER}, {2: 3_000 * ETHER, 3: 15_000 * ETHER})
    found = planned(market, prices, account)
    assert isinstance(found, LiquidationPlan)
    assert (found.collateral_asset, found.debt_asset) == (build.asset(1), build.asset(3))


# --- the wallet -------------------------------------------------------------------------------------------------------


def test_a_poor_wallet_repays_what_it_has() -> None:
    found = planned(two(), DOLLARS, position_of(10_000, 8_500), {build.asset(1): 1_000 * ETHER})
    assert isinstance(found, LiquidationPlan)
    assert found.repay_assets == found.expected_repaid_assets == 1_000 * ETHER
    assert found.approval == (build.asset(1), build.POOL, 1_000 * ETHER)


def test_no_dust_is_left_on_either_side() -> None:
    """Debt 8700 may be closed; 8000 would leave 700, so a wallet of 8000 leaves 1000, and a basis point of the debt."""
    found = planned(two(), DOLLARS, position_of(10_000, 8_700), {build.asset(1): 8_000 * ETHER})
    assert isinstance(found, LiquidationPlan)
    left = 1_000 * ETHER + 8_700 * ETHER // BPS
    assert found.expected_repaid_assets == 8_700 * ETHER - left + 10**10 - 1  # what is left is valued rounded up


def test_a_wallet_too_poor_for_any_allowed_part_is_told_so() -> None:
    """A debt of 1900 has to be closed wholly or left above 1000 and a basis point: not 900, and 1800 is neither."""
    found = planned(two(), DOLLARS, position_of(2_100, 1_900), {build.asset(1): 1_800 * ETHER})
    assert isinstance(found, LiquidationPlan)
    assert found.expected_repaid_assets == 900 * ETHER - 1_900 * ETHER // BPS + 10**10 - 1
    tiny = planned(two(), DOLLARS, position_of(1_020, 950), {build.asset(1): 900 * ETHER})
    assert isinstance(tiny, Skip)
    assert tiny.code == "dust"


def test_the_least_that_is_left_is_left_a_second_earlier_too() -> None:
    """The wallet holds a part of a debt that may be repaid wholly; interest of five percent a year runs."""
    market = build.market(
        build.reserve(0, liquidation_threshold_bps=8300, liquidity_rate_ray=RAY // 50),
        build.reserve(1, decimals=6, debt_rate_ray=RAY // 20),
    )
    prices = build.prices(T0=1_650_00000000, T1=1_00000000)
    account = build.account({0: 10 * ETHER}, {1: 15_500 * 10**6})
    for held in 15_000 * 10**6, 14_500_002458:
        landing = sheet(market, prices, account, NOW + 1)
        found = plan(market, OWNER, landing, NOW + 1, {build.asset(1): held}, ME)
        assert isinstance(found, LiquidationPlan)
        for at in NOW, NOW + 1, NOW + 60:
            pair = pair_of(market, sheet(market, prices, account, at), found)
            assert not pair.leaves_dust(pair.outcome(found.repay_assets))


def test_closing_a_debt_offers_the_interest_until_it_lands() -> None:
    """The exact debt would be a wei short one second later, and the remainder is dust."""
    found = planned(two(), DOLLARS, position_of(2_100, 1_900))
    assert isinstance(found, LiquidationPlan)
    assert found.expected_repaid_assets == 1_900 * ETHER
    assert found.repay_assets == 1_900 * ETHER * 10_001 // BPS


def test_an_empty_wallet_has_no_plan() -> None:
    found = planned(two(), DOLLARS, position_of(10_000, 8_500), {})
    assert isinstance(found, Skip)
    assert found.code == "no_balance"


def test_only_liquid_collateral_is_seized() -> None:
    """What the reserve has lent out cannot be paid; the plan shrinks to what can, or says so."""
    found = planned(two(liquidity_assets=2_100 * ETHER), DOLLARS, position_of(10_000, 8_500))
    assert isinstance(found, LiquidationPlan)
    assert found.expected_seized_assets <= 2_100 * ETHER
    assert found.expected_repaid_assets == pytest.approx(2_000 * ETHER, rel=1e-9)
    none = planned(two(liquidity_assets=0), DOLLARS, position_of(10_000, 8_500))
    assert isinstance(none, Skip)
    assert none.code == "illiquid"


def test_the_call_is_liquidation_call_for_underlying() -> None:
    found = planned(two(), DOLLARS, position_of(10_000, 8_500))
    assert isinstance(found, LiquidationPlan)
    assert found.call.to == build.POOL
    assert found.call.data == abi.encode(
        abi.LIQUIDATION_CALL, build.asset(0), build.asset(1), OWNER, found.repay_assets, 0
    )


# --- why not ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"paused": True}, "paused"),
        ({"active": False}, "inactive"),
        ({"grace_until": NOW}, "grace_period"),
        ({"liquidation_bonus_bps": 0}, "nothing_pledged"),
        ({"liquidation_bonus_bps": 10_000}, "unprofitable"),
    ],
)
def test_a_reserve_that_forbids_it_is_the_reason(changed: dict[str, object], code: str) -> None:
    found = planned(two(**changed), DOLLARS, position_of(10_000, 8_500))
    assert isinstance(found, Skip)
    assert found.code == code


def test_a_grace_period_ends_after_its_last_second() -> None:
    assert isinstance(planned(two(grace_until=NOW - 1), DOLLARS, position_of(10_000, 8_500)), LiquidationPlan)


def test_a_healthy_or_unpriced_position_is_left_alone() -> None:
    healthy = planned(two(), DOLLARS, position_of(10_000, 8_250))
    unpriced = planned(two(), build.prices(T0=1_00000000), position_of(10_000, 8_500))
    assert isinstance(healthy, Skip)
    assert isinstance(unpriced, Skip)
    assert (healthy.code, unpriced.code) == ("healthy", "unpriced")


def test_a_closed_sentinel_stops_all_but_the_worst() -> None:
    """Below 0.95 liquidations go on while a sequencer is down."""
    closed = replace(two(), sentinel=b"\x09" * 20, sentinel_open=False)
    found = planned(closed, DOLLARS, position_of(10_000, 8_500))
    assert isinstance(found, Skip)
    assert found.code == "sentinel"
    assert isinstance(planned(closed, DOLLARS, position_of(10_000, 8_700)), LiquidationPlan)


def test_self_liquidation_is_refused_since_v3_4() -> None:
    position = sheet(two(), DOLLARS, position_of(10_000, 8_500), NOW)
    found = plan(two(), OWNER, position, NOW, RICH, OWNER)
    assert isinstance(found, Skip)
    assert found.code == "self"
    old = replace(two(), rules=build.V33)
    assert isinstance(plan(old, OWNER, replace(position, rules=build.V33), NOW, RICH, OWNER), LiquidationPlan)


# --- properties -------------------------------------------------------------------------------------------------------


@given(build.near_health(0.2, 1.0), st.integers(0, 10**27))
def test_a_plan_keeps_every_limit(world: tuple[Market, dict[bytes, Price], Account], balance: int) -> None:
    """Never more than the wallet, the close factor or the collateral; profitable; and leaves no dust."""
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    wallet = {reserve.asset: balance for reserve in market.reserves}
    found = plan(market, OWNER, position, NOW, wallet, ME)
    if isinstance(found, Skip):
        event(f"skip {found.code}")
        assert found.detail
        return
    event("planned")
    pair = pair_of(market, position, found)
    outcome = pair.outcome(found.repay_assets)
    assert found.expected_repaid_assets == outcome.repaid_assets <= found.repay_assets <= balance
    assert found.expected_repaid_assets <= pair.most_repayable() <= pair.debt.assets
    assert found.expected_seized_assets + outcome.fee_assets <= pair.collateral.assets
    assert found.profit_base > 0
    assert found.health_wad is not None
    assert found.health_wad < WAD
    assert not pair.leaves_dust(outcome)


@given(build.near_health(0.2, 1.0), st.integers(1, 10**24))
def test_no_single_smaller_or_larger_offer_brings_more(
    world: tuple[Market, dict[bytes, Price], Account], offer: int
) -> None:
    """For the pair chosen, any offer that is accepted whenever it lands is at most as profitable, a unit's rounding
    aside."""
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    found = plan(market, OWNER, position, NOW, RICH, ME)
    if isinstance(found, Skip):
        return
    pair = pair_of(market, position, found)
    outcome = pair.outcome(offer)
    if pair.is_safe(offer, NOW):
        unit = pair.debt.price // pair.debt.reserve.unit + pair.collateral.price // pair.collateral.reserve.unit + 2
        assert pair.profit_value(outcome) <= found.profit_base + 2 * unit


@given(build.near_health(0.2, 1.0), st.integers(1, 10**27))
def test_the_pairs_are_what_a_wallet_chooses_from(
    world: tuple[Market, dict[bytes, Price], Account], balance: int
) -> None:
    """With so much of every debt token, the wallet's plan is the best of the pairs' plans for this offer."""
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    found = plan(market, OWNER, position, NOW, {reserve.asset: balance for reserve in market.reserves}, ME)
    open_pairs = pairs(market, OWNER, position, NOW, ME)
    if isinstance(open_pairs, Skip):
        assert isinstance(found, Skip)
        return
    plans = [pair.plan(balance) for pair in open_pairs]
    profits = [one.profit_base for one in plans if isinstance(one, LiquidationPlan)]
    if isinstance(found, LiquidationPlan):
        assert found.profit_base == max(profits)
        assert found in plans
    else:
        assert max(profits, default=0) <= 0


@given(build.near_health(0.2, 1.0))
def test_offering_the_most_of_a_pair_is_a_plan_that_spends_it(
    world: tuple[Market, dict[bytes, Price], Account],
) -> None:
    market, prices, account = world
    found = pairs(market, OWNER, sheet(market, prices, account, NOW), NOW, ME)
    for pair in () if isinstance(found, Skip) else found:
        whole = pair.plan(pair.most_assets)
        assert isinstance(whole, LiquidationPlan)
        assert (whole.debt_asset, whole.collateral_asset) == (pair.debt_asset, pair.collateral_asset)
        assert whole.repay_assets == pair.most_assets


@given(build.near_health(0.2, 1.0), st.integers(1, 10**27))
def test_a_plan_judged_again_where_it_was_made_is_itself(
    world: tuple[Market, dict[bytes, Price], Account], balance: int
) -> None:
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    found = plan(market, OWNER, position, NOW, {reserve.asset: balance for reserve in market.reserves}, ME)
    if isinstance(found, LiquidationPlan) and pair_of(market, position, found).is_safe(found.repay_assets, NOW):
        assert rejudge(market, OWNER, position, NOW, found, ME) == found


@given(build.near_health(0.2, 1.3), st.integers(5_000, 20_000), st.integers(0, 1_800))
def test_a_call_made_for_another_price_is_judged_as_what_it_does_at_this_one(
    world: tuple[Market, dict[bytes, Price], Account], factor_bps: int, later: int
) -> None:
    """It repays no more than it offers, nor than the pool lets anybody repay; nothing healthy is taken."""
    market, prices, account = world
    imagined = {asset: replace(price, value=max(price.value * factor_bps // BPS, 1)) for asset, price in prices.items()}
    imagined[build.asset(1)] = prices.get(build.asset(1), Price(10**8, 8))
    made = plan(market, OWNER, sheet(market, imagined, account, NOW), NOW + later, RICH, ME)
    if isinstance(made, Skip):
        return
    position = sheet(market, prices, account, NOW)
    now = rejudge(market, OWNER, position, NOW, made, ME)
    event("sent" if isinstance(now, LiquidationPlan) else f"skip {now.code}")
    if position.totals().health_wad >= WAD:
        assert isinstance(now, Skip)
    if isinstance(now, LiquidationPlan):
        pair = pair_of(market, position, now)
        assert (now.call, now.repay_assets) == (made.call, made.repay_assets)
        assert now.expected_repaid_assets == min(now.repay_assets, pair.outcome(now.repay_assets).repaid_assets)
        assert now.expected_repaid_assets <= pair.most_repayable()
        assert now.profit_base == pair.profit_value(pair.outcome(now.repay_assets)) > 0
        assert not pair.leaves_dust(pair.outcome(now.repay_assets))


def pair_of(market: Market, position: Sheet, found: LiquidationPlan) -> Pair:
    debt = next(line for line in position.debts if line.reserve.asset == found.debt_asset)
    collateral = next(line for line in position.collateral if line.reserve.asset == found.collateral_asset)
    reserve: Reserve = collateral.reserve
    inside = position.emode is not None and position.emode.covers(reserve.id)
    bonus = position.emode.liquidation_bonus_bps if inside and position.emode else reserve.liquidation_bonus_bps
    return Pair(market, position, position.totals(), debt, collateral, bonus)


@given(build.near_health(0.2, 1.0, st.just(build.V37)), st.integers(1, 10**24))
def test_since_v3_7_rounding_is_never_in_the_liquidators_favour(
    world: tuple[Market, dict[bytes, Price], Account], offer: int
) -> None:
    """At most what v3.6 pays, and at most two units less."""
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    found = plan(market, OWNER, position, NOW, RICH, ME)
    if isinstance(found, LiquidationPlan):
        pair = pair_of(market, position, found)
        before = replace(pair, market=replace(market, rules=build.V36))
        new, old = pair.outcome(offer), before.outcome(offer)
        assert old.seized_assets - 3 <= new.seized_assets <= old.seized_assets + 1
        assert new.seized_assets + new.fee_assets <= old.seized_assets + old.fee_assets

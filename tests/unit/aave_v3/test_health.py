"""Judging a position as the pool does, in every variant of its arithmetic; and the float screen that never misses."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.types import Price
from keeper.core.units import BPS, RAY, UINT256_MAX, WAD
from keeper.protocols.aave_v3 import health
from keeper.protocols.aave_v3.health import Heartbeats
from keeper.protocols.aave_v3.sheet import indices, sheet
from keeper.protocols.aave_v3.state import Account, EMode, Market, StableDebt
from keeper.protocols.search import least
from tests.support import aave_market as build
from tests.support.aave_market import NOW

ETHER = 10**18
ALWAYS_FRESH = Heartbeats({}, {}, None)


def health_of(market: Market, prices: dict[bytes, Price], account: Account, now: int = NOW) -> int | None:
    return health.judge(ALWAYS_FRESH, prices, sheet(market, prices, account, now), now)[0].factor_wad


def test_health_is_weighted_collateral_over_debt() -> None:
    """10 ether at 2000, threshold 82.5 %, against 14000: 16500 / 14000."""
    market = build.market(build.reserve(0), build.reserve(1, decimals=6))
    account = build.account({0: 10 * ETHER}, {1: 14_000 * 10**6})
    assert health_of(market, build.prices(T0=2000_00000000, T1=1_00000000), account) == 1178571428571428571


def test_nothing_owed_is_infinite_health() -> None:
    market = build.market(build.reserve(0))
    prices = build.prices(T0=1_00000000)
    assessment = health.assess(ALWAYS_FRESH, market, prices, build.account({0: ETHER}, {}), NOW)
    assert assessment.health.factor_wad is None
    assert not assessment.health.liquidatable
    assert assessment.native["healthFactor"] == UINT256_MAX


def test_exactly_one_is_healthy() -> None:
    """Aave liquidates only below one."""
    market = build.market(build.reserve(0, liquidation_threshold_bps=8000), build.reserve(1))
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    at_one = build.account({0: 10 * ETHER}, {1: 8 * ETHER})
    judged = health.judge(ALWAYS_FRESH, prices, sheet(market, prices, at_one, NOW), NOW)[0]
    assert (judged.factor_wad, judged.liquidatable) == (WAD, False)


def test_debt_rounds_up_and_collateral_down_since_v3_5_and_to_the_nearest_before() -> None:
    """One scaled unit at an index of 1.4: a balance of 1 and a debt of 2, where older pools said 1 and 1."""
    market = build.market(
        build.reserve(0, decimals=0, liquidity_index_ray=14 * RAY // 10, debt_index_ray=14 * RAY // 10)
    )
    account = build.account({0: 1}, {0: 1})
    prices = build.prices(T0=100)
    new = sheet(market, prices, account, NOW)
    old = sheet(build.market(*market.reserves, rules=build.V33), prices, account, NOW)
    assert (new.collateral[0].assets, new.debts[0].assets) == (1, 2)
    assert (old.collateral[0].assets, old.debts[0].assets) == (1, 1)


def test_a_debt_worth_less_than_a_base_unit_counts_since_v3_5() -> None:
    market = build.market(build.reserve(0), build.reserve(1))
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    dust = build.account({0: ETHER}, {1: 1})
    assert sheet(market, prices, dust, NOW).totals().debt_value == 1
    assert sheet(build.market(*market.reserves, rules=build.V33), prices, dust, NOW).totals().debt_value == 0


def test_the_average_threshold_is_truncated_first_before_v3_5() -> None:
    """Average of 8000 and 8001 over equal values is 8000.5: the old health loses the half."""
    reserves = (build.reserve(0, liquidation_threshold_bps=8000), build.reserve(1, liquidation_threshold_bps=8001))
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
    account = build.account({0: ETHER, 1: ETHER}, {2: ETHER})
    reserves = (*reserves, build.reserve(2))
    assert health_of(build.market(*reserves), prices, account) == 1600100000000000000
    assert health_of(build.market(*reserves, rules=build.V30), prices, account) == 1600000000000000000


def test_an_e_mode_raises_the_threshold_of_the_collateral_in_its_bitmap_alone() -> None:
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2), emodes=(EMode(3, 9300, 10100, 0b001),))
    prices = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
    inside = sheet(market, prices, build.account({0: ETHER, 1: ETHER}, {2: ETHER}, emode=3), NOW)
    assert [line.threshold_bps for line in inside.collateral] == [9300, 8250]


def test_a_zero_base_threshold_excludes_collateral_until_v3_6() -> None:
    """Even inside an e-mode that would give it one."""
    reserves = (build.reserve(0, liquidation_threshold_bps=0), build.reserve(1))
    emodes = (EMode(1, 9000, 10100, 1),)
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    account = build.account({0: ETHER}, {1: ETHER // 2}, emode=1)
    assert health_of(build.market(*reserves, emodes=emodes), prices, account) == 1800000000000000000
    assert health_of(build.market(*reserves, emodes=emodes, rules=build.V33), prices, account) == 0


def test_an_old_e_mode_values_its_assets_by_its_own_price() -> None:
    """v3.0: collateral and debt of the category alike, others as ever."""
    oracle = b"\x77" * 20
    market = build.market(
        build.reserve(0),
        build.reserve(1),
        build.reserve(2),
        rules=build.V30,
        emodes=(EMode(1, 9000, 10100, 0b011, oracle),),
    )
    prices = build.prices(T0=1_00000000, T1=2_00000000, T2=3_00000000) | {oracle: Price(5_00000000, 8)}
    inside = sheet(market, prices, build.account({0: ETHER, 2: ETHER}, {1: ETHER}, emode=1), NOW)
    assert [line.price for line in (*inside.collateral, *inside.debts)] == [5_00000000, 3_00000000, 5_00000000]


def test_fixed_rate_debt_compounds_by_its_own_rate() -> None:
    market = build.market(build.reserve(0), build.reserve(1, s_token=b"\x55" * 20), rules=build.V30)
    stable = StableDebt(1, 100 * ETHER, RAY // 10, NOW - 365 * 86_400)
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    owed = sheet(market, prices, build.account({0: ETHER}, {1: ETHER}, stables=(stable,)), NOW).debts[0].assets
    assert owed / ETHER == pytest.approx(1 + 100 * math.exp(0.1), rel=1e-5)


def test_a_missing_price_makes_health_unknown_but_not_other_accounts() -> None:
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2))
    prices = build.prices(T0=1_00000000, T2=1_00000000)
    judged = health.assess(ALWAYS_FRESH, market, prices, build.account({0: ETHER, 1: ETHER}, {2: 10 * ETHER}), NOW)
    assert judged.health.unpriced_assets == (build.asset(1),)
    assert (judged.health.factor_wad, judged.health.liquidatable) == (None, False)
    assert set(judged.native.values()) == {None}
    assert health_of(market, prices, build.account({0: ETHER}, {2: ETHER})) is not None


def test_a_reserve_that_counts_by_rules_of_its_own_is_not_judged() -> None:
    """GHO's discount until v3.3: better unknown than wrong; and the screen asks for exact judgement."""
    market = build.market(build.reserve(0), build.reserve(1, opaque=True))
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    account = build.account({0: ETHER}, {1: ETHER})
    assert health.assess(ALWAYS_FRESH, market, prices, account, NOW).health.unpriced_assets == (build.asset(1),)
    assert math.isnan(screened(market, prices, account)[1])


def test_a_price_older_than_its_heartbeat_is_stale() -> None:
    """By address, by symbol, then by default; an age that nobody tells is not stale."""
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2))
    aged = {build.asset(i): Price(1_00000000, 8, NOW - 100) for i in range(3)}
    account = build.account({0: ETHER, 1: ETHER}, {2: ETHER})

    def stale(heartbeats: Heartbeats, prices: dict[bytes, Price]) -> tuple[bytes, ...]:
        return health.judge(heartbeats, prices, sheet(market, prices, account, NOW), NOW)[0].stale_assets

    assert stale(Heartbeats({build.asset(0): 99}, {"T1": 100, "T0": 1000}, 50), aged) == (
        build.asset(0),
        build.asset(2),
    )
    assert stale(Heartbeats({}, {}, None), aged) == ()
    assert stale(Heartbeats({}, {}, 1), {a: Price(1_00000000, 8) for a in aged}) == ()


def test_holdings_show_what_does_not_count_as_well() -> None:
    market = build.market(build.reserve(0), build.reserve(1))
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    account = Account(0b10, 0, ((0, ETHER), (1, 2 * ETHER)), ())
    holdings = health.assess(ALWAYS_FRESH, market, prices, account, NOW).collaterals
    assert [(h.symbol, h.amount, h.counts) for h in holdings] == [("T0", ETHER, True), ("T1", 2 * ETHER, False)]


def test_a_time_before_the_last_update_is_refused() -> None:
    with pytest.raises(ValueError, match="before the last update of T0"):
        indices(build.V36, build.reserve(0), NOW - 1)


# --- the screen -------------------------------------------------------------------------------------------------------


def screened(market: Market, prices: dict[bytes, Price], account: Account) -> tuple[float, float]:
    linear = health.linear(market, account)
    values = health.factors(market, prices, {r.id: indices(market.rules, r, NOW) for r in market.reserves})
    return (
        sum(weight * values[slot] for slot, weight in linear.collateral),
        sum(weight * values[slot] for slot, weight in linear.requirement),
    )


def just_below(market: Market, prices: dict[bytes, Price], account: Account, threshold: float) -> Account | None:
    """The account with the least first debt that brings its health below the threshold: the screen's hardest case."""
    (reserve_id, _), *others = account.debts

    def owing(scaled: int) -> Account:
        return Account(account.flags, account.emode, account.supplies, ((reserve_id, scaled), *others))

    def below(scaled: int) -> bool:
        exact = health_of(market, prices, owing(scaled))
        return exact is not None and Fraction(exact, WAD) < Fraction(threshold)

    most = 1 << 110
    return owing(least(below, 1, most)) if below(most) else None


@settings(max_examples=250)
@given(build.worlds(), st.sampled_from((1.0, 1.03, 1.1, 1.25, 4.0)))
def test_the_screen_never_misses(world: tuple[Market, dict[bytes, Price], Account], threshold: float) -> None:
    """Whoever is below a threshold in exact integers is a candidate, dust and whales alike, in every version."""
    market, prices, account = world
    account = just_below(market, prices, account, threshold) or account
    exact = health_of(market, prices, account)
    collateral, requirement = screened(market, prices, account)
    slack = health.slack(market)
    if exact is not None and Fraction(exact, WAD) < Fraction(threshold):
        assert collateral < threshold * (1 + slack.relative) * requirement + slack.absolute


@given(build.near_health(0.9, 1.3))
def test_the_screen_is_near_the_exact_values(world: tuple[Market, dict[bytes, Price], Account]) -> None:
    """Within the slack, plus what one token unit on each side is worth."""
    market, prices, account = world
    position = sheet(market, prices, account, NOW)
    collateral, requirement = screened(market, prices, account)
    weighted = sum(
        line.assets * line.price * line.threshold_bps / line.reserve.unit / BPS for line in position.collateral
    )
    owed = sum(line.assets * line.price / line.reserve.unit for line in position.debts)
    unit = sum(4 * line.price / line.reserve.unit for line in (*position.collateral, *position.debts))
    assert abs(weighted - collateral) <= 1e-9 * weighted + unit
    assert abs(owed - requirement) <= 1e-9 * owed + unit


def test_what_is_not_linear_is_sent_to_exact_judgement() -> None:
    """A slot that is always NaN makes the account a candidate."""
    stable = StableDebt(1, ETHER, RAY // 10, NOW)
    market = build.market(build.reserve(0), build.reserve(1, s_token=b"\x55" * 20), rules=build.V30)
    prices = build.prices(T0=1_00000000, T1=1_00000000)
    assert math.isnan(screened(market, prices, build.account({0: ETHER}, {}, stables=(stable,)))[1])
    assert not math.isnan(screened(market, prices, build.account({0: ETHER}, {1: 1}))[1])


def test_a_missing_price_reaches_the_screen_even_without_weight() -> None:
    """The pool reverts for whoever has the asset flagged, so the exact judgement has to be asked."""
    market = build.market(build.reserve(0), build.reserve(1, liquidation_threshold_bps=0), build.reserve(2))
    prices = build.prices(T0=1_00000000, T2=1_00000000)
    assert math.isnan(screened(market, prices, build.account({0: ETHER, 1: 5}, {2: 1}))[0])


def test_weights_are_the_same_until_a_threshold_or_the_list_changes() -> None:
    market = build.market(build.reserve(0), build.reserve(1))
    accrued = build.market(build.reserve(0, liquidity_index_ray=2 * RAY, updated_at=NOW + 9), build.reserve(1))
    assert health.same_weights(market, accrued)
    for other in (
        build.market(build.reserve(0, liquidation_threshold_bps=8000), build.reserve(1)),
        build.market(build.reserve(0)),
        build.market(*market.reserves, emodes=(EMode(1, 9000, 10100, 1),)),
    ):
        assert not health.same_weights(market, other)

"""A plan is made for the second in which it is expected to land; chains of several blocks a second give the next block
the same second as the judged one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import LiquidationPlan, Prices, Skip
from keeper.core.units import WAD
from keeper.protocols.venus import abi
from keeper.protocols.venus.sheet import accrued_at, sheet
from keeper.protocols.venus.state import Account, Debt, Market
from tests.support.venus_market import ACCOUNT, BLOCK, NOW, adapter, asset, market, prices, vmarket, vtoken, worlds

ME = b"\x0e" * 20
RICH = {asset(number): 1 << 120 for number in range(3)}
IDLE = vmarket(0)
TOKEN = (IDLE.cash + IDLE.total_borrows - IDLE.total_reserves) * WAD // IDLE.total_supply
SECONDS = {"time_based": True, "slots_per_year": 31_536_000, "accrued_slot": NOW - 100, "borrow_rate_wad": 10**10}


def owed_at(pool: Market, priced: Prices, account: Account, plan: LiquidationPlan, at: int) -> int:
    lines = sheet(pool, priced, account, accrued_at(pool, priced, at)).lines
    return next(line.owed_assets for line in lines if line.market.asset == plan.debt_asset)


@given(worlds(), st.integers(0, 30))
def test_no_more_is_repaid_than_may_be_at_the_judged_second(
    world: tuple[Market, Prices, Account], expected_in_s: int
) -> None:
    """A part of the debt, or all of one that is forced: each grows, and a unit more than the pool allows is refused."""
    pool, priced, account = world
    pool = pool.with_markets(
        replace(one, time_based=True, accrued_slot=one.accrued_slot + (0 if one.time_based else NOW - BLOCK))
        for one in pool.markets
    )
    plan = adapter().plan(pool, priced, ACCOUNT, account, NOW + expected_in_s, RICH, ME)
    if isinstance(plan, Skip) or plan.call.data[:4] != abi.LIQUIDATE_BORROW:
        event(f"skip {plan.code}" if isinstance(plan, Skip) else "whole")
        return
    owed = owed_at(pool, priced, account, plan, NOW)
    forced = pool.by_asset[plan.debt_asset].forced
    event(f"forced: {forced}")
    assert plan.repay_assets <= (owed if forced else pool.close_factor_wad * owed // WAD)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("counts", [SECONDS, {"accrued_slot": BLOCK - 100, "borrow_rate_wad": 10**10}])
def test_all_that_may_be_repaid_in_the_earliest_block_is(counts: dict[str, int], forced: bool) -> None:
    """In the judged second where interest is counted by seconds, else in the next block; to the unit."""
    pool = market(IDLE, vmarket(1, forced=forced, **counts))
    priced = prices(pool, {0: 1.0, 1: 1.0})
    supply = (vtoken(0), 10_500 * WAD * WAD // TOKEN)
    account = Account((vtoken(0), vtoken(1)), (supply,), (Debt(vtoken(1), 9_000 * WAD, WAD),))
    plan = adapter().plan(pool, priced, ACCOUNT, account, NOW + 30, RICH, ME)
    assert isinstance(plan, LiquidationPlan)
    slots = 100 if "time_based" in counts else 101
    owed = 9_000 * WAD * (WAD + 10**10 * slots) // WAD
    assert plan.repay_assets == (owed if forced else owed // 2)


def test_what_a_second_opens_is_planned_for_that_second() -> None:
    """Where blocks are seconds apart there is no earlier one."""
    pool = market(IDLE, vmarket(1, **SECONDS))
    priced = prices(pool, {0: 1.0, 1: 1.0})
    owed = 8_000 * WAD * (WAD + 10**10 * 100) // WAD
    supply = (vtoken(0), owed * 10 // 8 * WAD // TOKEN + 1)
    account = Account((vtoken(0), vtoken(1)), (supply,), (Debt(vtoken(1), 8_000 * WAD, WAD),))
    judge = adapter()
    assert not judge.health(pool, priced, account, NOW).liquidatable
    plan = judge.plan(pool, priced, ACCOUNT, account, NOW + 1, RICH, ME)
    assert isinstance(plan, LiquidationPlan)
    assert plan.repay_assets == owed // 2


@given(
    st.integers(20 * WAD, 60 * WAD),
    st.integers(61 * WAD, 99 * WAD),
    st.integers(0, 10**10),
    st.sampled_from((0, 1, 300)),
)
def test_healing_is_charged_no_more_than_is_offered_whenever_it_lands(
    pledged: int, owed: int, supply_rate: int, lands_in_s: int
) -> None:
    """What it repays follows from what debt and collateral are worth then, and is rounded to 18 digits of the debt."""
    pool = market(vmarket(0, **{**SECONDS, "borrow_rate_wad": supply_rate}), vmarket(1, **SECONDS))
    priced, judge = prices(pool, {0: 1.0, 1: 1.0}), adapter()
    account = Account((vtoken(0), vtoken(1)), ((vtoken(0), pledged * WAD // TOKEN),), (Debt(vtoken(1), owed, WAD),))
    made = judge.plan(pool, priced, ACCOUNT, account, NOW + 1, RICH, ME)
    landed = judge.plan(pool, priced, ACCOUNT, account, NOW + lands_in_s, RICH, ME)
    assert isinstance(made, LiquidationPlan) and isinstance(landed, LiquidationPlan)
    assert made.call.data[:4] == landed.call.data[:4] == abi.HEAL_ACCOUNT
    assert landed.expected_repaid_assets <= made.repay_assets == (made.approval or (b"", b"", 0))[2]
    assert made.repay_assets <= made.expected_repaid_assets * 10_001 // 10_000 + 1_000

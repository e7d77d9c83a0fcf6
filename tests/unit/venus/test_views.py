"""A call that liquidates adds the interest of some markets only: an account's health is the least of what any finds."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given

from keeper.core.types import LiquidationPlan, Prices, Skip, TxCall
from keeper.core.units import WAD
from keeper.evaluator.columns import Columns, vector_of
from keeper.evaluator.screen import maybe_below
from keeper.protocols.venus import abi
from keeper.protocols.venus.adapter import Venus
from keeper.protocols.venus.sheet import Totals, accrued_at, sheet
from keeper.protocols.venus.state import Account, Debt, Market
from tests.support.venus_market import ACCOUNT, BLOCK, NOW, adapter, asset, market, prices, vmarket, vtoken, worlds

ME = b"\x0e" * 20
RICH = {asset(number): 1 << 120 for number in range(3)}
IDLE = vmarket(0, borrow_rate_wad=10**10, accrued_slot=BLOCK - 300_000)  # 0.3 % waits, of which half is the supply's
BUSY, OWED = vmarket(1), vmarket(2)
POOL = market(IDLE, BUSY, OWED)
PRICES = prices(POOL, {0: 1.0, 1: 1.0, 2: 1.0})
TOKEN = (IDLE.cash + IDLE.total_borrows - IDLE.total_reserves) * WAD // IDLE.total_supply  # worth, before interest


def held(idle_usd: int, busy_usd: int, owed: int) -> Account:
    """Owes raw units of the third market against so many dollars, as stored, in the first two."""
    worth = (("0", idle_usd), ("1", busy_usd))
    supplies = tuple((vtoken(int(number)), dollars * WAD * WAD // TOKEN) for number, dollars in worth if dollars)
    entered = tuple(sorted({*(one for one, _ in supplies), vtoken(2)}))
    return Account(entered, supplies, (Debt(vtoken(2), owed, WAD),))


def accruing(pool: Market, *touched: bytes) -> Market:
    """Where no interest waits but in these markets."""
    return pool.with_markets(one if one.vtoken in touched else replace(one, borrow_rate_wad=0) for one in pool.markets)


def totals(pool: Market, priced: Prices, account: Account, *touched: bytes) -> Totals:
    seen = accruing(pool, *touched)
    return sheet(seen, priced, account, accrued_at(seen, priced, NOW)).totals()


def test_interest_of_a_market_that_a_liquidation_need_not_touch_saves_nobody() -> None:
    """Healthy once every market accrued; open to whoever seizes the other collateral, and to nobody who seizes the idle
    one. The screen, what cures it, and the price that opened it are of the same opinion."""
    judge, account = adapter(), held(50_000, 50_000, 80_010 * WAD)
    everything = totals(POOL, PRICES, account, *POOL.by_vtoken)
    pair = totals(POOL, PRICES, account, vtoken(1), vtoken(2))
    assert everything.liquidity > 0 < pair.shortfall
    health = judge.health(POOL, PRICES, account, NOW)
    assert (health.liquidatable, health.factor_wad) == (True, pair.health_wad)
    row = Columns()
    row.put(ACCOUNT, judge.linear(POOL, account))
    floats = row.totals(vector_of(judge.factors(POOL, PRICES, NOW)))
    assert maybe_below(*floats, 1.0, judge.slack(POOL))[0]
    found = judge.pairs(POOL, PRICES, ACCOUNT, account, NOW, ME)
    assert not isinstance(found, Skip)
    assert [(one.debt_asset, one.collateral_asset) for one in found] == [(asset(2), asset(1))]
    [repay] = [one for one in judge.demands(POOL, PRICES, account, NOW, WAD) if one.action == "repay"]
    assert 10 * WAD <= repay.amount <= 11 * WAD
    [top_up] = [one for one in judge.demands(POOL, PRICES, account, NOW, WAD) if one.asset == asset(0)]
    assert top_up.amount == 1  # its own transaction has the idle market accrue
    assert all(one.price >= PRICES[one.asset].value for one in judge.breach_prices(POOL, PRICES, account, NOW))


def test_a_small_account_is_liquidated_whole_as_the_pool_has_it_stored() -> None:
    """`liquidateAccount` looks before any interest is added: it is open without that of its only collateral."""
    account = held(50, 0, 40 * WAD + WAD // 100)
    assert totals(POOL, PRICES, account, *POOL.by_vtoken).liquidity > 0
    assert adapter().health(POOL, PRICES, account, NOW).liquidatable
    plan = adapter().plan(POOL, PRICES, ACCOUNT, account, NOW, RICH, ME)
    assert isinstance(plan, LiquidationPlan)
    assert plan.call.data[:4] == abi.LIQUIDATE_ACCOUNT
    large = held(5_000, 0, 4_001 * WAD)
    assert not adapter().health(POOL, PRICES, large, NOW).liquidatable  # its collateral accrues with the call


BOTH_WAIT = market(
    vmarket(0, borrow_rate_wad=10**10, accrued_slot=BLOCK - 300_000),
    vmarket(1),
    vmarket(2, borrow_rate_wad=10**10, accrued_slot=BLOCK - 300_000),
)


def owing_two(dollars: int) -> Account:
    """40,000 dollars of each of two debts, whose 240 of interest wait, against so many dollars of collateral."""
    debts = tuple(Debt(vtoken(number), 40_000 * WAD, WAD) for number in (0, 2))
    return Account((vtoken(0), vtoken(1), vtoken(2)), ((vtoken(1), dollars * WAD * WAD // TOKEN),), debts)


def test_who_is_short_only_with_a_third_markets_interest_has_it_accrue_first() -> None:
    """Repaying either debt adds that debt's interest; with the other's only is there a shortfall."""
    judge, account = adapter(), owing_two(100_200)
    priced = prices(BOTH_WAIT, {0: 1.0, 1: 1.0, 2: 1.0})
    for debt in 0, 2:
        assert totals(BOTH_WAIT, priced, account, vtoken(debt), vtoken(1)).liquidity > 0
    assert judge.health(BOTH_WAIT, priced, account, NOW).liquidatable
    plan = judge.plan(BOTH_WAIT, priced, ACCOUNT, account, NOW, RICH, ME)
    assert isinstance(plan, LiquidationPlan)
    [other] = [one for one in BOTH_WAIT.markets if one.asset not in (plan.debt_asset, plan.collateral_asset)]
    assert plan.prepare == (TxCall(other.vtoken, abi.ACCRUE_INTEREST),)
    assert set(judge.entry_points(BOTH_WAIT)) >= {(one.to, one.data) for one in plan.prepare}
    state = judge, BOTH_WAIT, priced, account
    assert again(*state, plan) == plan
    assert again(*state, replace(plan, prepare=())) == "not_accrued"
    poorer = judge.plan(BOTH_WAIT, priced, ACCOUNT, owing_two(99_500), NOW, RICH, ME)
    assert isinstance(poorer, LiquidationPlan)
    assert not poorer.prepare
    richer = judge.plan(BOTH_WAIT, priced, ACCOUNT, owing_two(101_000), NOW, RICH, ME)
    assert isinstance(richer, Skip)
    assert richer.code == "healthy"


def again(judge: Venus, pool: Market, priced: Prices, account: Account, plan: LiquidationPlan) -> LiquidationPlan | str:
    """What an earlier plan is worth at the same moment, or why it must not be sent."""
    found = judge.rejudge(pool, priced, ACCOUNT, account, NOW, plan, ME)
    return found.code if isinstance(found, Skip) else found


@given(worlds())
def test_health_is_the_least_of_what_liquidations_find(world: tuple[Market, Prices, Account]) -> None:
    pool, priced, account = world
    seen = [totals(pool, priced, account, *pool.by_vtoken)]
    for debt in account.debts:
        seen += [totals(pool, priced, account, debt.vtoken, vtoken_) for vtoken_, _ in account.supplies]
    stored = totals(pool, priced, account)
    if stored.collateral <= pool.min_collateral_usd_wad:
        seen.append(stored)
    health = adapter().health(pool, priced, account, NOW)
    factors = [one for one in (view.health_wad for view in seen) if one is not None]
    assert health.factor_wad == min(factors, default=None)
    forced = any(pool.by_vtoken[debt.vtoken].forced for debt in account.debts)
    assert health.liquidatable == (forced or any(view.shortfall for view in seen))
    event(f"all views agree: {len(set(factors)) == 1}")

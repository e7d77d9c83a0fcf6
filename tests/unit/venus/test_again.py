"""A call made earlier is sent where planning at this very moment comes to the same call, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import LiquidationPair, LiquidationPlan, Prices, Skip, Unwrap
from keeper.protocols.venus.state import Account, Market
from tests.support.venus_market import ACCOUNT, COMPTROLLER, NOW, adapter, asset, worlds

ME = b"\x0e" * 20
RICH = {asset(number): 1 << 120 for number in range(3)}


def moved(prices: Prices, bps: int) -> Prices:
    """What is pledged first, at another price."""
    return {
        one: replace(price, value=max(price.value * bps // 10_000, 1)) if one == asset(0) else price
        for one, price in prices.items()
    }


@given(worlds(), st.integers(8_500, 11_500), st.integers(-300, 1_800), st.integers(1, 3))
def test_it_is_what_the_exact_planning_of_this_moment_comes_to(
    world: tuple[Market, Prices, Account], bps: int, earlier_by: int, part: int
) -> None:
    market, prices, account = world
    made = adapter().plan(market, moved(prices, bps), ACCOUNT, account, NOW - earlier_by, RICH, ME)
    if isinstance(made, LiquidationPlan) and part > 1:
        wallet = {made.debt_asset: max(made.repay_assets // part, 1)}
        made = adapter().plan(market, moved(prices, bps), ACCOUNT, account, NOW - earlier_by, wallet, ME)
    if isinstance(made, Skip):
        event(f"not made: {made.code}")
        return
    now = adapter().rejudge(market, prices, ACCOUNT, account, NOW, made, ME)
    event(f"skip {now.code}" if isinstance(now, Skip) else "sent")
    pairs = adapter().pairs(market, prices, ACCOUNT, account, NOW, ME)
    known = () if isinstance(pairs, Skip) else pairs
    sized = [pair.plan(most) for pair in known for most in (made.repay_assets, pair.most_assets)]
    same = [one for one in sized if isinstance(one, LiquidationPlan) and one.call == made.call]
    if isinstance(now, LiquidationPlan) and not _is_offered(pairs, now):
        event("cannot be redeemed at its largest")  # and what was made earlier is smaller
        assert isinstance(made.unwrap, Unwrap) and now.expected_seized_assets > 0
    elif isinstance(now, LiquidationPlan):
        exact = same[0]  # healing names no amount
        assert (now.call, now.repay_assets, now.approval) == (made.call, made.repay_assets, made.approval)
        assert now.expected_repaid_assets == exact.expected_repaid_assets <= made.repay_assets
        assert now.expected_seized_assets == exact.expected_seized_assets
        assert now.profit_base == exact.profit_base > 0
    else:
        assert not same or same[0].profit_base <= 0 or now.code == "charges_more"


def _is_offered(pairs: Sequence[LiquidationPair] | Skip, plan: LiquidationPlan) -> bool:
    if isinstance(pairs, Skip):
        assert pairs.code == "illiquid"
        return False
    return any((one.debt_asset, one.collateral_asset) == (plan.debt_asset, plan.collateral_asset) for one in pairs)


@given(worlds(), st.integers(0, 1_800))
def test_an_amount_within_the_close_factor_stays_so_as_interest_accrues(
    world: tuple[Market, Prices, Account], later: int
) -> None:
    """Debts grow, and with them the part that may be repaid; what may stop it is a seizure, which prices bound."""
    market, prices, account = world
    made = adapter().plan(market, prices, ACCOUNT, account, NOW, RICH, ME)
    if isinstance(made, Skip) or made.call.to == COMPTROLLER:
        return
    now = adapter().rejudge(market, prices, ACCOUNT, account, NOW + later, made, ME)
    event(f"skip {now.code}" if isinstance(now, Skip) else "sent")
    assert isinstance(now, LiquidationPlan) or now.code in ("illiquid", "healthy", "unprofitable", "too_much")

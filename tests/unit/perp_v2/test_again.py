"""A takeover names a market and no amount, so what was made earlier does what planning it now comes to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import LiquidationPlan, Prices, Skip
from keeper.protocols.perp_v2.state import Account, Market
from tests.support.perp_market import ACCOUNT, adapter, base, worlds

ME = b"\x0e" * 20


@given(worlds(), st.integers(8_000, 12_000))
def test_it_is_what_taking_over_a_position_at_this_price_comes_to(
    world: tuple[Market, Prices, Account], bps: int
) -> None:
    market, prices, account = world
    then = {
        one: replace(price, value=max(price.value * bps // 10_000, 1)) if one == base(0) else price
        for one, price in prices.items()
    }
    made = adapter().plan(market, then, ACCOUNT, account, 0, {}, ME)
    if isinstance(made, Skip):
        event(f"not made: {made.code}")
        return
    now = adapter().rejudge(market, prices, ACCOUNT, account, 1, made, ME)
    best = adapter().plan(market, prices, ACCOUNT, account, 1, {}, ME)
    event(f"skip {now.code}" if isinstance(now, Skip) else "sent")
    healthy = not adapter().health(market, prices, account, 1).liquidatable
    if isinstance(now, LiquidationPlan):
        assert not healthy
        assert not now.prepare
        assert (now.call, now.repay_assets, now.judged_at) == (made.call, 0, 1)
        assert isinstance(best, LiquidationPlan)
        assert now.profit_base <= best.profit_base
        assert now == best or now.call != best.call
    elif isinstance(best, LiquidationPlan) and not account.orders:
        assert best.call != made.call

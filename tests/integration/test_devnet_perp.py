"""The real Perpetual Protocol of the dev chain does what it does elsewhere."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted


def test_a_leveraged_trader_is_liquidated_once_index_and_market_fall(dev_chain: DevChain) -> None:
    """Ten ether on 2,500 dollars of margin: a fall of the index alone leaves the mark price where the pool is, and the
    trader healthy; when the pool follows, the position is open to liquidation and passes to the liquidator."""
    perp = dev_chain.perp
    maker, trader, whale, liquidator = dev_chain.accounts[:4]
    for who, dollars in ((maker, 5_000_000), (trader, 2_500), (whale, 2_000_000), (liquidator, 100_000)):
        perp.deposit(who, Decimal(dollars))
    perp.add_liquidity(maker, Decimal(2_000), Decimal(4_000_000), 1_000, 4_000)
    perp.trade(trader, Decimal(10))
    healthy = perp.margin(trader)
    assert healthy.account_value > healthy.requirement > 0
    perp.set_index(Decimal(1_800))
    dev_chain.warp(30)
    with pytest.raises(Reverted):
        perp.liquidate(liquidator, trader)
    for price in (1_950, 1_900, 1_850, 1_800):
        perp.set_index(Decimal(price))
        perp.move_market(whale, Decimal(price))
    dev_chain.warp(30)
    dev_chain.mine()
    broken = perp.margin(trader)
    assert broken.account_value < broken.requirement
    before = perp.size(trader)
    perp.liquidate(liquidator, trader)
    assert 0 <= perp.size(trader) < before
    assert perp.size(liquidator) == before - perp.size(trader)

"""The dev chain really is what it says: the real contracts, and the faults that tests ask it for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.devnet.market import BTC_ETH_EMODE
from keeper.devnet.tokens import FeedMode

WAD = 10**18


def open_position(chain: DevChain, who: str) -> None:
    """10 WETH at $2,000 against 14,000 USDC: health 10 * 2000 * 0.825 / 14000."""
    chain.aave.supply(who, "WETH", Decimal(10))
    chain.aave.borrow(who, "USDC", Decimal(14_000))


def test_health_follows_the_price(shared_chain: DevChain):
    """Health is threshold-weighted collateral over debt, and moves with the feed."""
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    assert shared_chain.aave.health(alice) == 10 * 2000 * 825 * WAD // (14_000 * 1000)
    shared_chain.set_price("WETH", Decimal(1_000))
    assert shared_chain.aave.health(alice) < 0.6 * WAD


def test_only_an_unhealthy_position_can_be_liquidated(shared_chain: DevChain):
    """The pool refuses with its own error above 1, and pays the bonus below."""
    alice, liquidator = shared_chain.accounts[:2]
    open_position(shared_chain, alice)
    with pytest.raises(Reverted, match="HealthFactorNotBelowThreshold"):
        shared_chain.aave.liquidate(liquidator, alice, "WETH", "USDC")
    shared_chain.set_price("WETH", Decimal(1_650))
    owed = shared_chain.aave.debt(alice, "USDC")
    shared_chain.aave.liquidate(liquidator, alice, "WETH", "USDC")
    repaid = owed - shared_chain.aave.debt(alice, "USDC")
    seized_value = shared_chain.balance(liquidator, "WETH") * 1_650
    assert repaid == pytest.approx(owed / 2, rel=1e-3)  # above 0.95 the close factor is one half
    assert seized_value / WAD == pytest.approx(repaid / 1e6 * (1 + 0.05 * 0.9), rel=1e-3)  # a tenth of the bonus is a fee

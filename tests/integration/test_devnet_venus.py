"""The real Venus pool of the dev chain does what Venus does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keeper.abis import contract
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted

EIP_170 = 24_576


def test_a_position_is_borrowed_and_liquidated(shared_chain: DevChain) -> None:
    """Ten ether carry 14,000 dollars at a threshold of 80 %; at 1,700 dollars an ether half of the debt can be repaid,
    for collateral worth a tenth more, of which the protocol keeps its share."""
    chain, venus = shared_chain, shared_chain.venus
    lender, borrower, liquidator = chain.accounts[:3]
    venus.supply(lender, "USDC", Decimal(1_000_000))
    venus.supply(borrower, "WETH", Decimal(10))
    venus.borrow(borrower, "USDC", Decimal(14_000))
    assert venus.liquidity(borrower) == (2_000 * 10**18, 0)
    with pytest.raises(Reverted):
        venus.liquidate(liquidator, borrower, "USDC", Decimal(7_000), "WETH")
    chain.set_price("WETH", Decimal(1_700))
    assert venus.liquidity(borrower) == (0, 400 * 10**18)
    venus.liquidate(liquidator, borrower, "USDC", Decimal(7_000), "WETH")
    seized = chain.call(venus.vtokens["WETH"], "balanceOfUnderlying(address)(uint256)", liquidator)
    owed_dollars = 7_000 * Decimal("1.1") * Decimal("0.95454545")  # 5 of the 110 parts stay with the protocol
    assert Decimal(seized) / 10**18 * 1_700 == pytest.approx(owed_dollars, rel=Decimal("1e-4"))


def test_a_small_account_can_only_be_liquidated_whole(shared_chain: DevChain) -> None:
    chain, venus = shared_chain, shared_chain.venus
    lender, borrower, liquidator = chain.accounts[:3]
    venus.supply(lender, "USDC", Decimal(1_000))
    venus.supply(borrower, "WETH", Decimal("0.04"))
    venus.borrow(borrower, "USDC", Decimal(55))
    chain.set_price("WETH", Decimal(1_700))
    with pytest.raises(Reverted, match="MinimalCollateralViolated"):
        venus.liquidate(liquidator, borrower, "USDC", Decimal(20), "WETH")


def test_a_fork_carries_the_pool(shared_chain: DevChain) -> None:
    venus = shared_chain.venus
    with shared_chain.fork() as forked:
        assert forked.venus.deployment == venus.deployment


@pytest.mark.parametrize("name", ["Liquidator"])
def test_our_contracts_fit_where_the_limit_holds(name: str) -> None:
    """The dev chain allows larger ones, for Venus' sake."""
    assert len(contract("keeper", name)["runtime"].removeprefix("0x")) // 2 <= EIP_170

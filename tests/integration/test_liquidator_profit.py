"""The Liquidator contract earns what it should, from every source of money, on the real protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keeper.devnet.chain import DevChain
from tests.support.liquidations import SOURCES, Desk, account

REPAY = 7_000 * 10**6


@pytest.fixture
def desk(shared_chain: DevChain) -> Iterator[Desk]:
    yield Desk.opened(shared_chain)


@pytest.mark.parametrize("source", SOURCES)
def test_profit_is_proceeds_less_repayment_and_fees_to_the_wei(desk: Desk, source: str):
    """Whoever lends, the gain that the contract announces and holds is what the protocols' own events add up to."""
    (borrower,) = desk.under_water()
    if source == "own":
        desk.chain.fund(desk.liquidator.address, "USDC", REPAY)
    before = desk.holds("USDC")
    receipt = desk.run(
        desk.plan(*desk.funded(source, REPAY, desk.liquidate(borrower, REPAY), desk.sell()), least_gain=1)
    )
    said = account(desk, receipt)
    print(source, receipt.gas_used, said)
    assert said.repaid == REPAY
    assert said.profit > 0
    assert said.executed.gain == said.profit == desk.holds("USDC") - before
    assert desk.holds("WETH") == 0

"""A liquidation is sized for the second in which it is expected. Where blocks come several a second, the next one has
the judged one's own second: what is sent is accepted there as well, by the real contracts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.devnet.venus import Venus
from tests.integration.test_venus_liquidations import borrower
from tests.support.contract_house import Running, following


@pytest.fixture
def chain() -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True) as chain:
        yield chain


async def sent_and_mined_at_once(keeper: Running, dollars: int) -> Intent:
    """The liquidation that a price brings about, in a block of the same second."""
    chain = keeper.chain
    chain.set_price("WETH", Decimal(dollars))
    await keeper.follow()
    tip = keeper.pipeline.window.tip
    [sent] = keeper.liquidations()
    assert sent.plan["judged_at"] > tip.timestamp
    chain.anvil.set_next_timestamp(tip.timestamp)
    await keeper.mine()
    assert keeper.pipeline.window.tip.timestamp == tip.timestamp
    [done] = keeper.liquidations()
    return done


async def test_half_of_a_debt_on_venus(chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pool that counts interest by seconds."""
    chain._venus = Venus.deployed(chain.client, chain.tokens, chain.aave.market.admin, by_seconds=True)
    borrower(chain, 2, "10", "14000")
    chain.tokens.provide(chain.liquidator.address, "USDC", 10**12, chain.venus.vtokens["USDC"])
    chain.mine(10, interval_s=1)
    async with following(chain, tmp_path, monkeypatch, protocols=["venus"]) as keeper:
        done = await sent_and_mined_at_once(keeper, 1_700)
        assert done.status is IntentStatus.INCLUDED, done.reason
        assert done.repaid_assets == int(done.plan["repay_assets"])


async def test_all_but_the_least_of_a_debt_on_aave(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All may be repaid and the wallet lacks some of it. Others owe much, so that a second's interest is seen."""
    who, others = chain.make_account(1, Decimal(5)), chain.make_account(7, Decimal(5))
    for account, ether, dollars in (who, 12, 15_500), (others, 250_000, 150_000_000):
        chain.aave.supply(account, "WETH", Decimal(ether))
        chain.aave.borrow(account, "USDC", Decimal(dollars))
    chain.aave.borrow(who, "USDC", Decimal(1))
    chain.tokens.provide(chain.liquidator.address, "USDC", 15_000 * 10**6, chain.aave.pool)
    chain.mine(10, interval_s=1)
    async with following(chain, tmp_path, monkeypatch, protocols=["aave_v3"]) as keeper:
        done = await sent_and_mined_at_once(keeper, 1_470)
        assert done.status is IntentStatus.INCLUDED, done.reason
        assert 1_000 * 10**6 < chain.aave.debt(who, "USDC") < 1_002 * 10**6


async def test_the_part_that_an_offer_lets_be_repaid_on_morpho(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which grows with the debt."""
    who, market = chain.make_account(1, Decimal(5)), chain.morpho.main
    chain.morpho.supply(chain.accounts[2], Decimal(10_000_000))
    market.supply_collateral(who, Decimal(1_000))
    market.borrow(who, Decimal(1_500_000))
    offer = market.offer_pre_liquidation(80 * 10**16, (30 * 10**16, 90 * 10**16), (103 * 10**16, 105 * 10**16))
    market.authorize(who, offer)
    chain.fund(chain.liquidator.address, "USDC", Decimal(3_000_000))
    chain.mine(10, interval_s=1)
    async with following(chain, tmp_path, monkeypatch, protocols=["morpho_blue"]) as keeper:
        done = await sent_and_mined_at_once(keeper, 1_800)
        assert done.status is IntentStatus.INCLUDED, done.reason

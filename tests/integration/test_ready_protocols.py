"""What is ready before its block on protocols other than Aave: the armed transaction itself is mined, in two round
trips, and does what it was judged to do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from keeper.executor.armed import load
from keeper.executor.armory import META
from scripts.benchlib.round_trips import Follower, following

ANSWERED = {"read": 1, "submit": 1}


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True) as chain:
        chain.fund_liquidator()
        monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
        yield chain


def approve(chain: DevChain, spender: str, symbol: str = "USDC") -> None:
    token = chain.tokens[symbol].address
    chain.send(chain.liquidator.address, token, "approve(address,uint256)", spender, 2**256 - 1)


def ready(follower: Follower) -> list[bytes]:
    """Hashes of what is durable before the block."""
    stored = load(follower.store.meta(META), bytes.fromhex(follower.chain.liquidator.address[2:]))
    return [intent.attempts[0].tx_hash for intent in stored]


async def mined(follower: Follower, was_ready: list[bytes]) -> Intent:
    """The one liquidation, which is the very transaction that was ready, at the very second it was judged for."""
    [intent] = [one for one in follower.intents() if one.kind == "liquidation"]
    follower.chain.rpc("evm_setNextBlockTimestamp", intent.plan["judged_at"])
    follower.chain.mine()
    await follower.take()
    [intent] = [one for one in follower.intents() if one.kind == "liquidation"]
    assert intent.status is IntentStatus.INCLUDED
    assert [attempt.tx_hash for attempt in intent.attempts] == was_ready
    assert intent.seized_assets == int(intent.plan["expected_seized_assets"])
    assert intent.repaid_assets == int(intent.plan["expected_repaid_assets"])
    return intent


@pytest.mark.parametrize("dollars", [1_915, 1_790])
async def test_all_of_a_debt_on_morpho_is_repaid_by_what_was_ready(
    chain: DevChain, tmp_path: Path, dollars: int
) -> None:
    """By its shares, whatever the price that opens it, and whatever interest came between."""
    market = chain.morpho.main
    market.supply(chain.accounts[2], Decimal(1_000_000))
    owner = chain.make_account(30)
    market.supply_collateral(owner, Decimal(10))
    market.borrow(owner, Decimal(16_500))
    approve(chain, market.morpho)
    async with following(chain, tmp_path, ("morpho_blue",)) as follower:
        chain.mine(5)
        await follower.take()
        await follower.arm()
        was_ready = ready(follower)
        chain.set_price("WETH", Decimal(dollars))
        assert await follower.take() == ANSWERED
        await mined(follower, was_ready)
        assert market.position(owner).borrow_shares == 0


async def test_what_an_owner_offers_before_morpho_would_is_taken_by_what_was_ready(
    chain: DevChain, tmp_path: Path
) -> None:
    """A pre-liquidation: its threshold, its part of the debt, its incentive."""
    market = chain.morpho.main
    market.supply(chain.accounts[2], Decimal(1_000_000))
    offer = market.offer_pre_liquidation(8 * WAD // 10, (3 * WAD // 10, WAD), (105 * WAD // 100, 105 * WAD // 100))
    owner = chain.make_account(31)
    market.supply_collateral(owner, Decimal(10))
    market.borrow(owner, Decimal(15_500))
    market.authorize(owner, offer)
    approve(chain, offer)
    async with following(chain, tmp_path, ("morpho_blue",)) as follower:
        chain.mine(3)
        await follower.take()
        await follower.arm()
        was_ready = ready(follower)
        before = market.position(owner)
        chain.set_price("WETH", Decimal(1_930))
        assert await follower.take() == ANSWERED
        await mined(follower, was_ready)
        after = market.position(owner)
        assert 0 < after.borrow_shares < before.borrow_shares * 3 // 4


async def test_half_of_a_debt_on_venus_is_repaid_by_what_was_ready(chain: DevChain, tmp_path: Path) -> None:
    """An amount within the close factor; what it seizes comes as vTokens, and follows from the block's prices."""
    venus, owner = chain.venus, chain.make_account(32)
    venus.supply(chain.accounts[2], "USDC", Decimal(1_000_000))
    venus.supply(owner, "WETH", Decimal(10))
    venus.borrow(owner, "USDC", Decimal(14_900))
    approve(chain, venus.vtokens["USDC"])
    async with following(chain, tmp_path, ("venus",)) as follower:
        chain.mine(3)
        await follower.take()
        await follower.arm()
        was_ready = ready(follower)
        chain.set_price("WETH", Decimal(1_800))
        assert await follower.take() == ANSWERED
        intent = await mined(follower, was_ready)
        assert 7_449 * 10**6 < (intent.repaid_assets or 0) < 7_451 * 10**6


async def test_a_perpetual_position_is_taken_over_by_what_was_ready(chain: DevChain, tmp_path: Path) -> None:
    """The call names no amount: as much as may be taken over at the price of its block."""
    perp, maker, whale, us = chain.perp, chain.accounts[0], chain.accounts[1], chain.liquidator.address
    perp.deposit(maker, Decimal(5_000_000))
    perp.add_liquidity(maker, Decimal(2_000), Decimal(4_000_000), 1_000, 4_000)
    trader = chain.make_account(33)
    perp.deposit(trader, Decimal(2_500))
    perp.trade(trader, Decimal(10))
    perp.deposit(us, Decimal(100_000))
    perp.deposit(whale, Decimal(2_000_000))
    async with following(chain, tmp_path, ("perp_v2",)) as follower:
        for price in (1_950, 1_900, 1_873):
            perp.set_index(Decimal(price))
            perp.move_market(whale, Decimal(price))
        chain.warp(30)
        await follower.take()
        await follower.arm()
        was_ready = ready(follower)
        assert len(was_ready) == 1
        perp.set_index(Decimal(1_800))
        perp.move_market(whale, Decimal(1_800))
        chain.warp(30)
        sent = await follower.take()
        assert (sent["simulate"], sent["submit"]) == (0, 1)
        chain.mine()
        await follower.take()
        [intent] = [one for one in follower.intents() if one.kind == "liquidation"]
        assert intent.status is IntentStatus.INCLUDED
        assert [attempt.tx_hash for attempt in intent.attempts] == was_ready
        assert perp.size(us) > 0
        assert intent.seized_assets == pytest.approx(int(intent.plan["expected_seized_assets"]), rel=1e-3)

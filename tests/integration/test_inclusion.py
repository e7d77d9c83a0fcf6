"""Getting into a block, or not: the real Aave and our contract while gas rises and others liquidate first."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from tests.integration.test_flash_plans import borrow, contract, fall, gas_value
from tests.support.contract_house import Contract, Running, running
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

GWEI = 10**9

__all__ = ["contract"]


async def dear_blocks(keeper: Running, gwei: int, count: int) -> None:
    """Blocks with this base fee, each followed as it comes."""
    for _ in range(count):
        keeper.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
        await keeper.mine()


def most_worth(chain: DevChain, intent: Intent) -> int:
    """Wei per gas at which the plan's gain is spent on gas; by the gas that its simulation used."""
    expected = intent.plan["expected"]
    profit_wei = int(expected["profit"]) * 10**18 // chain.price("WETH") + int(expected["gas_wei"])
    gas = int(expected["gas_wei"]) // intent.attempts[0].max_priority_fee_wei
    return profit_wei // gas


async def test_what_a_risen_base_fee_left_behind_is_replaced_for_no_more_than_it_brings(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice what the first attempt offered: the second is mined, on the same nonce, and still earns."""
    chain = contract.chain
    borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch, max_fee_gwei="5000") as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await dear_blocks(keeper, 100, 5)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.CONFIRMED
        first, *others = intent.attempts
        assert others
        assert {attempt.nonce for attempt in intent.attempts} == {first.nonce}
        assert first.max_fee_wei < 100 * GWEI <= others[-1].max_fee_wei <= most_worth(chain, intent) * 101 // 100
        assert intent.profit_realized is not None
        assert 0 < intent.profit_realized < int(intent.plan["expected"]["profit"])
        apart = intent.profit_realized - int(intent.plan["expected"]["profit"])
        assert int(intent.realized["difference"]["gas"]) == pytest.approx(apart, abs=10**6)


async def test_what_gas_has_made_worthless_is_cancelled_and_costs_a_transfer(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 2,000 gwei the gas costs more than the liquidation brings: the nonce is freed, and nothing is liquidated."""
    chain = contract.chain
    who = borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch, max_fee_gwei="5000") as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await dear_blocks(keeper, 2_000, 6)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.ABANDONED
        assert intent.reason is not None
        assert "gas costs" in intent.reason
        assert [attempt.purpose for attempt in intent.attempts] == ["act", "cancel"]
        [mined] = transactions_on_chain(chain, chain.liquidator.address)
        assert (mined["status"], int(mined["gasUsed"], 16)) == ("0x1", 21_000)
        assert liquidations_on_chain(chain) == []
        assert chain.aave.health(who) < 10**18
        assert int(intent.realized["gas"]) == pytest.approx(gas_value(chain, intent), abs=1)


async def test_whom_a_competitor_liquidated_first_is_given_up_without_a_revert(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot with a key of its own is mined while ours waits: every simulation says so, and each nonce goes to an empty
    transfer. Whom the bot did not get is ours."""
    chain = contract.chain
    victims = [borrow(chain, number, 15_500 + number) for number in range(5)]
    rival = chain.make_account(77)
    chain.fund(rival, "USDC", Decimal(1_000_000))
    async with running(contract, tmp_path, monkeypatch) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        assert len(keeper.liquidations()) == 5
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
        for who in victims[:4]:
            chain.aave.liquidate(rival, who, "WETH", "USDC")
            chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * GWEI))
        await keeper.follow()
        await keeper.mine(8)
        by_account = {intent.account: intent for intent in keeper.liquidations()}
        outcomes = [by_account[bytes.fromhex(who[2:])].status for who in victims]
        assert outcomes == [IntentStatus.ABANDONED] * 4 + [IntentStatus.CONFIRMED]
        assert {receipt["status"] for receipt in transactions_on_chain(chain, chain.liquidator.address)} == {"0x1"}
        assert len(liquidations_on_chain(chain)) == 5
        abandoned = [intent for intent in keeper.liquidations() if intent.status is IntentStatus.ABANDONED]
        assert [intent.gas_used for intent in abandoned] == [21_000] * 4
        assert all("HealthFactorNotBelowThreshold" in str(intent.reason) for intent in abandoned)


async def test_a_competitor_in_the_very_block_of_the_fall_leaves_nothing_to_send(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = contract.chain
    who = borrow(chain, 1)
    rival = chain.make_account(77)
    chain.fund(rival, "USDC", Decimal(1_000_000))
    chain.tokens.provide(rival, "USDC", 100_000 * 10**6, chain.aave.pool)
    async with running(contract, tmp_path, monkeypatch) as keeper:
        with chain.one_block():
            fall(chain, 1_780)
            chain.aave.liquidate(rival, who, "WETH", "USDC")
        await keeper.follow()
        await keeper.mine(2)
        assert len(liquidations_on_chain(chain)) == 1
        assert keeper.store.intents() == []


def first_in_block(chain: DevChain, sender: str, to: str, signature: str, *args: object) -> None:
    """A transaction that pays enough to be first in its block, which is mined with whatever waits."""
    tip = hex(200 * GWEI)
    data = "0x" + encode_call(signature, args).hex()
    asked = {"from": sender, "to": to, "data": data, "gas": hex(500_000)}
    chain.rpc("eth_sendTransaction", {**asked, "maxPriorityFeePerGas": tip, "maxFeePerGas": tip})
    chain.mine()


async def test_a_price_that_recovers_in_the_very_block_is_named_and_tried_again_in_some_blocks(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace says which contract refused, and why; the replay, that it would have succeeded before."""
    chain = contract.chain
    borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch, cooldown_blocks=4) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        weth = chain.tokens["WETH"]
        first_in_block(chain, chain.aave.market.admin, weth.feed, "set(int256)", weth.answer(Decimal(2_000)))
        await keeper.follow()
        await keeper.mine()
        [failed] = keeper.liquidations()
        assert failed.status is IntentStatus.FAILED
        assert "HealthFactorNotBelowThreshold" in str(failed.reason)
        assert "since something earlier in its block" in str(failed.reason)
        chain.set_price("WETH", Decimal(1_780))
        await keeper.follow()
        assert len(keeper.liquidations()) == 1
        await keeper.mine(4)
        assert [intent.status for intent in keeper.liquidations()][1:] == [IntentStatus.INCLUDED]


async def test_a_market_that_is_paused_in_the_very_block_is_left_alone_while_it_is(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulations say for how long; hours would be a gift to whoever can make it up for one block."""
    chain = contract.chain
    borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch, cooldown_blocks=1, lasting_cooldown_hours=1.0) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        admin, configurator = chain.aave.market.admin, chain.aave.configurator
        weth = chain.tokens["WETH"].address
        first_in_block(chain, admin, configurator, "setReservePause(address,bool,uint40)", weth, True, 0)
        await keeper.follow()
        await keeper.mine()
        [failed] = keeper.liquidations()
        assert failed.status is IntentStatus.FAILED
        assert "ReservePaused" in str(failed.reason)
        await keeper.mine(3)
        assert keeper.liquidations() == [failed]
        chain.aave.set_pause("WETH", False)
        await keeper.follow()
        await keeper.mine(2)
        assert [one.status for one in keeper.liquidations()].count(IntentStatus.FAILED) == 1
        assert len(keeper.liquidations()) == 2

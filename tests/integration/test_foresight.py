"""What is foreseen, with borrowed money: plans behind an update, and plans kept for the block that mines it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.core.errors import RpcUnavailable
from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.foresight import MOST_TRACKED, Foresight
from keeper.preflight import findings
from tests.integration.test_flash_plans import assert_as_expected, borrow
from tests.integration.test_morpho_liquidations import borrow as morpho_borrower
from tests.support.contract_house import Contract, Running, running
from tests.support.updates import GWEI, Updater


@pytest.fixture
def contract() -> Iterator[Contract]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        yield Contract.deployed(chain)


@asynccontextmanager
async def foreseeing(
    contract: Contract, path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, **options: Any
) -> AsyncIterator[tuple[Running, Foresight]]:
    async with running(contract, path, monkeypatch, lenders=["morpho"], pending_prices=mode, **options) as keeper:
        foresight = await keeper.house.acting.foresight(keeper.pipeline, asyncio.Lock())
        assert foresight is not None
        task = asyncio.create_task(foresight.run())
        try:
            await keeper.mine()
            foresight.head_taken()
            async with asyncio.timeout(10):
                while not foresight.watched.aggregators:
                    await asyncio.sleep(0.01)
            yield keeper, foresight
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await foresight.close()


async def until_liquidating(keeper: Running, count: int = 1) -> Intent:
    """Until so many are on their way; the first of them."""
    async with asyncio.timeout(10):
        while [intent.status for intent in keeper.liquidations()] != [IntentStatus.BROADCAST] * count:
            await asyncio.sleep(0.01)
    return keeper.liquidations()[0]


def pool_falls(chain: DevChain, dollars: int) -> None:
    from decimal import Decimal

    chain.move_pool("WETH", Decimal(dollars))


async def test_what_follows_an_update_brings_what_was_expected_to_the_wei(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Borrowed, liquidated, sold and repaid behind the update, in its block."""
    chain = contract.chain
    borrow(chain, 1)
    pool_falls(chain, 1_780)
    updater = Updater(chain)
    async with foreseeing(contract, tmp_path, monkeypatch, "send") as (keeper, _):
        update = updater.send("WETH", 1_780)
        intent = await until_liquidating(keeper)
        chain.rpc("evm_setNextBlockTimestamp", intent.plan["judged_at"])
        await keeper.mine(4)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.CONFIRMED
        assert intent.tx_hash is not None
        at, ours = updater.place(update), updater.place("0x" + intent.tx_hash.hex())
        assert at is not None
        assert ours == (at[0], at[1] + 1)
        assert contract.holds("USDC") == int(intent.plan["financing"]["gain_assets"]) > 0
        assert_as_expected(intent)


async def test_an_update_opens_what_it_opens_in_every_protocol_that_stands_on_it(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aave and a Morpho market price ether by one feed: both positions are liquidated in the update's block."""
    chain, market = contract.chain, contract.chain.morpho.main
    contract.allow_morpho()
    borrow(chain, 1, 15_900)
    borrower = morpho_borrower(market, 1, 16_900)
    pool_falls(chain, 1_900)
    updater = Updater(chain)
    async with foreseeing(contract, tmp_path, monkeypatch, "send", protocols=("aave_v3", "morpho_blue")) as (keeper, _):
        update = updater.send("WETH", 1_900)
        await until_liquidating(keeper, 2)
        await keeper.mine(4)
        assert {intent.protocol for intent in keeper.liquidations()} == {"aave", "morpho"}
        at = updater.place(update)
        assert at is not None
        assert {intent.included_number for intent in keeper.liquidations()} == {at[0]}
        assert {intent.status for intent in keeper.liquidations()} == {IntentStatus.CONFIRMED}
        assert market.position(borrower).borrow_shares == 0


async def test_what_no_node_took_is_sent_again_while_the_update_waits(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between journal and network: the same bytes, with the next block in which the update waits."""
    chain = contract.chain
    borrow(chain, 1)
    pool_falls(chain, 1_780)
    updater = Updater(chain, max_fee_wei=5 * GWEI)
    async with foreseeing(contract, tmp_path, monkeypatch, "send") as (keeper, _):
        submit = keeper.rpc.submit_many

        async def swallow(raws: Any) -> list[Any]:
            return [RpcUnavailable("no answer") for _ in raws]

        monkeypatch.setattr(keeper.rpc, "submit_many", swallow)
        raw = updater.signed("WETH", 1_780)
        update = chain.rpc("eth_sendRawTransaction", raw)
        intent = await until_liquidating(keeper)
        monkeypatch.setattr(keeper.rpc, "submit_many", submit)
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(6 * GWEI))
        chain.mine()
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        chain.rpc("eth_sendRawTransaction", raw)  # Anvil forgets what a block could not take; others do not
        await keeper.follow()
        await keeper.mine(2)
        [after] = keeper.liquidations()
        assert after.status is IntentStatus.INCLUDED
        assert after.tx_hash == intent.attempts[0].tx_hash
        at, ours = updater.place(update), updater.place("0x" + intent.attempts[0].tx_hash.hex())
        assert at is not None
        assert ours == (at[0], at[1] + 1)


async def test_a_prepared_plan_is_sent_without_a_search_when_its_update_is_mined(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent before; the block with the update asks no exchange for a quote."""
    chain = contract.chain
    borrow(chain, 1)
    pool_falls(chain, 1_780)
    updater = Updater(chain)
    with capture_logs() as logs:
        async with foreseeing(contract, tmp_path, monkeypatch, "prepare") as (keeper, _):
            updater.send("WETH", 1_780)
            async with asyncio.timeout(10):
                while not [entry for entry in logs if entry["event"] == "update_prepared_for"]:
                    await asyncio.sleep(0.01)
            assert keeper.store.intents() == []
            asked: list[Any] = []
            call_many = keeper.rpc.call_many

            async def counting(calls: Any, block: Any) -> Any:
                asked.extend(calls)
                return await call_many(calls, block)

            monkeypatch.setattr(keeper.rpc, "call_many", counting)
            await keeper.mine()
            [intent] = keeper.liquidations()
            quoter = bytes.fromhex(chain.uniswap.quoter[2:])
            assert not [call for call in asked if call.target == quoter]
            await keeper.mine(3)
            [intent] = keeper.liquidations()
            assert intent.status is IntentStatus.CONFIRMED
            assert "behind" not in intent.plan
    assert [entry for entry in logs if entry["event"] == "prepared_plans_used"]


async def test_a_flood_of_updates_is_bounded_and_the_newest_of_a_nonce_counts(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send to a feed that lets anybody write: the oldest are dropped and counted, heads go first."""
    chain = contract.chain
    borrow(chain, 1)
    updater = Updater(chain)
    with capture_logs() as logs:
        async with foreseeing(contract, tmp_path, monkeypatch, "prepare") as (keeper, foresight):
            for number in range(3 * MOST_TRACKED):
                updater.send("WETH", 1_990, nonce=updater.nonce + number)
            await keeper.mine(0)
            foresight.head_comes()
            async with asyncio.timeout(20):
                while foresight.dropped < 2 * MOST_TRACKED:
                    await asyncio.sleep(0.01)
            assert len(foresight._tracked) == MOST_TRACKED
            first = next(iter(foresight._tracked.values()))
            updater.max_fee_wei *= 2
            updater.tip_wei *= 2
            better = updater.send("WETH", 1_980, nonce=first.nonce)
            async with asyncio.timeout(10):
                while bytes.fromhex(better[2:]) not in foresight._tracked:
                    await asyncio.sleep(0.01)
            assert first.tx_hash not in foresight._tracked
            assert len(foresight._tracked) == MOST_TRACKED
    assert [entry for entry in logs if entry["event"] == "price_updates_dropped"]


async def test_a_head_interrupts_what_is_being_judged_and_it_is_judged_again(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the node takes to answer, a block has its turn at once, and the update is followed after it."""
    chain = contract.chain
    borrow(chain, 1)
    pool_falls(chain, 1_780)
    updater = Updater(chain)
    async with foreseeing(contract, tmp_path, monkeypatch, "send") as (keeper, foresight):
        executor, asked = keeper.pipeline.executor, asyncio.Event()
        foresee = executor.foresee

        async def never(*_: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(executor, "foresee", never)
        updater.send("WETH", 1_780)
        async with asyncio.timeout(10):
            await asked.wait()
            assert foresight._turn.locked()
            foresight.head_comes()
            async with foresight._turn:
                assert keeper.store.intents() == []
        monkeypatch.setattr(executor, "foresee", foresee)
        foresight.head_taken()
        intent = await until_liquidating(keeper)
        assert "behind" in intent.plan


async def test_check_says_what_the_node_can_foresee(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], pending_prices="send") as keeper:
        [finding] = [one async for one in findings(keeper.house) if one.what == "pending prices"]
    assert finding.ok
    assert finding.detail == "the node pushes whole transactions, and runs them in front of reads"

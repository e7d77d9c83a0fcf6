"""What our contract pays for, ready before its block: tried out on that very block while it is read, and sent."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.executor.armed import load
from keeper.executor.armory import META
from keeper.indexer.follow import steps_to
from scripts.benchlib.round_trips import Messages
from tests.support.contract_house import Contract, Running, running

ASKED = {"read": 1, "simulate": 1}


@pytest.fixture
def contract() -> Iterator[Contract]:
    with DevChain.start(manual_mining=True) as chain:
        yield Contract.deployed(chain)


def ready(keeper: Running) -> list[bytes]:
    stored = load(keeper.store.meta(META), bytes.fromhex(keeper.chain.liquidator.address[2:]))
    return [intent.attempts[0].tx_hash for intent in stored]


def borrower(chain: DevChain, number: int, dollars: int = 15_900) -> str:
    owner = chain.make_account(number)
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(dollars))
    return owner


def fall(chain: DevChain, dollars: int) -> None:
    chain.move_pool("WETH", Decimal(dollars))
    chain.set_price("WETH", Decimal(dollars))


async def armed(keeper: Running) -> list[bytes]:
    await keeper.mine(1)
    await keeper.pipeline.arm()
    return ready(keeper)


async def take(keeper: Running) -> Messages:
    """Follow the last block, and what left because of it."""
    head, messages = await keeper.rpc.block_by_number("latest"), Messages(keeper.rpc)
    assert head is not None
    [*before, last] = await steps_to(keeper.pipeline.window, head, keeper.rpc)
    for step in before:
        await keeper.pipeline.apply(step)
    messages.begin()
    await keeper.pipeline.apply(last)
    return messages


async def mined(keeper: Running) -> list[Intent]:
    landing_at = max(intent.plan["judged_at"] for intent in keeper.liquidations())
    keeper.chain.rpc("evm_setNextBlockTimestamp", landing_at)
    await keeper.mine(1)
    return keeper.liquidations()


@pytest.mark.parametrize("dollars", [1_910, 1_840])
async def test_a_contracts_liquidation_is_tried_out_while_its_block_is_read(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dollars: int
) -> None:
    """Right below the line, and as far below it as half of the debt may be repaid: the same transaction, two round
    trips. What it brings is what was seen at that block, to the unit, and half of that is demanded."""
    chain = contract.chain
    owner = borrower(chain, 40)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        [was_ready] = await armed(keeper)
        fall(chain, dollars)
        messages = await take(keeper)
        assert messages.sent == {**ASKED, "submit": 1}
        assert list(messages.sent) == ["read", "simulate", "submit"], "the block's own reading leaves first"
        assert messages.round_trips == 2
        [intent] = await mined(keeper)
        assert [attempt.tx_hash for attempt in intent.attempts] == [was_ready]
        assert intent.status is IntentStatus.INCLUDED
        assert intent.repaid_assets == int(intent.plan["expected_repaid_assets"])
        assert intent.seized_assets == int(intent.plan["expected_seized_assets"])
        financing = intent.plan["financing"]
        assert contract.holds("USDC") == int(financing["gain_assets"]) > 0
        assert 2 * int(financing["least_gain_assets"]) >= int(financing["gain_assets"]), "executor.least_gain"
        assert chain.aave.debt(owner, "USDC") < 8_000 * 10**6


async def test_what_brings_far_more_than_it_demands_is_planned_at_the_block(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So far below the line that all of the debt may be repaid, the call would bring twice what it was made for, and
    whoever traded in between could take all but what it demands: the plan of the block demands half of its gain."""
    chain = contract.chain
    owner = borrower(chain, 47)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        [was_ready] = await armed(keeper)
        fall(chain, 1_700)
        await take(keeper)
        [intent] = await mined(keeper)
        assert was_ready not in [attempt.tx_hash for attempt in intent.attempts]
        financing = intent.plan["financing"]
        assert contract.holds("USDC") == int(financing["gain_assets"]) > 0
        assert 2 * int(financing["least_gain_assets"]) >= int(financing["gain_assets"])
        assert chain.aave.debt(owner, "USDC") == 0


async def test_what_exchanges_no_longer_pay_for_is_not_sent(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle opens the position while the pool has fallen much further: nothing is sent, and it costs nothing."""
    chain = contract.chain
    borrower(chain, 41)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        assert len(await armed(keeper)) == 1
        chain.move_pool("WETH", Decimal(1_500))
        chain.set_price("WETH", Decimal(1_900))
        await keeper.follow()
        assert keeper.liquidations() == []


async def test_of_two_the_second_is_tried_behind_the_first(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both leave in one message, on nonces that follow each other, and bring what they were seen to bring together."""
    chain = contract.chain
    owners = [borrower(chain, number) for number in (42, 43)]
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        assert len(await armed(keeper)) == 2
        fall(chain, 1_840)
        messages = await take(keeper)
        assert messages.sent == {**ASKED, "submit": 1}
        found = await mined(keeper)
        assert [intent.status for intent in found] == [IntentStatus.INCLUDED] * 2
        gains = sum(int(intent.plan["financing"]["gain_assets"]) for intent in found)
        assert contract.holds("USDC") == gains
        assert all(chain.aave.debt(owner, "USDC") < 8_000 * 10**6 for owner in owners)


async def test_a_block_that_opens_nothing_waits_for_nothing(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question costs one message beside the block's, whose answer nobody needs."""
    chain = contract.chain
    borrower(chain, 44)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        await armed(keeper)
        chain.mine()
        messages = await take(keeper)
        assert messages.sent == ASKED
        assert messages.round_trips == 1


async def test_on_morpho_its_own_callback_pays(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody lends anything: what is seized is sold before anything is repaid."""
    chain, market = contract.chain, contract.chain.morpho.main
    contract.allow_morpho()
    owner = chain.make_account(45)
    market.supply_collateral(owner, Decimal(10))
    market.borrow(owner, Decimal(16_500))
    protocols = ("aave_v3", "morpho_blue")
    async with running(contract, tmp_path, monkeypatch, lenders=["own"], protocols=protocols) as keeper:
        [was_ready] = await armed(keeper)
        fall(chain, 1_880)
        messages = await take(keeper)
        assert messages.sent["submit"] == 1
        assert messages.round_trips == 2
        [intent] = await mined(keeper)
        assert [attempt.tx_hash for attempt in intent.attempts] == [was_ready]
        assert intent.plan["financing"]["funding"] == "callback"
        assert market.position(owner).borrow_shares == 0
        assert contract.holds("USDC") == int(intent.plan["financing"]["gain_assets"]) > 0


async def test_on_venus_what_is_seized_is_redeemed_and_sold(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, venus = contract.chain, contract.chain.venus
    contract.allow_everything()
    owner = chain.make_account(46)
    venus.supply(chain.accounts[2], "USDC", Decimal(1_000_000))
    venus.supply(owner, "WETH", Decimal(10))
    venus.borrow(owner, "USDC", Decimal(14_900))
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], protocols=("aave_v3", "venus")) as keeper:
        [was_ready] = await armed(keeper)
        fall(chain, 1_800)
        messages = await take(keeper)
        assert messages.sent["submit"] == 1
        assert messages.round_trips == 2
        [intent] = await mined(keeper)
        assert [attempt.tx_hash for attempt in intent.attempts] == [was_ready]
        assert intent.status is IntentStatus.INCLUDED
        assert venus.owed(owner, "USDC") < 7_500 * 10**6
        assert contract.holds("USDC") == int(intent.plan["financing"]["gain_assets"]) > 0

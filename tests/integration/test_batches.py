"""Small liquidations in one transaction of our contract, on the real Aave: cheaper together, and each accounted for."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.executor.legs import legs_of
from keeper.queries.views import liquidation_rows
from tests.integration.test_flash_plans import borrow, contract, fall, mine_as_planned
from tests.integration.test_inclusion import first_in_block
from tests.support.contract_house import Contract, Running, running
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

__all__ = ["contract"]

SMALL = 1_550  # dollars of debt against one ether: some $70 to earn
GAS = 20 * 10**9


def small(chain: DevChain, count: int) -> list[str]:
    return [borrow(chain, number, SMALL + number, 1) for number in range(count)]


async def dear_fall(keeper: Running) -> None:
    """The price falls in a block where gas costs 20 gwei, so that 150,000 of it are some $5."""
    chain = keeper.chain
    chain.move_pool("WETH", Decimal(1_780))
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GAS))
    chain.set_price("WETH", Decimal(1_780))
    await keeper.follow()


def batches(keeper: Running) -> list[Intent]:
    return [intent for intent in keeper.store.intents() if intent.kind == "batch"]


def rows(keeper: Running) -> dict[str, Any]:
    return {row["account"]: row for row in liquidation_rows(keeper.store)}


async def planned_second(keeper: Running) -> None:
    """A block at the very second that was planned for."""
    [judged_at] = {leg.plan["judged_at"] for intent in keeper.store.intents() for leg in legs_of(intent)}
    keeper.chain.rpc("evm_setNextBlockTimestamp", judged_at)
    await keeper.mine()


async def test_small_ones_go_together_and_a_large_one_alone_and_first(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each position brought is told by itself, equal to the last unit to what was expected; gas is split among
    them, and together they hold what the contract holds."""
    chain = contract.chain
    accounts = small(chain, 6)
    large = borrow(chain, 50, 155_000, 100)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        await dear_fall(keeper)
        intents = sorted(keeper.store.intents(), key=lambda one: one.attempts[0].nonce)
        assert [(one.kind, len(legs_of(one))) for one in intents] == [("liquidation", 1), ("batch", 4), ("batch", 2)]
        await planned_second(keeper)
        await keeper.mine(3)
        found = rows(keeper)
        assert set(found) == {*accounts, large}
        assert {row["status"] for row in found.values()} == {"confirmed"}
        for row in found.values():
            assert {cause: amount for cause, amount in row["difference"].items() if cause != "gas"} == {
                **dict.fromkeys(("interest", "price", "slippage", "fee", "tip", "other"), "0"),
                "profit": row["difference"]["gas"],
            }
            assert abs(int(row["difference"]["gas"])) <= 1
        held = sum(int(row["realized"]["gains"][0]["amount"]) for row in found.values())
        assert contract.holds("USDC") == held > 0
        for batch in batches(keeper):
            legs = [row for row in found.values() if row["batch"] == batch.id]
            assert sum(row["gas_used"] for row in legs) == batch.gas_used
            assert sum(int(row["gas_cost_wei"]) for row in legs) == batch.gas_cost_wei
            assert sum(int(row["profit_realized"]) for row in legs) == batch.profit_realized
        assert len(transactions_on_chain(chain, chain.liquidator.address)) == 3
        assert sorted(who for who, _ in liquidations_on_chain(chain)) == sorted([*accounts, large])


async def test_what_would_not_pay_for_its_gas_alone_does_together(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a least profit between what the best of them leaves alone and the worst of them in a batch."""
    small(contract.chain, 4)

    async def expected(name: str, most: int, least: str) -> list[int]:
        """In base units, of each that is sent."""
        settings = {"min_profit": least, "max_batch": most, "tip_share": "0"}
        async with running(contract, tmp_path / name, monkeypatch, lenders=["morpho"], **settings) as keeper:
            with contract.chain.rewound():
                await dear_fall(keeper)
                return [leg.profit_expected or 0 for one in keeper.store.intents() for leg in legs_of(one)]

    alone, together = await expected("alone", 1, "1.00"), await expected("together", 4, "1.00")
    assert len(alone) == len(together) == 4
    assert max(alone) < min(together)
    least = str(Decimal((max(alone) + min(together)) // 2).scaleb(-8))
    assert await expected("neither", 1, least) == []
    assert len(await expected("all", 4, least)) == 4


async def test_a_leg_that_dies_in_the_very_block_takes_no_other_down_and_rests(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner repays first: the others are liquidated as planned, its part of the gas is lost, and why is told."""
    chain = contract.chain
    accounts = small(chain, 4)
    chain.tokens.provide(accounts[2], "USDC", 10_000 * 10**6, chain.aave.pool)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], cooldown_blocks=3) as keeper:
        await dear_fall(keeper)
        usdc = chain.tokens["USDC"].address
        repay = "repay(address,uint256,uint256,address)"
        first_in_block(chain, accounts[2], chain.aave.pool, repay, usdc, 2**256 - 1, 2, accounts[2])
        await keeper.follow()
        await keeper.mine(3)
        [batch] = batches(keeper)
        assert batch.status is IntentStatus.CONFIRMED
        found = rows(keeper)
        assert [found[who]["status"] for who in accounts] == ["confirmed", "confirmed", "failed", "confirmed"]
        dead = found[accounts[2]]
        assert dead["reason"].startswith("reverted: ")
        assert dead["realized"] is None
        assert int(dead["gas_cost_wei"]) > 0
        alive = sum(int(row["profit_realized"]) for row in found.values() if row["status"] == "confirmed")
        assert batch.profit_realized is not None
        assert alive > batch.profit_realized > 0
        assert sorted(who for who, _ in liquidations_on_chain(chain)) == sorted(set(accounts) - {accounts[2]})


async def test_a_leg_that_dies_of_what_is_undone_at_once_is_tried_again_after_the_cooldown(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused is a reason that lasts, for hours; but the pause came within the batch's own block, and is over in the
    next: as of a single liquidation."""
    chain = contract.chain
    accounts, owes_dai = small(chain, 2), chain.make_account(9, Decimal(5))
    chain.aave.supply(owes_dai, "WETH", Decimal(1))
    chain.aave.borrow(owes_dai, "DAI", Decimal(SMALL + 9))
    chain.balancer.fill("DAI", Decimal(1_000_000))
    async with running(contract, tmp_path, monkeypatch, cooldown_blocks=3) as keeper:
        await dear_fall(keeper)
        pause, dai = "setReservePause(address,bool,uint40)", chain.tokens["DAI"].address
        first_in_block(chain, chain.aave.market.admin, chain.aave.configurator, pause, dai, True, 0)
        await keeper.follow()
        chain.client.send(chain.aave.market.admin, chain.aave.configurator, pause, dai, False, 0)
        await keeper.follow()
        [batch] = batches(keeper)
        [dead] = [leg for leg in legs_of(batch) if leg.status is IntentStatus.FAILED]
        assert "paused" in (dead.reason or "")
        assert {who for who, _ in liquidations_on_chain(chain)} == set(accounts)
        await keeper.mine(5)
        assert {who for who, _ in liquidations_on_chain(chain)} == {*accounts, owes_dai}


async def test_a_batch_lost_to_a_reorg_is_settled_again_without_help(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = contract.chain
    accounts = small(chain, 4)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        await dear_fall(keeper)
        await keeper.mine()
        assert {row["status"] for row in rows(keeper).values()} == {"included"}
        chain.reorg(1)
        await keeper.follow()
        assert {row["status"] for row in rows(keeper).values()} == {"broadcast"}
        assert {row["realized"] for row in rows(keeper).values()} == {None}
        await keeper.mine(4)
        assert {row["status"] for row in rows(keeper).values()} == {"confirmed"}
        assert sorted(who for who, _ in liquidations_on_chain(chain)) == sorted(accounts)
        assert len(transactions_on_chain(chain, chain.liquidator.address)) == 1


async def test_a_batch_of_which_too_little_is_left_is_cancelled(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, three of four are repaid by their owners: what the last one brings is not worth all the gas."""
    chain = contract.chain
    accounts = [borrow(chain, number, 400 + number, Decimal("0.26")) for number in range(4)]
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], min_profit="5.00") as keeper:
        for who in accounts[:3]:
            chain.tokens.provide(who, "USDC", 10_000 * 10**6, chain.aave.pool)
        await dear_fall(keeper)
        [batch] = batches(keeper)
        offered = batch.attempts[-1].max_fee_wei
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(offered * 21 // 20))
        with chain.one_block():
            for who in accounts[:3]:
                chain.aave.repay(who, "USDC")
        await keeper.follow()
        await keeper.mine(4)
        [batch] = batches(keeper)
        assert batch.status is IntentStatus.ABANDONED
        assert batch.attempts[-1].purpose == "cancel"
        assert "what it still brings" in str(batch.reason)
        assert liquidations_on_chain(chain) == []


async def test_where_gas_costs_next_to_nothing_each_goes_alone(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(contract.chain, 4)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        fall(contract.chain, 1_780)
        await keeper.follow()
        await mine_as_planned(keeper)
        assert [one.kind for one in keeper.store.intents()] == ["liquidation"] * 4

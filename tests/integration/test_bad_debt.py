"""Positions that are worth less than they owe, on the real Aave: realized where that is configured, within limits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from structlog.testing import capture_logs

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from tests.integration.test_flash_plans import contract
from tests.support.contract_house import Contract, Running, running

__all__ = ["contract"]

DEFICIT_CREATED = "0x" + keccak(b"DeficitCreated(address,address,uint256)").hex()
FALLEN = 1_000


def dust(chain: DevChain, number: int) -> str:
    """$20 of ether against $14: at half the price nothing of the $10 left pays for gas at 20 gwei."""
    who = chain.make_account(number, Decimal(5))
    chain.aave.supply(who, "WETH", Decimal("0.01"))
    chain.aave.borrow(who, "USDC", Decimal(14))
    return who


def deficits(chain: DevChain) -> list[str]:
    """Whose bad debt the pool has realized."""
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [DEFICIT_CREATED]})
    return ["0x" + log["topics"][1][-40:] for log in logs]


async def fallen(keeper: Running) -> list[Mapping[str, Any]]:
    """The price halves while gas costs 20 gwei; what is logged."""
    with capture_logs() as logs:
        keeper.chain.move_pool("WETH", Decimal(FALLEN))
        keeper.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * 10**9))
        keeper.chain.set_price("WETH", Decimal(FALLEN))
        await keeper.follow()
        await keeper.mine(4)
    return logs


def confirmed(keeper: Running) -> list[Intent]:
    return [one for one in keeper.liquidations() if one.status is IntentStatus.CONFIRMED]


async def test_what_does_not_pay_is_left_alone(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dust(contract.chain, 1)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        skipped = [one["code"] for one in await fallen(keeper) if one["event"] == "liquidation_skipped"]
        assert "unprofitable" in skipped
        assert keeper.store.intents() == []


@pytest.mark.parametrize("payer", ["contract", "wallet"])
async def test_bad_debt_is_realized_at_a_loss_where_that_is_configured(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payer: str
) -> None:
    """All collateral is taken and the rest of the debt written off; the loss is counted, and within its limit."""
    chain = contract.chain
    who = dust(chain, 1)
    if payer == "wallet":
        chain.fund(chain.liquidator.address, "USDC", Decimal(100))
    async with running(
        contract,
        tmp_path,
        monkeypatch,
        lenders=["morpho"],
        inventory=payer == "wallet",
        realize_bad_debt="50.00",
        approve_exactly=True,
    ) as keeper:
        await fallen(keeper)
        [intent] = confirmed(keeper)
        assert ("financing" in intent.plan) is (payer == "contract")
        assert deficits(chain) == [who.lower()]
        assert chain.aave.debt(who, "USDC") == chain.aave.supplied(who, "WETH") == 0
        assert intent.profit_realized is not None
        assert -50 * 10**8 < intent.profit_realized < 0


async def test_a_position_that_is_worth_more_than_it_owes_is_never_liquidated_at_a_loss(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = contract.chain
    who = chain.make_account(1, Decimal(5))
    chain.aave.supply(who, "WETH", Decimal("0.01"))
    chain.aave.borrow(who, "USDC", Decimal("8.8"))  # at $1,000 it owes 88 % of what it has
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], realize_bad_debt="50.00") as keeper:
        await fallen(keeper)
        assert chain.aave.health(who) < 10**18
        assert keeper.store.intents() == []


async def test_planned_losses_stop_before_they_reach_the_loss_limit(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of four would lose about the same; the limit has room for two, counted before they are mined and after."""
    chain = contract.chain
    for number in range(4):
        dust(chain, number)
    async with running(
        contract,
        tmp_path / "one",
        monkeypatch,
        lenders=["morpho"],
        realize_bad_debt="50.00",
        max_batch=1,
        breakers={"loss_per_hour": "1000", "loss_per_day": "1000"},
    ) as keeper:
        with chain.rewound():
            await fallen(keeper)
            losses = [-int(one.plan["expected"]["profit"]) for one in keeper.liquidations()]
            assert len(losses) == 4
    limit = Decimal(sum(losses[:2]) + min(losses) // 2).scaleb(-8)
    async with running(
        contract,
        tmp_path / "two",
        monkeypatch,
        lenders=["morpho"],
        realize_bad_debt="50.00",
        max_batch=1,
        breakers={"loss_per_hour": str(limit), "loss_per_day": str(limit)},
    ) as keeper:
        said = await fallen(keeper)
        assert len(confirmed(keeper)) == 2
        assert len(deficits(chain)) == 2
        assert "losses_held" in [one["event"] for one in said]
        lost = sum(-(one.profit_realized or 0) for one in confirmed(keeper))
        assert lost < limit.scaleb(8)

"""Cures of perpetual accounts, and liquidations by the whole house, carried out by the real clearing house."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import IntentStatus
from keeper.core.types import LiquidationPlan, Skip
from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from tests.support.contract_house import following
from tests.support.perp_world import Follower, adapter_of

TARGET = 5 * WAD // 4


@pytest.fixture
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        perp, maker = chain.perp, chain.accounts[0]
        perp.deposit(maker, Decimal(5_000_000))
        perp.add_liquidity(maker, Decimal(2_000), Decimal(4_000_000), 1_000, 4_000)
        yield chain


def leveraged(chain: DevChain, number: int, dollars: int = 2_500, ether: int = 10) -> str:
    trader = chain.make_account(number)
    chain.perp.deposit(trader, Decimal(dollars))
    chain.perp.trade(trader, Decimal(ether))
    return trader


def fall(chain: DevChain, dollars: int) -> None:
    """The index and the market, and time enough for the mark price to follow."""
    whale = chain.accounts[1]
    chain.perp.deposit(whale, Decimal(2_000_000))
    for price in range(1_950, dollars - 1, -50):
        chain.perp.set_index(Decimal(price))
        chain.perp.move_market(whale, Decimal(price))
    chain.warp(30)


@pytest.mark.parametrize("short", [0, 1])
def test_a_demand_cures_on_chain_and_one_unit_less_does_not(chain: DevChain, short: int) -> None:
    """In the very second it was judged for: funding and averages go on."""
    trader = leveraged(chain, 2)
    key = bytes.fromhex(trader[2:])
    fall(chain, 1_850)
    chain.tokens.provide(trader, "USDC", 10**12, chain.perp.vault)
    follower = Follower(chain)
    follower.index()
    assert follower.tip is not None
    position = follower.book.positions[key]
    [demand] = follower.adapter.demands(follower.market, follower.book.prices, position, follower.tip.timestamp, TARGET)
    assert demand.action == "add_collateral"
    chain.anvil.set_next_timestamp(follower.tip.timestamp)
    chain.perp.deposit(trader, demand.amount - short)
    margin = chain.perp.margin(trader)
    assert (margin.account_value * WAD // margin.requirement >= TARGET) == (short == 0)


def test_a_position_is_taken_over_only_within_the_limit_and_once_its_orders_are_cancelled(chain: DevChain) -> None:
    trader, maker = leveraged(chain, 2), leveraged(chain, 3)
    chain.perp.add_liquidity(maker, Decimal("0.1"), Decimal(0), 2_100, 2_600)
    fall(chain, 1_800)
    follower = Follower(chain)
    follower.index()
    assert follower.tip is not None

    def plan(who: str, most_usd: int) -> LiquidationPlan | Skip:
        key = bytes.fromhex(who[2:])
        return adapter_of(chain, most_usd).plan(
            follower.market, follower.book.prices, key, follower.book.positions[key], 0, {}, b"\x01" * 20
        )

    for who, most_usd, code in (
        (trader, 0, "inherits_position"),
        (trader, 100, "inherits_too_much"),
        (maker, 100, "inherits_too_much"),
    ):
        refused = plan(who, most_usd)
        assert isinstance(refused, Skip)
        assert refused.code == code
    allowed = plan(trader, 10**6)
    assert isinstance(allowed, LiquidationPlan)
    assert allowed.profit_base > 0
    assert not allowed.prepare
    after_cancelling = plan(maker, 10**6)
    assert isinstance(after_cancelling, LiquidationPlan)
    assert len(after_cancelling.prepare) == 1


async def test_the_house_takes_over_a_position_and_books_the_discount(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own margin in the vault; the discount is what was expected, but for what the average moved meanwhile."""
    trader, us = leveraged(chain, 2), chain.liquidator.address
    chain.perp.deposit(us, Decimal(100_000))
    async with following(chain, tmp_path, monkeypatch, protocols=["perp_v2"]) as keeper:
        fall(chain, 1_800)
        chain.mine_by_hand()
        await keeper.follow()
        await keeper.mine(4)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.CONFIRMED, intent.reason
        assert intent.position.lower() == f"perp:{trader}".lower()
        assert chain.perp.size(us) > 0
        assert intent.seized_assets == pytest.approx(int(intent.plan["expected_seized_assets"]), rel=1e-3)
        assert chain.perp.margin(trader).requirement == 0 or chain.perp.size(trader) < 10 * WAD


async def test_orders_are_cancelled_first_in_the_same_block(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two transactions of ours, one after the other; each is told for what it is."""
    trader, us = leveraged(chain, 2), chain.liquidator.address
    chain.perp.add_liquidity(trader, Decimal("0.1"), Decimal(0), 2_100, 2_600)
    chain.perp.deposit(us, Decimal(100_000))
    async with following(chain, tmp_path, monkeypatch, protocols=["perp_v2"]) as keeper:
        fall(chain, 1_800)
        chain.mine_by_hand()
        await keeper.follow()
        await keeper.mine(4)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.CONFIRMED, intent.reason
        [prepared] = [one for one in keeper.store.intents() if one.kind == "preparation"]
        assert prepared.included_number == intent.included_number
        assert chain.perp.size(us) > 0
        assert not chain.call(chain.perp.deployment.account_balance, "hasOrder(address)(bool)", trader)

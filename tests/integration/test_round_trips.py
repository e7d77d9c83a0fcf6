"""What a block costs in messages to the node, counted where they leave. The goal is two, however many accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import IntentStatus
from keeper.devnet.chain import DevChain
from scripts.benchlib.round_trips import Crowd, Follower, following, four_protocols


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True) as chain:
        chain.fund_liquidator()
        yield chain


@pytest.fixture(scope="module")
def crowd(chain: DevChain) -> Crowd:
    return Crowd(chain)


@pytest.fixture
async def follower(
    chain: DevChain, crowd: Crowd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Follower]:
    """Able to liquidate, so that the wallet's questions are asked as well."""
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
    async with following(chain, tmp_path) as follower:
        yield follower


async def test_a_block_with_nothing_of_ours_costs_one_round_trip(follower: Follower) -> None:
    """Logs, prices, finality and our wallet come with one message."""
    follower.chain.mine()
    assert await follower.take() == {"read": 1}


@pytest.mark.parametrize(("known", "touched"), [(10, 1), (10, 10), (10, 50), (500, 1), (500, 50), (500, 300)])
async def test_reading_a_block_costs_two_round_trips_however_many_accounts(
    follower: Follower, crowd: Crowd, known: int, touched: int
) -> None:
    """The second reads everything that the first one's logs touched, accounts never seen before included."""
    crowd.grow(known)
    await follower.take()
    assert follower.positions > known
    crowd.touch(0, touched)
    assert await follower.take() == {"read": 2}


async def test_liquidating_adds_one_round_trip_to_simulate_and_one_to_submit(follower: Follower) -> None:
    """The approval that the first liquidation needs costs none of its own."""
    chain = follower.chain
    owner = chain.accounts[1]
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    await follower.take()
    chain.set_price("WETH", Decimal(1_700))
    assert await follower.take() == {"read": 1, "simulate": 1, "submit": 1}
    chain.mine()
    assert await follower.take() == {"read": 2}
    assert chain.aave.debt(owner, "USDC") == 0


def approving(chain: DevChain) -> DevChain:
    """At the price that positions were opened at, and with the wallet's allowance in place."""
    chain.set_price("WETH", Decimal(2_000))
    usdc = chain.tokens["USDC"].address
    chain.send(chain.liquidator.address, usdc, "approve(address,uint256)", chain.aave.pool, 2**256 - 1)
    return chain


async def test_what_is_ready_costs_none_but_to_read_and_to_submit(follower: Follower) -> None:
    """Planned, simulated and signed before the block that opens it: the pool takes it for what it was judged to be."""
    chain = approving(follower.chain)
    owner, other = chain.make_account(20), chain.make_account(21)
    for account in (owner, other):
        chain.aave.supply(account, "WETH", Decimal(10))
        chain.aave.borrow(account, "USDC", Decimal(15_900))
    await follower.take()
    await follower.arm()
    chain.set_price("WETH", Decimal(1_700))
    assert await follower.take() == {"read": 1, "submit": 1}
    chain.mine()
    assert await follower.take() == {"read": 2}
    assert [chain.aave.debt(account, "USDC") for account in (owner, other)] == [0, 0]
    found = [i for i in follower.intents() if i.account.hex() in (owner[2:].lower(), other[2:].lower())]
    assert [i.status for i in found] == [IntentStatus.INCLUDED] * 2
    for intent in found:
        assert intent.repaid_assets is not None  # but for the interest of a second more or less
        assert abs(intent.repaid_assets - int(intent.plan["expected_repaid_assets"])) <= 10


async def test_a_breach_of_a_hair_is_answered_by_what_is_ready(follower: Follower) -> None:
    """Just below the line half of the debt may be repaid: the same call takes that half."""
    chain = approving(follower.chain)
    owner = chain.make_account(22)
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    await follower.take()
    await follower.arm()
    chain.set_price("WETH", Decimal(1_914))
    assert await follower.take() == {"read": 1, "submit": 1}
    chain.mine()
    await follower.take()
    left = chain.aave.debt(owner, "USDC")
    assert 7_949 * 10**6 < left < 7_951 * 10**6


async def test_four_protocols_at_once_cost_no_more_than_one(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round trip where a block touched nothing of ours, two where it touched each of them."""
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
    none, each = await four_protocols(tmp_path, chain)
    assert (none.ratio, each.ratio) == (1, 2)

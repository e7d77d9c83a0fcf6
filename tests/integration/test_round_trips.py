"""What a block costs in messages to the node, counted where they leave. The goal is two, however many accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from scripts.benchlib.round_trips import Crowd, Follower, following


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

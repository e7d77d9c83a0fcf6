"""The deployed Morpho and its deployed interest rate model, with eight of its real markets, on a chain of our own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.core.types import Book
from keeper.devnet import multicall
from keeper.devnet.anvil import Anvil
from keeper.devnet.client import Client
from keeper.devnet.morpho import PARAMS
from keeper.protocols.morpho_blue import build
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.irm import adaptive_curve_rate
from keeper.protocols.morpho_blue.state import Market, Position
from tests.support.follower import Follower
from tests.support.recorded import recorded

MORPHO = "0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCb"


class Replica:
    """As much of a DevChain as a follower needs."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.rpc = anvil.rpc
        self.client = Client(anvil)

    @property
    def block_number(self) -> int:
        return self.anvil.block_number()


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    genesis: Path = recorded("state/genesis-mainnet-25598869.json")
    anvil = Anvil.start(extra=("--init", str(genesis)))
    try:
        chain = Replica(anvil)
        multicall.install(chain.client)
        chain.anvil.mine()
        yield chain
    finally:
        anvil.stop()


def followed(replica: Replica) -> Follower[Market, Position]:
    rows = json.loads(recorded("state/morpho-markets-25598869.json").read_text())
    adapter = build(
        {
            "name": "morpho",
            "start_block": 0,
            "morpho": bytes.fromhex(MORPHO[2:]),
            "markets": tuple(row["id"] for row in rows),
        }
    )
    follower: Follower[Market, Position] = Follower(replica, adapter)  # type: ignore[arg-type]
    block = follower.block(replica.block_number)
    follower.book = Book(follower.run(adapter.bootstrap(), block))
    follower.tip = block
    return follower


def test_the_deployed_model_is_recognised_and_computed_to_the_wei(replica: Replica) -> None:
    """What it answers itself, for every market and through months, is what we compute."""
    follower, chance = followed(replica), random.Random(1)
    assert len(follower.market.lendings) == 8
    assert {lending.adaptive for lending in follower.market.lendings} == {True}
    assert follower.tip is not None
    view = f"borrowRateView({PARAMS},(uint128,uint128,uint128,uint128,uint128,uint128))(uint256)"
    for lending in follower.market.lendings:
        params = tuple("0x" + part.hex() if isinstance(part, bytes) else part for part in lending.params)
        for _ in range(40):
            age, supply = int(10 ** chance.uniform(0, 7.5)), 10**24
            borrow = int(supply * chance.choice((chance.random(), chance.uniform(0.88, 1.0))))
            totals = (supply, supply, borrow, supply, follower.tip.timestamp - age, 0)
            said = replica.client.call("0x" + lending.irm.hex(), view, params, totals, block=follower.tip.number)
            assert said == adaptive_curve_rate(supply, borrow, lending.rate_at_target_wad, age)


def test_interest_is_what_the_deployed_contract_accrues(replica: Replica) -> None:
    """Total debts of the real markets after an hour, a day and a month, as accrueInterest leaves them."""
    follower = followed(replica)
    anybody = replica.rpc("eth_accounts")[0]
    replica.rpc("anvil_setBalance", anybody, hex(10**21))
    for wait in (3_600, 86_400, 30 * 86_400):
        for lending in follower.market.lendings:
            at = replica.anvil.timestamp() + wait
            replica.anvil.set_next_timestamp(at)
            params = tuple("0x" + part.hex() if isinstance(part, bytes) else part for part in lending.params)
            replica.client.send(anybody, MORPHO, f"accrueInterest({PARAMS})", params)
            owed = accrued(lending, {}, at)
            assert owed is not None
            market = "market(bytes32)(uint128,uint128,uint128,uint128,uint128,uint128)"
            _, _, assets, shares, updated_at, _ = replica.client.call(MORPHO, market, lending.id)
            assert (owed.assets, owed.shares, at) == (assets, shares, updated_at)
        block = follower.block(replica.block_number)
        follower.book = Book(follower.run(follower.adapter.bootstrap(follower.market), block))

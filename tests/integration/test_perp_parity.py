"""What Keeper says of a perpetual account is what the clearing house says, to the wei: real contracts, random users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keeper.core.types import Block, Book
from keeper.devnet.chain import DevChain
from keeper.protocols.perp_v2.state import Account, Market
from tests.support.perp_world import Follower, World


@pytest.fixture
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        yield chain


def assert_parity(follower: Follower) -> tuple[int, int]:
    """Every account's value and requirement are the contracts' at the tip; returns how many have a position, and how
    many have orders."""
    block = follower.tip
    assert block is not None
    adapter, book = follower.adapter, follower.book
    keys = sorted(book.positions)
    answers = follower.read([asked for key in keys for asked in adapter.confirm_calls(follower.market, key)], block)
    trading = making = 0
    for place, key in enumerate(keys):
        position = book.positions[key]
        assessment = adapter.assess(follower.market, book.prices, position, block.timestamp)
        said = adapter.native_view(answers[2 * place : 2 * place + 2])
        assert assessment.native == said, f"0x{key.hex()} at {block.number}: {position}"
        assert assessment.health.liquidatable == (said["accountValue"] < said["marginRequirement"])
        trading += said["marginRequirement"] > 0
        making += position.orders
    return trading, making


def test_native_view_equals_the_contracts_through_random_actions(chain: DevChain) -> None:
    """Deposits, trades both ways, orders, funding, the index, time, liquidations: equal after every action."""
    world = World(chain, seed=20261126, users=24)
    follower = Follower(chain)
    follower.index()
    trading = making = 0
    for _ in range(220):
        world.act()
        follower.follow()
        now = assert_parity(follower)
        trading, making = max(trading, now[0]), max(making, now[1])
        assert follower.last_round_trips <= 4
    assert trading >= 12
    assert making >= 3
    fresh = Follower(chain)
    fresh.index()
    assert fresh.book.positions == follower.book.positions
    assert (fresh.book.market, fresh.book.prices) == (follower.book.market, follower.book.prices)


def test_after_random_reorgs_the_book_equals_a_fresh_index(chain: DevChain) -> None:
    world = World(chain, seed=5, users=8)
    follower = Follower(chain)
    follower.index()
    held: dict[int, tuple[Block, Book[Market, Account]]] = {}
    for _ in range(5):
        for _ in range(world.random.randint(4, 12)):
            world.act()
            while follower.tip is not None and follower.tip.number < chain.block_number:
                follower.follow(follower.tip.number + 1)
                held[follower.tip.number] = (follower.tip, follower.copy())
        depth = world.random.randint(1, min(8, len(held) - 1))
        chain.reorg(depth)
        ancestor = max(n for n, (block, _) in held.items() if block.hash == chain.block_hash(n))
        follower.tip, follower.book = held[ancestor][0], held[ancestor][1]
        held = {n: kept for n, kept in held.items() if n <= ancestor}
        follower.follow()
        held[follower.tip.number] = (follower.tip, follower.copy())
        assert_parity(follower)
        fresh = Follower(chain)
        fresh.index()
        assert (fresh.book.positions, fresh.book.market) == (follower.book.positions, follower.book.market)

"""What Keeper says of a Venus pool is what the pool says, to the wei: real contracts, seeded random users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keeper.core.types import Block, Book
from keeper.devnet.chain import DevChain
from keeper.protocols import words
from keeper.protocols.venus.sheet import Sheet, accrued_at, sheet
from keeper.protocols.venus.state import Account, Market
from keeper.protocols.words import call
from tests.support.venus_world import Follower, World

_ACCRUE = bytes.fromhex("a6afed95")  # accrueInterest()


@pytest.fixture
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        yield chain


def assert_parity(follower: Follower) -> int:
    """Every account's native view equals the pool's at the tip as stored, and our accrued one what the pool says after
    all markets accrued in the same block. Returns how many owe something."""
    block = follower.tip
    assert block is not None
    adapter, book, market = follower.adapter, follower.book, follower.market
    keys = sorted(book.positions)
    stored = follower.read([adapter.confirm_calls(market, key)[0] for key in keys], block)
    accruals = [call(one.vtoken, _ACCRUE) for one in market.markets]
    accrued = follower.read([*accruals, *(adapter.confirm_calls(market, key)[0] for key in keys)], block)
    owing = 0
    for key, before, after in zip(keys, stored, accrued[len(accruals) :], strict=True):
        position = book.positions[key]
        assessment = adapter.assess(market, book.prices, position, block.timestamp)
        health = adapter.health(market, book.prices, position, block.timestamp)
        assert assessment.health == health
        if before is None:
            assert health.unpriced_assets, f"the pool does not judge 0x{key.hex()} at block {block.number}, we do"
            continue
        assert assessment.native == adapter.native_view([before]), f"0x{key.hex()} at {block.number}: {position}"
        _, liquidity, shortfall = words.words(after, 3, "getAccountLiquidity()")
        weighted_less_owed = _net(follower, position, block)
        assert weighted_less_owed == liquidity - shortfall, f"0x{key.hex()} accrued at {block.number}: {position}"
        forced = any(market.by_vtoken[debt.vtoken].forced for debt in position.debts)
        assert health.liquidatable or not (shortfall or forced)
        owing += health.debt_value > 0
    return owing


def assert_what_liquidations_see(follower: Follower) -> None:
    """For each debt and collateral of every account: what the pool says of it after just these two markets accrued, as
    `liquidateBorrow` has them. An account is liquidatable when one of them, or all or, if it is small, none accrued,
    leave a shortfall, or a debt is forced."""
    block, adapter, market = follower.tip, follower.adapter, follower.market
    assert block is not None
    asked: dict[tuple[bytes, bytes], list[bytes]] = {}
    for key, position in follower.book.positions.items():
        for debt in position.debts:
            for vtoken, _ in position.supplies:
                if {debt.vtoken, vtoken} <= set(position.entered):
                    asked.setdefault((debt.vtoken, vtoken), []).append(key)
    short: set[bytes] = set()
    for pair, keys in asked.items():
        accruals = [call(vtoken, _ACCRUE) for vtoken in pair]
        answers = follower.read([*accruals, *(adapter.confirm_calls(market, key)[0] for key in keys)], block)
        for key, answer in zip(keys, answers[len(accruals) :], strict=True):
            if answer is None:
                continue
            _, liquidity, shortfall = words.words(answer, 3, "getAccountLiquidity()")
            seen = _sheet(follower, follower.book.positions[key], block).seen(*pair)
            assert seen.liquidity - seen.shortfall == liquidity - shortfall, f"0x{key.hex()} at {block.number}: {pair}"
            short |= {key} if shortfall else set()
    for key, position in follower.book.positions.items():
        health = adapter.health(market, follower.book.prices, position, block.timestamp)
        if health.unpriced_assets:
            continue
        position_now = _sheet(follower, position, block)
        stored, accrued = position_now.seen(), position_now.totals()
        whole = stored.shortfall and stored.collateral <= market.min_collateral_usd_wad
        otherwise = bool(accrued.shortfall or whole or position_now.forced)
        assert health.liquidatable == (otherwise or key in short), f"0x{key.hex()} at {block.number}: {position}"


def _net(follower: Follower, position: Account, block: Block) -> int:
    totals = _sheet(follower, position, block).totals()
    return totals.liquidity - totals.shortfall


def _sheet(follower: Follower, position: Account, block: Block) -> Sheet:
    market, prices = follower.market, follower.book.prices
    return sheet(market, prices, position, accrued_at(market, prices, block.timestamp))


def test_native_view_equals_the_pools_through_random_actions(chain: DevChain) -> None:
    """Supplies, borrows, memberships, transfers, liquidations, heals, prices, blocks, governance."""
    world = World(chain, seed=20261126, users=60)
    follower = Follower(chain)
    follower.index()
    owing = 0
    for step in range(45):
        world.step()
        follower.follow()
        owing = max(owing, assert_parity(follower))
        if step % 9 == 0:
            assert_what_liquidations_see(follower)
    assert owing >= 25
    assert follower.liquidations
    fresh = Follower(chain)
    fresh.index()
    assert fresh.book.positions == follower.book.positions
    assert (fresh.book.market, fresh.book.prices) == (follower.book.market, follower.book.prices)


def test_after_random_reorgs_the_book_equals_a_fresh_index(chain: DevChain) -> None:
    world = World(chain, seed=11, users=20)
    follower = Follower(chain)
    follower.index()
    held: dict[int, tuple[Block, Book[Market, Account]]] = {}
    for _ in range(5):
        for _ in range(world.random.randint(1, 4)):
            world.step(actions=10)
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

"""What Keeper says of a pool is what the pool says, to the wei: real Aave v3.6, seeded random users and governance."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from keeper.core.types import Assessment, Block, Book
from keeper.core.units import BPS, UINT256_MAX, WAD
from keeper.devnet.chain import DevChain
from keeper.evaluator.metrics import lending_margin, metrics_of
from keeper.protocols.aave_v3.abi import words
from keeper.protocols.aave_v3.rules import Rules
from keeper.protocols.aave_v3.state import Account, Market
from tests.support import aave_v30
from tests.support.aave_follower import Follower
from tests.support.aave_world import World


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        yield chain


def assert_parity(follower: Follower) -> int:
    """Every position's native view equals the pool's at the tip; returns how many were compared and owe something.

    The pool reverts exactly where an asset it counts has no price, which is where we say that health is unknown.
    """
    block = follower.tip
    assert block is not None
    accounts = sorted(follower.book.positions)
    calls = [follower.adapter.confirm_calls(follower.market, key)[0] for key in accounts]
    owing = 0
    for key, result in zip(accounts, follower.read(calls, block), strict=True):
        position = follower.book.positions[key]
        assessment = follower.adapter.assess(follower.market, follower.book.prices, position, block.timestamp)
        health = follower.adapter.health(follower.market, follower.book.prices, position, block.timestamp)
        assert assessment.health == health
        if result is None:
            assert health.unpriced_assets, f"the pool does not judge 0x{key.hex()} at block {block.number}, we do"
            continue
        said = follower.adapter.native_view([result])
        assert assessment.native == said, f"0x{key.hex()} at block {block.number}: {position}"
        assert health.factor_wad == (None if said["healthFactor"] == UINT256_MAX else said["healthFactor"])
        assert_margins(follower.market, assessment, result)
        owing += said["totalDebtBase"] > 0
    return owing


def assert_renewed(follower: Follower, before: Market) -> None:
    """A market that missed a step, renewed by state alone, judges as one that followed every log.

    But for an e-mode category it never knew, which only the pool's own view gives away.
    """
    block, asked = follower.tip, follower.round_trips
    assert block is not None
    renewed = follower.run(follower.adapter.renew(before), block)
    shapes = {(market.oracle, *(reserve.asset for reserve in market.reserves)) for market in (before, follower.market)}
    assert follower.round_trips - asked == 1 or len(shapes) == 2
    known = {0, *(emode.id for emode in before.emodes)}
    for position in follower.book.positions.values():
        if position.emode in known:
            assess = follower.adapter.assess
            ours = assess(renewed, follower.book.prices, position, block.timestamp)
            assert ours == assess(follower.market, follower.book.prices, position, block.timestamp)


def assert_margins(market: Market, assessment: Assessment, account_data: bytes) -> None:
    """Equity and margins are the pool's totals, average loan to value and average threshold in other words."""
    collateral, debt, _, threshold_bps, ltv_bps, factor = words(account_data, 6, "getUserAccountData")
    margin, metrics = lending_margin(assessment), metrics_of(assessment)
    assert margin is not None and metrics is not None
    assert (metrics.exposure_value, metrics.equity_value) == (collateral, collateral - debt)
    counted = [one for one in assessment.collaterals if one.counts and one.value is not None]
    for average_bps, terms in (
        (ltv_bps, [one.loan_to_value_bps for one in counted]),
        (threshold_bps, [one.liquidation_threshold_bps for one in counted]),
    ):
        weighted = sum((one.value or 0) * (bps or 0) for one, bps in zip(counted, terms, strict=True))
        assert average_bps == (weighted // collateral if collateral else 0)
    assert margin.capacity_value == sum((one.value or 0) * (one.loan_to_value_bps or 0) for one in counted) // BPS
    if market.rules.health_from_sums and metrics.collateral_buffer_value is not None:
        assert (metrics.collateral_buffer_value < 0) == (factor < WAD)


def test_native_view_equals_the_pools_through_random_actions_of_200_accounts(chain: DevChain) -> None:
    """Supplies, borrows, e-modes, transfers, prices, time, governance, a new reserve: equal at every checked block."""
    world = World(chain, seed=20261122, users=230)
    follower = Follower(chain)
    follower.index()
    owing = 0
    for step in range(75):
        before = follower.market
        world.step(actions=35)
        if step == 30:
            world.list_another()
        follower.follow()
        owing = assert_parity(follower)
        assert follower.last_round_trips <= 20
        if step % 5 == 0:
            assert_renewed(follower, before)
    assert len(follower.book.positions) >= 200
    assert owing >= 100
    assert any(position.emode for position in follower.book.positions.values())
    assert {reserve.symbol for reserve in follower.market.reserves} == {"WETH", "WBTC", "USDC", "DAI", "LINK"}

    fresh = Follower(chain)
    fresh.index()
    assert fresh.book.positions == follower.book.positions
    assert fresh.book.market == follower.book.market
    assert fresh.book.prices == follower.book.prices


def test_after_random_reorgs_the_book_equals_a_fresh_index(chain: DevChain) -> None:
    """A follower that returns to the common ancestor and follows the new branch ends where a fresh index ends."""
    world = World(chain, seed=7, users=40)
    follower = Follower(chain)
    follower.index()
    held: dict[int, tuple[Block, Book[Market, Account]]] = {}
    for _ in range(6):
        for _ in range(world.random.randint(1, 4)):
            world.step(actions=12)
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


def test_a_v3_0_pool_is_recognised_and_judged_to_the_wei(chain: DevChain) -> None:
    """Fixed-rate debts, one e-mode per asset, e-modes with a price of their own, rounding to the nearest."""
    with chain.rewound():
        newer = chain.aave
        try:
            aave_v30.install(chain)
            follower = Follower(chain)
            follower.index()
            assert follower.market.rules == Rules(False, False, False, False, False, False, True)
            world = aave_v30.OldWorld(chain, seed=5, users=80)
            for _ in range(30):
                world.step(actions=35)
                follower.follow()
                assert_parity(follower)
            positions = follower.book.positions
            assert sum(bool(position.stables) for position in positions.values()) >= 10
            assert sum(position.emode != 0 for position in positions.values()) >= 5
            assert any(emode.price_source for emode in follower.market.emodes)
            fresh = Follower(chain)
            fresh.index()
            assert (fresh.book.positions, fresh.book.market) == (positions, follower.book.market)
        finally:
            chain.aave = newer


def test_accounts_from_before_an_index_began_are_read_whole_when_they_move(dev_chain: DevChain) -> None:
    """Their flags name what no event of the scan did: a late start_block misses the idle, and misjudges nobody."""
    alice, bob, idle = dev_chain.accounts[:3]
    for account in (alice, bob, idle):
        dev_chain.aave.supply(account, "WETH", Decimal(10))
        dev_chain.aave.supply(account, "WBTC", Decimal(1))
        dev_chain.aave.borrow(account, "USDC", Decimal(20_000))
    late = dev_chain.block_number + 1
    dev_chain.aave.borrow(alice, "DAI", Decimal(5_000))
    follower = Follower(dev_chain)
    follower.index(first=late)
    assert known(follower) == {alice}
    dev_chain.aave.withdraw(bob, "WETH")
    follower.follow()
    assert known(follower) == {alice, bob}
    dev_chain.aave.repay(bob, "USDC", Decimal(100))
    follower.follow()
    assert follower.last_round_trips == 1  # whole by now
    assert known(follower) == {alice, bob}


def known(follower: Follower) -> set[str]:
    """Accounts of the book, which equal the pool's view of them."""
    assert_parity(follower)
    return {follower.adapter.position_id(key).removeprefix("aave:") for key in follower.book.positions}

"""What Keeper says of a Morpho is what Morpho says, to the wei: the real contract, seeded random users and time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_abi.abi import decode

from keeper.core.types import Block, Book, Call
from keeper.core.units import WAD
from keeper.devnet.abi import selector
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.devnet.morpho import PARAMS
from keeper.devnet.npm import MORPHO, SOLC_0_8_19, fetch
from keeper.devnet.solc import Compiler, compile_sources
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.state import Market, Position
from keeper.protocols.words import encode
from tests.support.follower import Follower
from tests.support.morpho_world import World, adapter

LENS = "0x" + "1e45" * 10
_LOOK = selector("look(address,(address,address,address,address,uint256),address)")
MorphoFollower = Follower[Market, Position]


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    """With a lens made of Morpho's own libraries."""
    (home,) = fetch(MORPHO)
    roots = {"src/": home / "src", "lens/": Path(__file__).parents[1] / "support" / "contracts"}
    artifacts = compile_sources("morpho-lens", ["lens/MorphoLens.sol"], roots, Compiler(SOLC_0_8_19, "paris"))
    with DevChain.start() as chain:
        made = chain.client.deploy(chain.accounts[0], artifacts["MorphoLens"])
        chain.rpc("anvil_setCode", LENS, chain.rpc("eth_getCode", made, "latest"))
        yield chain


def follower_of(chain: DevChain, *markets: str) -> MorphoFollower:
    return Follower(chain, adapter(chain, markets))


def assert_parity(follower: MorphoFollower) -> int:
    """Every position's native view equals the contract's at the tip; returns how many of them owe something.

    The contract accrues by itself, in the very call that reads; and Morpho's own libraries, compiled into a lens, make
    of it what we do. Whether it holds the position for healthy is asked of `liquidate` as well, elsewhere.
    """
    block = follower.tip
    assert block is not None
    keys = sorted(follower.book.positions)
    calls = [follower.adapter.confirm_calls(follower.market, key)[0] for key in keys]
    lens = [looked(follower, key) for key in keys]
    owing = 0
    answers = zip(keys, follower.read(calls, block), follower.read(lens, block), strict=True)
    for key, result, look in answers:
        position = follower.book.positions[key]
        seen = follower.adapter.assess(follower.market, follower.book.prices, position, block.timestamp)
        health = follower.adapter.health(follower.market, follower.book.prices, position, block.timestamp)
        assert seen.health == health
        said = follower.adapter.native_view([result])
        who = f"{follower.adapter.position_id(key)} at block {block.number}: {position}"
        assert seen.native == said, who
        if look is not None:
            borrowed, collateral, most, healthy = decode(["uint256", "uint256", "uint256", "bool"], look)
            theirs = {"borrowAssets": borrowed, "collateral": collateral, "maxBorrow": most, "isHealthy": healthy}
            assert seen.native == theirs, who
        else:
            assert seen.native["maxBorrow"] is None, who
        if not position.authorized:
            assert health.liquidatable == (said["isHealthy"] is False), who
        elif said["isHealthy"] is False:
            assert health.liquidatable, who
        assert bool(health.unpriced_assets) == (said["isHealthy"] is None), who
        if position.borrow_shares and said["isHealthy"] is not None:
            owing += 1
            market_alone = said["maxBorrow"] * WAD // said["borrowAssets"]
            assert health.factor_wad == market_alone or (position.authorized and health.factor_wad < market_alone)
    return owing


def looked(follower: MorphoFollower, key: bytes) -> Call:
    lending = follower.market.by_id[key[:32]]
    morpho = bytes.fromhex(follower.chain.morpho.address[2:])
    return Call(bytes.fromhex(LENS[2:]), encode(_LOOK, morpho, *lending.params, key[32:]))


def is_refused_as_healthy(follower: MorphoFollower, key: bytes) -> bool:
    """Whether the contract itself, asked to liquidate at the tip, answers that the position is healthy."""
    lending = follower.market.by_id[key[:32]]
    params = ("0x" + lending.loan.hex(), "0x" + lending.collateral.hex(), "0x" + lending.oracle.hex())
    arguments = ((*params, "0x" + lending.irm.hex(), lending.lltv_wad), "0x" + key[32:].hex(), 1, 0, b"")
    signature = f"liquidate({PARAMS},address,uint256,uint256,bytes)(uint256,uint256)"
    assert follower.tip is not None
    try:
        follower.chain.call(follower.chain.morpho.address, signature, *arguments, block=follower.tip.number)
    except Reverted as refused:
        return "position is healthy" in str(refused)
    return False


def test_native_view_equals_the_contracts_through_random_actions(chain: DevChain) -> None:
    """Pledges, loans, repayments, liquidations, fees, time, broken oracles, new markets: equal at every block."""
    with chain.rewound():
        world = World(chain, seed=20261126)
        follower = follower_of(chain)
        follower.index()
        kinds: set[tuple[bool | None, bool]] = set()
        owing = 0
        for _ in range(110):
            world.step()
            while follower.tip is not None and follower.tip.number < chain.block_number:
                follower.follow(follower.tip.number + 1)
                owing += assert_parity(follower)
                assert follower.last_round_trips <= 5
            for key, position in follower.book.positions.items():
                view = follower.adapter.assess(follower.market, follower.book.prices, position, follower.tip.timestamp)
                kinds.add((view.native["isHealthy"], follower.market.by_id[key[:32]].adaptive))
        logs = follower.logs(follower.market, 0, chain.block_number)
        assert len([log for log in logs if log.topics[0] not in (abi.ACCRUED_INTEREST, abi.SUPPLY)]) >= 200
        assert owing >= 1_000
        assert {(True, True), (True, False), (False, True), (False, False), (None, False)} <= kinds
        assert len(follower.liquidations) >= 5
        assert sum(bool(position.authorized) for position in follower.book.positions.values()) >= 3
        refused = {key: is_refused_as_healthy(follower, key) for key in follower.book.positions}
        for key, position in follower.book.positions.items():
            native = follower.adapter.assess(
                follower.market, follower.book.prices, position, follower.tip.timestamp
            ).native
            assert refused[key] == (native["isHealthy"] is True and native["maxBorrow"] is not None), native

        fresh = follower_of(chain)
        fresh.index()
        assert fresh.book.positions == follower.book.positions
        assert fresh.book.market == follower.book.market
        assert fresh.book.prices == follower.book.prices


def test_after_random_reorgs_the_book_equals_a_fresh_index(chain: DevChain) -> None:
    """A follower that returns to the common ancestor and follows the new branch ends where a fresh index ends."""
    with chain.rewound():
        world = World(chain, seed=11, users=12)
        follower = follower_of(chain)
        follower.index()
        held: dict[int, tuple[Block, Book[Market, Position]]] = {}
        for _ in range(6):
            for _ in range(world.random.randint(1, 4)):
                world.step()
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
            fresh = follower_of(chain)
            fresh.index()
            assert (fresh.book.positions, fresh.book.market) == (follower.book.positions, follower.book.market)

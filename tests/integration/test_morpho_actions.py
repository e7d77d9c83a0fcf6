"""What Keeper says will happen on Morpho happens: cures cure and not a unit less does; plans execute to the wei."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import pytest

from keeper.core.errors import ConfigError
from keeper.core.stress import Lever
from keeper.core.types import Demand, Health, LiquidationPlan, Skip
from keeper.core.units import UINT256_MAX, WAD
from keeper.devnet.abi import selector
from keeper.devnet.chain import DevChain
from keeper.devnet.contracts import morpho_artifacts
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.morpho import MorphoMarket
from keeper.protocols.morpho_blue.state import Market, Position
from tests.support.follower import Follower
from tests.support.morpho_world import World, adapter

_LIQUIDATOR = "0x" + "11" * 20


@pytest.fixture(scope="module")
def _chain() -> Iterator[DevChain]:
    with DevChain.start() as chain:
        yield chain


@pytest.fixture
def chain(_chain: DevChain) -> Iterator[DevChain]:
    with _chain.rewound():
        yield _chain


def leveraged(chain: DevChain, seed: int, users: int) -> Follower[Market, Position]:
    """Borrowers near their limit in markets of both kinds of model, from a dollar to half a million; indexed."""
    world = World(chain, seed, users=users)
    for user in world.users:
        for market in world.random.sample(world.markets[:4], 2):
            with suppress(DevnetError):
                market.supply_collateral(user, world.units(market.collateral, 10 ** world.random.uniform(0, 5.7)))
                held = market.position(user).collateral_assets
                limit = held * market.price() // 10**36 * market.params[4] // 10**18
                market.borrow(user, max(1, int(limit * world.random.choice((0.5, 0.9, 0.98, 0.999)))))
    follower = Follower(chain, adapter(chain))
    follower.index()
    return follower


def market_of(chain: DevChain, key: bytes) -> MorphoMarket:
    return next(market for market in chain.morpho.markets.values() if market.id == key[:32])


def test_each_demand_restores_the_target_on_chain_and_one_unit_less_does_not(chain: DevChain) -> None:
    """Pledges and repayments of exactly the demanded amount, mined at exactly the judged time."""
    follower = leveraged(chain, seed=3, users=25)
    assert follower.tip is not None
    chance, done = random.Random(3), Counter[str]()
    now = follower.tip.timestamp + 100
    for key, position in sorted(follower.book.positions.items()):
        health = follower.adapter.health(follower.market, follower.book.prices, position, now).factor_wad
        if health is None:
            continue
        target = int(max(health, WAD) * chance.uniform(1.001, 1.6))
        for demand in follower.adapter.demands(follower.market, follower.book.prices, position, now, target):
            assert acted(chain, key, demand, demand.amount, now) == (demand.resulting_health_wad or UINT256_MAX)
            assert (demand.resulting_health_wad or UINT256_MAX) >= target
            if demand.amount > 1:
                assert acted(chain, key, demand, demand.amount - 1, now) < target
            done[demand.action] += 1
    assert min(done["add_collateral"], done["repay"]) >= 20, done


def acted(chain: DevChain, key: bytes, demand: Demand, amount: int, now: int) -> int:
    """Health after pledging or repaying so much at time `now`, as a fresh index finds it."""
    who, market = "0x" + key[32:].hex(), market_of(chain, key)
    with chain.rewound():
        chain.tokens.provide(who, demand.symbol, amount + 10, chain.morpho.address)
        chain.anvil.set_next_timestamp(now)
        if demand.action == "add_collateral":
            market.supply_collateral(who, amount)
        elif demand.resulting_health_wad is None and amount == demand.amount:
            market.repay(who)
        else:
            market.repay(who, amount)
        assert chain.timestamp == now
        after: Follower[Market, Position] = Follower(chain, adapter(chain))
        after.index()
        assert after.tip is not None
        said = after.adapter.native_view(after.read(after.adapter.confirm_calls(after.market, key), after.tip))
        return said["maxBorrow"] * WAD // said["borrowAssets"] if said["borrowAssets"] else UINT256_MAX


def test_plans_repay_and_seize_on_chain_exactly_what_they_say(chain: DevChain) -> None:
    """A whole debt by its shares, all of a collateral that does not cover it, and what a poor wallet can pay for."""
    follower = leveraged(chain, seed=11, users=40)
    chance, branches = random.Random(11), Counter[str]()
    chain.rpc("anvil_setBalance", _LIQUIDATOR, hex(10**21))
    for symbol, token in chain.tokens.by_symbol.items():
        chain.tokens.provide(_LIQUIDATOR, symbol, 10**9 * 10**token.decimals, chain.morpho.address)
    liquidated = 0
    for fall in (0.98, 0.97, 0.95, 0.9, 0.8):
        for symbol, further in (("WETH", 1.0), ("WBTC", 0.93)):
            chain.set_price(symbol, int(chain.price(symbol) * fall * further))
        chain.warp(chance.choice((12, 86_400)))
        follower.follow()
        for key in chance.sample(sorted(follower.book.positions), len(follower.book.positions)):
            liquidated += one_liquidation(follower, key, chance, branches)
    assert liquidated >= 30
    assert all(branches[name] >= 3 for name in ("by shares", "by assets", "poor", "bad debt")), branches


def one_liquidation(
    follower: Follower[Market, Position], key: bytes, chance: random.Random, branches: Counter[str]
) -> bool:
    """Execute the plan for the next second, if there is one, and compare Morpho's event with it."""
    chain, position = follower.chain, follower.book.positions.get(key)
    assert follower.tip is not None
    if position is None:
        return False
    now = follower.tip.timestamp + 1
    lending = follower.market.by_id[key[:32]]
    poor = chance.random() < 0.3
    owed = follower.adapter.assess(follower.market, follower.book.prices, position, now).native["borrowAssets"] or 0
    wallet = {lending.loan: max(owed // chance.randint(2, 50), 3) if poor else 10**40}
    args = (follower.market, follower.book.prices, key, position, now, wallet, bytes.fromhex(_LIQUIDATOR[2:]))
    plan = follower.adapter.plan(*args)
    if isinstance(plan, Skip):
        assert plan.code in ("healthy", "unpriced", "dust", "unprofitable", "worthless", "nothing_pledged"), plan
        return False
    before = chain.balance(_LIQUIDATOR, lending.loan_symbol), chain.balance(_LIQUIDATOR, lending.collateral_symbol)
    chain.anvil.set_next_timestamp(now)
    receipt = chain.client.send_data(_LIQUIDATOR, "0x" + plan.call.to.hex(), plan.call.data, "liquidate")
    assert receipt is not None
    follower.follow()
    event = follower.liquidations[-1]
    assert (event.key, event.liquidator.hex()) == (key, _LIQUIDATOR[2:])
    assert (event.debt_asset, event.collateral_asset) == (plan.debt_asset, plan.collateral_asset)
    assert (event.repaid_assets, event.seized_assets) == (plan.expected_repaid_assets, plan.expected_seized_assets)
    after = chain.balance(_LIQUIDATOR, lending.loan_symbol), chain.balance(_LIQUIDATOR, lending.collateral_symbol)
    assert before[0] - after[0] == plan.expected_repaid_assets <= plan.repay_assets
    assert after[1] - before[1] == plan.expected_seized_assets
    branches.update(branches_of(plan, position, follower.book.positions.get(key), poor))
    return True


def branches_of(plan: LiquidationPlan, before: Position, after: Position | None, poor: bool) -> list[str]:
    by_assets = any(plan.call.data[4 + 6 * 32 : 4 + 7 * 32])
    found = ["by assets" if by_assets else "by shares"]
    if poor:
        found.append("poor")
    if after is None and plan.expected_seized_assets == before.collateral_assets and by_assets:
        found.append("bad debt")
    return found


def test_a_position_exactly_at_its_limit_is_healthy_and_a_unit_below_it_is_not(dev_chain: DevChain) -> None:
    """Morpho liquidates only when what is owed exceeds the limit: its own answer at both prices, and ours."""
    alice, bob, lender = dev_chain.accounts[:3]
    morpho = dev_chain.morpho
    market = morpho.add_market("WETH", "USDC", irm="0x" + "00" * 20, oracle=settable(dev_chain, 2_000 * 10**24))
    market.supply(lender, Decimal(1_000_000))
    market.supply_collateral(alice, Decimal(10))
    market.borrow(alice, Decimal(17_000))
    follower: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    follower.index()
    key = market.id + bytes.fromhex(alice[2:])
    [breach] = follower.adapter.breach_prices(
        follower.market, follower.book.prices, follower.book.positions[key], dev_chain.timestamp
    )
    for price, liquidatable in ((breach.price + 1, False), (breach.price, True)):
        dev_chain.send(bob, market.params[2], "set(uint256)", price)
        follower.follow()
        assert follower.tip is not None
        position = follower.book.positions[key]
        health = follower.adapter.health(follower.market, follower.book.prices, position, follower.tip.timestamp)
        assert health.liquidatable is liquidatable
        if not liquidatable:
            with pytest.raises(Reverted, match="position is healthy"):
                market.liquidate(bob, alice, seized=1)
            follower.follow()
    market.liquidate(bob, alice, seized=1)


def settable(chain: DevChain, price: int) -> str:
    return chain.client.deploy(chain.accounts[0], morpho_artifacts()["SettableOracle"], (price,))


def test_a_market_whose_oracle_vanishes_is_marked_and_comes_back(dev_chain: DevChain) -> None:
    """Neither healthy nor liquidatable meanwhile; the other markets are judged as ever."""
    alice, lender = dev_chain.accounts[:2]
    oracle = settable(dev_chain, 2_000 * 10**24)
    other = dev_chain.morpho.add_market("WETH", "USDC", oracle=oracle)
    for market in (dev_chain.morpho.main, other):
        market.supply(lender, Decimal(100_000))
        market.supply_collateral(alice, Decimal(10))
        market.borrow(alice, Decimal(10_000))
    follower: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    follower.index()
    code = dev_chain.rpc("eth_getCode", oracle, "latest")
    for vanished in (True, False):
        dev_chain.rpc("anvil_setCode", oracle, "0x" if vanished else code)
        dev_chain.mine()
        follower.follow()
        assert follower.tip is not None
        healths = {
            key[:32]: follower.adapter.health(follower.market, follower.book.prices, position, follower.tip.timestamp)
            for key, position in follower.book.positions.items()
        }
        assert healths[dev_chain.morpho.main.id].factor_wad is not None
        assert (healths[other.id].unpriced_assets != ()) is vanished
        assert (healths[other.id].factor_wad is None) is vanished


def test_only_the_configured_markets_are_tracked(dev_chain: DevChain) -> None:
    """Whatever happens in others."""
    alice, lender = dev_chain.accounts[:2]
    other = dev_chain.morpho.add_market("WBTC", "USDC")
    only: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain, ("0x" + other.id.hex(),)))
    only.index()
    for market, pledged in ((dev_chain.morpho.main, Decimal(10)), (other, Decimal(1))):
        market.supply(lender, Decimal(100_000))
        market.supply_collateral(alice, pledged)
    only.follow()
    assert [lending.id for lending in only.market.lendings] == [other.id]
    assert [key[:32] for key in only.book.positions] == [other.id]


def test_a_market_that_is_not_there_is_a_configuration_error(dev_chain: DevChain) -> None:
    missing: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain, ("0x" + "77" * 32,)))
    with pytest.raises(ConfigError, match=r"market 0x7777.* does not exist at this block"):
        missing.index()


# --- pre-liquidation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [1, 3], ids=["rich", "poor"])
def test_whoever_authorized_an_offer_is_liquidated_by_its_terms_and_to_the_wei(dev_chain: DevChain, part: int) -> None:
    """Between the offer's threshold and the market's: the one who authorized it, and not the one who did not."""
    alice, bob, lender = dev_chain.accounts[:3]
    market = dev_chain.morpho.main
    market.supply(lender, Decimal(1_000_000))
    for who in (alice, bob):
        market.supply_collateral(who, Decimal(10))
        market.borrow(who, Decimal(15_000))
    follower: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    follower.index()
    offer = market.offer_pre_liquidation(80 * 10**16, (30 * 10**16, 90 * 10**16), (101 * 10**16, 103 * 10**16))
    market.authorize(alice, offer)
    dev_chain.set_price("WETH", Decimal(1_800))
    follower.follow()
    assert follower.tip is not None
    now, keys = follower.tip.timestamp + 1, [market.id + bytes.fromhex(who[2:]) for who in (alice, bob)]
    healths = [
        follower.adapter.health(follower.market, follower.book.prices, follower.book.positions[key], now)
        for key in keys
    ]
    assert [one.liquidatable for one in healths] == [True, False]
    views = [
        follower.adapter.assess(follower.market, follower.book.prices, follower.book.positions[key], now).native
        for key in keys
    ]
    assert [view["isHealthy"] for view in views] == [True, True]  # Morpho itself would not

    loan = bytes.fromhex(market.params[0][2:])
    liquidator = bytes.fromhex(_LIQUIDATOR[2:])
    args = (follower.market, follower.book.prices, keys[0], follower.book.positions[keys[0]], now)
    plan = follower.adapter.plan(*args, {loan: 9_000 * 10**6 // part}, liquidator)
    assert isinstance(plan, LiquidationPlan)
    dev_chain.rpc("anvil_setBalance", _LIQUIDATOR, hex(10**21))
    dev_chain.tokens.provide(_LIQUIDATOR, "USDC", plan.repay_assets, offer)
    dev_chain.anvil.set_next_timestamp(now)
    dev_chain.client.send_data(_LIQUIDATOR, "0x" + plan.call.to.hex(), plan.call.data, "preLiquidate")
    follower.follow()
    [seen] = follower.liquidations
    assert (seen.key, seen.account.hex(), seen.liquidator) == (keys[0], alice[2:].lower(), liquidator)
    assert (seen.repaid_assets, seen.seized_assets) == (plan.expected_repaid_assets, plan.expected_seized_assets)
    assert dev_chain.balance(_LIQUIDATOR, "WETH") == plan.expected_seized_assets
    assert seen.repaid_assets > 2_500 * 10**6
    fresh: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    fresh.index()
    assert (fresh.book.positions, fresh.book.market) == (follower.book.positions, follower.book.market)


def test_an_offer_whose_own_oracle_sees_more_than_the_market_allows_opens_nothing(dev_chain: DevChain) -> None:
    """It refuses as liquidatable what Morpho refuses as healthy, so nobody may; one unit of price within, it opens."""
    alice, bob, lender = dev_chain.accounts[:3]
    markets, own = settable(dev_chain, 2_000 * 10**24), settable(dev_chain, 2_000 * 10**24)
    market = dev_chain.morpho.add_market("WETH", "USDC", irm="0x" + "00" * 20, oracle=markets)
    market.supply(lender, Decimal(1_000_000))
    market.supply_collateral(alice, Decimal(10))
    market.borrow(alice, Decimal(15_000))
    offer = market.offer_pre_liquidation(80 * 10**16, (10**17, 10**18), (101 * 10**16, 103 * 10**16), own)
    market.authorize(alice, offer)
    follower: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    follower.index()
    key = market.id + bytes.fromhex(alice[2:])
    dev_chain.tokens.provide(bob, "USDC", 10**10, offer)

    def judged(price: int) -> Health:
        dev_chain.send(bob, own, "set(uint256)", price)
        follower.follow()
        assert follower.tip is not None
        book, now = follower.book, follower.tip.timestamp
        return follower.adapter.health(follower.market, book.prices, book.positions[key], now)

    lltv = follower.market.by_id[market.id].lltv_wad
    last = -(-15_000 * 10**6 * WAD // lltv * 10**36 // 10**19)
    while 10 * WAD * last // 10**36 * lltv // WAD < 15_000 * 10**6:
        last += 1
    pre_liquidate = ("preLiquidate(address,uint256,uint256,bytes)", alice, 0, 10**12, b"")
    outside = judged(last - 1)
    with pytest.raises(Reverted) as refusal:
        dev_chain.send(bob, offer, *pre_liquidate)
    assert refusal.value.data == selector("LiquidatablePosition()")
    with pytest.raises(Reverted, match="position is healthy"):
        market.liquidate(bob, alice, shares=10**12)
    assert not outside.liquidatable
    assert outside.factor_wad is not None
    assert outside.factor_wad < WAD  # below the threshold that its owner agreed to all the same
    position = follower.book.positions[key]
    case = (follower.market, follower.book.prices, key, position, dev_chain.timestamp)
    refused = follower.adapter.plan(*case, {bytes.fromhex(market.params[0][2:]): 10**12}, b"\x01" * 20)
    assert isinstance(refused, Skip)
    assert refused.code == "no_offer"
    for lever in Lever:
        asked = follower.adapter.stress(*case, lever)
        with pytest.raises(StopIteration) as said:
            next(iter(asked))
        assert said.value.value and not isinstance(said.value.value, Skip)
    assert judged(last).liquidatable
    dev_chain.send(bob, offer, *pre_liquidate)


def test_an_offer_begins_exactly_where_its_breach_price_says_and_ends_with_its_authorization(
    dev_chain: DevChain,
) -> None:
    """The contract refuses one unit above; and once it is no longer authorized, the position is the market's alone."""
    alice, bob, lender = dev_chain.accounts[:3]
    oracle = settable(dev_chain, 2_000 * 10**24)
    market = dev_chain.morpho.add_market("WETH", "USDC", irm="0x" + "00" * 20, oracle=oracle)
    market.supply(lender, Decimal(1_000_000))
    market.supply_collateral(alice, Decimal(10))
    market.borrow(alice, Decimal(15_000))
    offer = market.offer_pre_liquidation(80 * 10**16, (10**17, 10**18), (101 * 10**16, 103 * 10**16))
    market.authorize(alice, offer)
    follower: Follower[Market, Position] = Follower(dev_chain, adapter(dev_chain))
    follower.index()
    key = market.id + bytes.fromhex(alice[2:])
    [breach] = follower.adapter.breach_prices(
        follower.market, follower.book.prices, follower.book.positions[key], dev_chain.timestamp
    )
    dev_chain.tokens.provide(bob, "USDC", 10**10, offer)
    pre_liquidate = "preLiquidate(address,uint256,uint256,bytes)"
    dev_chain.send(bob, oracle, "set(uint256)", breach.price + 1)
    with pytest.raises(Reverted):
        dev_chain.send(bob, offer, pre_liquidate, alice, 0, 10**12, b"")
    dev_chain.send(bob, oracle, "set(uint256)", breach.price)
    dev_chain.send(bob, offer, pre_liquidate, alice, 0, 10**12, b"")

    market.authorize(alice, offer, False)
    dev_chain.send(bob, oracle, "set(uint256)", 1_800 * 10**24)
    follower.follow()
    position = follower.book.positions[key]
    assert position.authorized == ()
    health = follower.adapter.health(follower.market, follower.book.prices, position, dev_chain.timestamp)
    assert not health.liquidatable

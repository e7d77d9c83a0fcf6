"""What Keeper says will happen happens on chain: cures cure and not a unit less does; plans execute to the wei."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import pytest

from keeper.core.types import Demand, LiquidationPlan, Skip
from keeper.core.units import UINT256_MAX, WAD
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.protocols.aave_v3.demand import _room
from keeper.protocols.aave_v3.errors import explain_revert
from keeper.protocols.aave_v3.sheet import indices
from tests.support import aave_v30
from tests.support.aave_follower import Follower
from tests.support.aave_world import World

_LIQUIDATOR = "0x" + "11" * 20


@pytest.fixture(params=["v3.6", "v3.0"])
def chain(request: pytest.FixtureRequest) -> Iterator[DevChain]:
    with DevChain.start() as chain:
        if request.param == "v3.0":
            aave_v30.install(chain)
        yield chain


def world_of(chain: DevChain, seed: int, users: int) -> World:
    old = chain.aave.data_provider == aave_v30.NO_DATA_PROVIDER
    return (aave_v30.OldWorld if old else World)(chain, seed, users)


def settled(chain: DevChain, seed: int, users: int, steps: int) -> Follower:
    """A market that has lived for a while, indexed."""
    world = world_of(chain, seed, users)
    for _ in range(steps):
        world.step(actions=35)
    follower = Follower(chain)
    follower.index()
    return follower


def test_each_demand_restores_the_target_on_chain_and_one_unit_less_does_not(chain: DevChain) -> None:
    """Supplies and repayments of exactly the demanded amount, mined at exactly the judged time."""
    follower = settled(chain, seed=3, users=60, steps=25)
    assert follower.tip is not None
    chance = random.Random(3)
    done: Counter[str] = Counter()
    now = follower.tip.timestamp + 100
    for key, position in sorted(follower.book.positions.items()):
        health = follower.adapter.health(follower.market, follower.book.prices, position, now).factor_wad
        if health is None:
            continue
        target = int(max(health, WAD) * chance.uniform(1.001, 1.6))
        demands = follower.adapter.demands(follower.market, follower.book.prices, position, now, target)
        for demand in chance.sample(demands, min(2, len(demands))):
            fixed = follower.market.by_asset[demand.asset].id not in dict(position.debts)
            assert acted(chain, key, demand, demand.amount, now, fixed) == (demand.resulting_health_wad or UINT256_MAX)
            assert (demand.resulting_health_wad or UINT256_MAX) >= target
            if demand.amount > 1:
                less = acted(chain, key, demand, demand.amount - 1, now, fixed)
                assert less is None or less < target
            done[demand.action] += 1
    assert min(done["add_collateral"], done["repay"]) >= 10, done


def test_a_top_up_that_its_cap_has_no_room_for_is_not_demanded(chain: DevChain) -> None:
    """What the reserve is taken to have room for the pool accepts, weeks of interest after it was last touched; not
    much more is refused. A demand for more than that is left out, and stands again once the cap is raised."""
    follower = settled(chain, seed=5, users=30, steps=10)
    assert follower.tip is not None
    key, demand = next(found for found in _top_ups(follower, "WETH") if found[1].amount > 10**16)
    who, unit = chain.make_account(9), 10**18
    supplied = chain.call(chain.aave.reserves["WETH"].a_token, "totalSupply()(uint256)")
    chain.aave.set_supply_cap("WETH", supplied * 102 // 100 // unit)
    chain.warp(14 * 86_400)
    follower.follow()
    now = follower.tip.timestamp + 100
    reserve = follower.market.by_asset[demand.asset]
    room = _room(reserve, indices(follower.market.rules, reserve, now))
    promised = (reserve.treasury_scaled + reserve.scaled_supply // 10**3) * reserve.liquidity_index_ray // 10**27
    assert demand.amount < room < supplied // 50
    for amount, accepted in ((room, True), (room + promised + 10, False)):
        with chain.rewound():
            chain.fund(who, "WETH", amount)
            chain.tokens.provide(who, "WETH", amount, chain.aave.pool)
            chain.anvil.set_next_timestamp(now)
            if accepted:
                chain.aave.supply(who, "WETH", amount)
            else:
                with pytest.raises(Reverted, match=r"SupplyCapExceeded|51"):
                    chain.aave.supply(who, "WETH", amount)
    taken = room - demand.amount // 2
    chain.fund(who, "WETH", taken)
    chain.tokens.provide(who, "WETH", taken, chain.aave.pool)
    chain.aave.supply(who, "WETH", taken)
    follower.follow()
    assert key not in dict(_top_ups(follower, "WETH", demand.resulting_health_wad))
    chain.aave.set_supply_cap("WETH", 0)
    follower.follow()
    assert key in dict(_top_ups(follower, "WETH", demand.resulting_health_wad))


def _top_ups(follower: Follower, symbol: str, target_wad: int | None = None) -> list[tuple[bytes, Demand]]:
    """By account, what to supply of an asset to reach a health, or else one that is a third better than it is."""
    assert follower.tip is not None
    market, prices, now = follower.market, follower.book.prices, follower.tip.timestamp
    found = []
    for key, position in sorted(follower.book.positions.items()):
        health = follower.adapter.health(market, prices, position, now).factor_wad
        if health is not None:
            demands = follower.adapter.demands(market, prices, position, now, target_wad or health * 4 // 3)
            found += [(key, one) for one in demands if (one.action, one.symbol) == ("add_collateral", symbol)]
    return found


def acted(chain: DevChain, account: bytes, demand: Demand, amount: int, now: int, fixed: bool) -> int | None:
    """Health after supplying or repaying at time `now`; None when the pool refuses so small an amount.

    fixed: the debt is at a fixed rate, as until v3.1.
    """
    who = f"0x{account.hex()}"
    with chain.rewound():
        chain.fund(who, demand.symbol, amount)
        chain.tokens.provide(who, demand.symbol, amount, chain.aave.pool)
        chain.anvil.set_next_timestamp(now)
        try:
            if demand.action == "repay" and fixed:
                repay = "repay(address,uint256,uint256,address)"
                chain.send(who, chain.aave.pool, repay, f"0x{demand.asset.hex()}", amount, 1, who)
            elif demand.action == "repay":
                chain.aave.repay(who, demand.symbol, amount)
            else:
                chain.aave.supply(who, demand.symbol, amount)
        except Reverted as refusal:
            assert any(word in str(refusal) for word in ("InvalidBurnAmount", "InvalidMintAmount", "24", "25")), refusal
            return None
        assert chain.timestamp == now
        return chain.aave.health(who)


def test_plans_repay_and_seize_on_chain_exactly_what_they_say(chain: DevChain) -> None:
    """Every branch of the close factor, dust, bad debt and e-mode, with rich and with poor wallets."""
    chance = random.Random(11)
    follower = leveraged(chain, chance, users=150)
    chain.rpc("anvil_setBalance", _LIQUIDATOR, hex(10**21))
    for symbol, token in chain.tokens.by_symbol.items():
        chain.tokens.provide(_LIQUIDATOR, symbol, 10**9 * 10**token.decimals, chain.aave.pool)
    branches: Counter[str] = Counter()
    liquidated = 0
    for fall in (0.97, 0.97, 0.95, 0.9, 0.8, 0.6):
        for symbol, further in (("WETH", 1.0), ("WBTC", 0.96)):
            chain.set_price(symbol, int(chain.price(symbol) * fall * further))
        chain.warp(chance.choice((1, 86_400)))
        follower.follow()
        for key in chance.sample(sorted(follower.book.positions), len(follower.book.positions)):
            liquidated += one_liquidation(follower, key, chance, branches)
    assert liquidated >= 60
    assert all(branches[name] >= 3 for name in ("half", "whole", "all collateral", "poor", "emode", "bad debt")), (
        branches
    )


def leveraged(chain: DevChain, chance: random.Random, users: int) -> Follower:
    """Accounts near their limit: one collateral or two, one debt or two, from hundreds of dollars to a million."""
    world = World(chain, chance.randint(0, 10**9), users)
    for start in range(0, users, 10):
        batch = world.users[start : start + 10]
        with chain.one_block():
            for user in batch:
                dollars = 10 ** chance.uniform(2.5, 6)
                if chance.random() < 0.25:
                    chain.aave.set_emode(user, 1)
                    chain.aave.supply(user, "WBTC", world.units("WBTC", dollars))
                    continue
                for symbol in chance.sample(("WETH", "WBTC", "DAI"), chance.choice((1, 1, 2))):
                    chain.aave.supply(user, symbol, world.units(symbol, dollars * chance.uniform(0.2, 1)))
        with suppress(Reverted), chain.one_block():
            for user in batch:
                free = chain.aave.user_account_data(user).available_borrows_base / 1e8
                emode = chain.call(chain.aave.pool, "getUserEMode(address)(uint256)", user)
                debts = ["WETH"] if emode else chance.sample(("USDC", "DAI", "WETH"), chance.choice((1, 1, 2)))
                for symbol in debts:
                    chain.aave.borrow(user, symbol, world.units(symbol, free * chance.uniform(0.9, 0.999) / len(debts)))
    follower = Follower(chain)
    follower.index()
    return follower


def one_liquidation(follower: Follower, key: bytes, chance: random.Random, branches: Counter[str]) -> int:
    chain, adapter, market = follower.chain, follower.adapter, follower.market
    assert follower.tip is not None
    now = follower.tip.timestamp + chance.randint(1, 60)
    position = follower.book.positions.get(key)
    if position is None:
        return 0
    poor = chance.random() < 0.4
    wallet = {
        reserve.asset: int(10 ** chance.uniform(1, 5.5) * reserve.unit) if poor else 10**9 * reserve.unit
        for reserve in market.reserves
    }
    plan = adapter.plan(market, follower.book.prices, key, position, now, wallet, bytes.fromhex(_LIQUIDATOR[2:]))
    if isinstance(plan, Skip):
        health = adapter.health(market, follower.book.prices, position, now)
        assert health.liquidatable != (plan.code in ("healthy", "unpriced")), plan
        return 0
    before = chain.aave.user_account_data(f"0x{key.hex()}")
    chain.anvil.set_next_timestamp(now)
    receipt = chain.rpc(
        "eth_sendTransactionSync",
        {"from": _LIQUIDATOR, "to": f"0x{plan.call.to.hex()}", "data": f"0x{plan.call.data.hex()}", "gas": hex(10**6)},
    )
    assert receipt["status"] == "0x1", f"{plan} reverted: {reason(chain, receipt['transactionHash'])}"
    assert int(receipt["gasUsed"], 16) <= plan.gas_limit_hint
    seen = len(follower.liquidations)
    follower.follow()
    assert len(follower.liquidations) == seen + 1, f"{plan} did not liquidate"
    event = follower.liquidations[-1]
    assert event.account == key
    assert (event.debt_asset, event.repaid_assets) == (plan.debt_asset, plan.expected_repaid_assets)
    assert (event.collateral_asset, event.seized_assets) == (plan.collateral_asset, plan.expected_seized_assets)
    assert event.repaid_assets <= plan.repay_assets <= wallet[plan.debt_asset]
    note_branch(follower, plan, position.emode, poor, before.total_debt_base, branches)
    return 1


def reason(chain: DevChain, tx_hash: str) -> str:
    trace = chain.rpc("debug_traceTransaction", tx_hash, {"tracer": "callTracer"})
    return explain_revert(bytes.fromhex(trace.get("output", "0x")[2:]))


def note_branch(
    follower: Follower, plan: LiquidationPlan, emode: int, poor: bool, debt_base: int, branches: Counter[str]
) -> None:
    after = follower.chain.aave.user_account_data(f"0x{plan.account.hex()}")
    price = follower.book.prices[plan.debt_asset].value
    repaid_base = plan.expected_repaid_assets * price // follower.market.by_asset[plan.debt_asset].unit
    branches["half" if abs(2 * repaid_base - debt_base) < debt_base // 1000 else "other part"] += 1
    branches["whole"] += after.total_debt_base == 0
    branches["all collateral"] += after.total_collateral_base == 0
    branches["bad debt"] += after.total_collateral_base == 0 and debt_base - repaid_base > debt_base // 100
    branches["poor"] += poor
    branches["emode"] += emode != 0


def test_a_plan_judged_for_one_second_still_executes_a_minute_later(chain: DevChain) -> None:
    """The offer covers the interest until then, so that closing a small debt wholly leaves no dust behind."""
    owner = chain.accounts[1]
    chain.aave.supply(owner, "WETH", Decimal(1))
    chain.aave.borrow(owner, "USDC", Decimal(1_500))
    chain.set_price("WETH", Decimal(1_700))
    follower = Follower(chain)
    follower.index()
    key = bytes.fromhex(owner[2:])
    wallet = {reserve.asset: 10**9 * reserve.unit for reserve in follower.market.reserves}
    assert follower.tip is not None
    now = follower.tip.timestamp + 1
    position = follower.book.positions[key]
    plan = follower.adapter.plan(follower.market, follower.book.prices, key, position, now, wallet, b"\x11" * 20)
    assert isinstance(plan, LiquidationPlan)
    chain.rpc("anvil_setBalance", _LIQUIDATOR, hex(10**21))
    chain.tokens.provide(_LIQUIDATOR, "USDC", plan.repay_assets, chain.aave.pool)
    chain.anvil.set_next_timestamp(now + 60)
    chain.send(
        _LIQUIDATOR,
        chain.aave.pool,
        "liquidationCall(address,address,address,uint256,bool)",
        chain.tokens["WETH"].address,
        chain.tokens["USDC"].address,
        owner,
        plan.repay_assets,
        False,
    )
    assert chain.aave.user_account_data(owner).total_debt_base == 0

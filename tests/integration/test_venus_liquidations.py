"""Plans of Venus liquidations, and cures, carried out by the real pool: what was expected happens, to the wei."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import IntentStatus
from keeper.core.stress import Lever
from keeper.core.types import LiquidationPlan, Skip
from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap, write_config
from keeper.devnet.errors import Reverted
from keeper.protocols.venus.sheet import Sheet, accrued_at, sheet
from tests.support.contract_house import VENUS_LIQUIDATE, VENUS_REDEEM, Contract, following, running
from tests.support.rehearsals import index, staged
from tests.support.venus_world import Follower

TARGET = 5 * WAD // 4


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        yield chain


def borrower(chain: DevChain, number: int, ether: str, dollars: str, lent: int = 1_000_000) -> str:
    lender, who = chain.make_account(1), chain.make_account(number)
    chain.venus.supply(lender, "USDC", Decimal(lent))
    chain.venus.supply(who, "WETH", Decimal(ether))
    chain.venus.borrow(who, "USDC", Decimal(dollars))
    return who


def planned(chain: DevChain, who: str) -> LiquidationPlan:
    """What our wallet would do about an account in the next block. Indexed from the whole history."""
    follower = Follower(chain)
    follower.index()
    assert follower.tip is not None
    key, wallet = bytes.fromhex(who[2:]), dict.fromkeys(follower.adapter.wallet_tokens(follower.market), 1 << 120)
    plan = follower.adapter.plan(
        follower.market,
        follower.book.prices,
        key,
        follower.book.positions[key],
        follower.tip.timestamp + 1,
        wallet,
        bytes.fromhex(chain.liquidator.address[2:]),
    )
    assert isinstance(plan, LiquidationPlan), plan
    return plan


def all_accrued(follower: Follower, who: str) -> Sheet:
    """An account at the tip, once every market has accrued."""
    assert follower.tip is not None
    market, prices, now = follower.market, follower.book.prices, follower.tip.timestamp
    return sheet(market, prices, follower.book.positions[bytes.fromhex(who[2:])], accrued_at(market, prices, now))


@pytest.mark.parametrize(
    ("ether", "dollars", "price", "how"),
    [
        ("10", "14000", 1_700, "f5e3c462"),  # liquidateBorrow, half of the debt
        ("0.04", "55", 1_700, "2bce219c"),  # liquidateAccount: too small for that, and its collateral covers everything
        ("0.04", "55", 1_300, "92136395"),  # healAccount: it does not
    ],
)
def test_what_is_planned_is_what_happens(chain: DevChain, ether: str, dollars: str, price: int, how: str) -> None:
    """Charged to the unit, and paid out to the unit once redeemed; nothing is left of what is liquidated whole."""
    who = borrower(chain, 2, ether, dollars)
    chain.set_price("WETH", Decimal(price))
    chain.fund(chain.liquidator.address, "USDC", Decimal(100_000))
    for vtoken in chain.venus.vtokens.values():
        chain.send(chain.liquidator.address, chain.tokens["USDC"].address, "approve(address,uint256)", vtoken, 1 << 255)
    plan = planned(chain, who)
    assert plan.call.data[:4].hex() == how
    us, unwrap = chain.liquidator.address, plan.unwrap
    assert unwrap is not None
    held = chain.balance(us, "USDC"), chain.balance(us, "WETH")
    with chain.one_block():
        chain.client.send_data(us, plan.call.to, plan.call.data, "liquidate", gas=6_000_000)
        chain.client.send_data(us, unwrap.call.to, unwrap.call.data, "redeem", gas=3_000_000)
    assert held[0] - chain.balance(us, "USDC") == plan.expected_repaid_assets > 0
    assert chain.balance(us, "WETH") - held[1] == plan.expected_seized_assets > 0
    follower = Follower(chain)
    follower.index()
    left = follower.book.positions.get(bytes.fromhex(who[2:]))
    assert (left is not None and bool(left.debts)) == (how == "f5e3c462")


def test_an_idle_market_does_not_save_whom_the_pool_lets_be_liquidated(chain: DevChain) -> None:
    """The pool accrues only the debt's and the collateral's market. Ether that nobody touched counts without its
    interest when bitcoin is seized, so an account that would be healthy with it is open, and planned to the unit.
    Seizing the ether itself is refused."""
    who, lender = borrower(chain, 2, "10", "14000"), chain.make_account(3)
    chain.venus.supply(who, "WBTC", Decimal("0.2"))
    chain.venus.supply(lender, "DAI", Decimal(1_000_000))
    chain.venus.borrow(lender, "WETH", Decimal("10"))
    chain.mine(300)
    follower = Follower(chain)
    follower.index()
    lines = all_accrued(follower, who).lines
    worth = {line.market.symbol: line.counts(isolated=True)[1] for line in lines}
    owed = sum(line.price_e36 * line.owed_assets // WAD for line in lines)
    eth = next(line for line in lines if line.market.asset == bytes.fromhex(chain.tokens["WETH"].address[2:]))
    others = sum(worth.values()) - worth[eth.market.symbol]
    chain.set_price("WETH", chain.price("WETH") * (owed - others) * 1_000_001 // 1_000_000 // worth[eth.market.symbol])
    follower.follow()
    assert follower.tip is not None
    health = follower.adapter.health(
        follower.market, follower.book.prices, follower.book.positions[bytes.fromhex(who[2:])], follower.tip.timestamp
    )
    assert all_accrued(follower, who).totals().liquidity > 0
    assert health.liquidatable
    assert health.factor_wad is not None
    assert health.factor_wad < WAD
    us, usdc = chain.liquidator.address, chain.venus.vtokens["USDC"]
    chain.tokens.provide(us, "USDC", 10**12, usdc)
    arguments = (who, 10**9, chain.venus.vtokens["WETH"])
    with chain.rewound(), pytest.raises(Reverted, match="InsufficientShortfall"):
        chain.send(us, usdc, "liquidateBorrow(address,uint256,address)", *arguments)
    plan, held = planned(chain, who), chain.balance(us, "USDC")
    assert plan.collateral_asset == bytes.fromhex(chain.tokens["WBTC"].address[2:])
    assert plan.health_wad is not None
    assert plan.health_wad < WAD
    chain.client.send_data(us, plan.call.to, plan.call.data, "liquidate", gas=6_000_000)
    assert held - chain.balance(us, "USDC") == plan.expected_repaid_assets > 0


@pytest.mark.parametrize("by_contract", [False, True])
async def test_a_third_market_is_made_to_accrue_first(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_contract: bool
) -> None:
    """Of two debts the pool adds the interest of the one that is repaid; short only with both, the account is refused.
    The wallet has the other market accrue in a transaction before, our contract in a step before."""
    who, lender, us = borrower(chain, 2, "10", "7000"), chain.make_account(1), chain.liquidator.address
    chain.venus.supply(lender, "DAI", Decimal(1_000_000))
    chain.venus.borrow(who, "DAI", Decimal(7000))
    contract = Contract.deployed(chain)
    for symbol in "USDC", "DAI":
        contract.liquidator.allow_call(chain.venus.vtokens[symbol], VENUS_LIQUIDATE, "accrueInterest()")
        chain.tokens.provide(us, symbol, 10**12, chain.venus.vtokens[symbol])
    contract.liquidator.allow_call(chain.venus.vtokens["WETH"], VENUS_REDEEM)
    house = (
        running(contract, tmp_path, monkeypatch, lenders=["morpho"], protocols=["venus"])
        if by_contract
        else following(chain, tmp_path, monkeypatch, protocols=["venus"])
    )
    chain.mine(3_000)
    follower = Follower(chain)
    follower.index()
    lines = {line.market.symbol: line for line in all_accrued(follower, who).lines}
    worth = sum(line.counts(isolated=True)[1] for line in lines.values())
    owed = sum(line.counts(isolated=True)[2] for line in lines.values())
    waits = min(
        line.counts(isolated=True)[2] - line.stored_counts(isolated=True)[2]
        for line in lines.values()
        if line.owed_assets
    )
    assert waits > 0
    price = chain.price("WETH") * (owed - waits // 2) // worth
    async with house as keeper:
        chain.move_pool("WETH", Decimal(price) / 10**8)
        chain.set_price("WETH", price)
        for symbol in "USDC", "DAI":
            with chain.rewound(), pytest.raises(Reverted, match="InsufficientShortfall"):
                vtoken = chain.venus.vtokens[symbol]
                chain.send(us, vtoken, VENUS_LIQUIDATE, who, 10**6, chain.venus.vtokens["WETH"])
        await keeper.follow()
        await keeper.mine(4)
        intents = keeper.store.intents()
    first = next(one for one in intents if one.kind == "liquidation")
    assert first.status is IntentStatus.CONFIRMED, first.reason
    assert (first.plan.get("financing") is not None) == by_contract
    prepared = [one for one in intents if one.kind == "preparation"]
    assert [one.included_number for one in prepared] == ([] if by_contract else [first.included_number])


def test_an_account_with_several_small_debts_is_left_with_a_reason(chain: DevChain) -> None:
    who = borrower(chain, 2, "0.04", "20")
    chain.venus.supply(chain.make_account(1), "DAI", Decimal(1_000))
    chain.venus.borrow(who, "DAI", Decimal(35))
    chain.set_price("WETH", Decimal(1_500))
    follower = Follower(chain)
    follower.index()
    assert follower.tip is not None
    key = bytes.fromhex(who[2:])
    pairs = follower.adapter.pairs(
        follower.market, follower.book.prices, key, follower.book.positions[key], follower.tip.timestamp, b"\x01" * 20
    )
    assert isinstance(pairs, Skip)
    assert pairs.code == "several_assets"


@pytest.mark.parametrize("short", [0, 1])
def test_a_demand_cures_on_chain_and_one_unit_less_does_not(chain: DevChain, short: int) -> None:
    """Obeyed in the block that follows the one it was computed for, at that block's own interest."""
    who = borrower(chain, 2, "10", "14000")
    chain.set_price("WETH", Decimal(1_800))
    key = bytes.fromhex(who[2:])
    for action in ("add_collateral", "repay"):
        for vtoken, symbol in ((chain.venus.vtokens["WETH"], "WETH"), (chain.venus.vtokens["USDC"], "USDC")):
            chain.tokens.provide(who, symbol, 10**24, vtoken)
        with chain.rewound():
            follower = Follower(chain)
            follower.index()
            assert follower.tip is not None
            landing = follower.tip.timestamp + 1
            position = follower.book.positions[key]
            demands = follower.adapter.demands(follower.market, follower.book.prices, position, landing, TARGET)
            [demand] = [one for one in demands if one.action == action]
            amount = demand.amount - short
            chain.anvil.set_next_timestamp(landing)
            if action == "repay":
                chain.venus.repay(who, "USDC", amount)
            else:
                chain.send(who, chain.venus.vtokens["WETH"], "mint(uint256)", amount)
            follower.follow()
            health = follower.adapter.health(
                follower.market, follower.book.prices, follower.book.positions[key], follower.tip.timestamp
            )
            assert health.factor_wad is not None
            assert (health.factor_wad >= TARGET) == (short == 0)
            if not short:
                assert health.factor_wad == demand.resulting_health_wad


async def test_our_contract_liquidates_with_borrowed_money_and_redeems_what_it_seized(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole house: a free loan of Morpho, the pool's liquidation, vTokens redeemed, the ether sold on Uniswap; what
    was expected is what the contract has more of."""
    contract = Contract.deployed(chain)
    who = borrower(chain, 2, "10", "14000")
    contract.liquidator.allow_call(chain.venus.vtokens["USDC"], VENUS_LIQUIDATE)
    contract.liquidator.allow_call(chain.venus.vtokens["WETH"], VENUS_REDEEM)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], protocols=["venus"]) as keeper:
        chain.move_pool("WETH", Decimal(1_700))
        chain.set_price("WETH", Decimal(1_700))
        await keeper.follow()
        await keeper.mine(4)
        first = keeper.liquidations()[0]
        assert first.status is IntentStatus.CONFIRMED
        assert first.position.lower() == f"venus:{who}".lower()
        assert contract.holds("USDC") >= int(first.plan["financing"]["gain_assets"]) > 0
        assert chain.balance(contract.address, "WETH") == 0
        assert chain.call(chain.venus.vtokens["WETH"], "balanceOf(address)(uint256)", contract.address) == 0


async def test_a_rehearsal_by_price_answers_in_place_of_the_pools_oracle(chain: DevChain, tmp_path: Path) -> None:
    """One oracle speaks for all markets: what is not pledged keeps its price."""
    who = borrower(chain, 2, "10", "14000")
    tables = {"venues": [uniswap(chain)], "funding": [aave_loans(chain)], "protocols": ["venus"]}
    house = await index(write_config(tmp_path / "keeper.toml", chain, notifiers=(), **tables), chain.block_number)
    async with staged(house, Lever.PRICE) as stage:
        found = await stage.rehearse("venus", bytes.fromhex(who[2:]))
    assert (found.lever, found.reason, found.liquidated) == (Lever.PRICE, None, True)
    assert found.stressed is not None
    assert found.stressed.factor_wad is not None
    assert 0 < WAD - found.stressed.factor_wad < WAD // 10**5

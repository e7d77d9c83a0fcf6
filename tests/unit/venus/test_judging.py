"""Where isolated pools and Compound v2 differ, and what an account is told."""

from __future__ import annotations

from itertools import chain

import pytest

from keeper.core.types import LiquidationPlan, Log, Price, Skip
from keeper.core.units import WAD
from keeper.protocols.venus import abi, logs
from keeper.protocols.venus.state import Account, Action, Debt, VMarket
from tests.support.recorded import receipts
from tests.support.venus_market import ACCOUNT, BLOCK, COMPTROLLER, NOW, adapter, asset, market, prices, vmarket, vtoken

ODD_PRICE = 123_456_789_012_345_678_901
PRICES = {COMPTROLLER: Price(BLOCK, 0, NOW), asset(0): Price(ODD_PRICE, 18), asset(1): Price(10**18, 18)}
ODD = vmarket(0, liquidation_threshold_wad=7 * 10**17 + 1, cash=10**24 + 7, total_supply=3 * 10**15)


def position(tokens: int, owed: int) -> Account:
    return Account((vtoken(0), vtoken(1)), ((vtoken(0), tokens),), (Debt(vtoken(1), owed, WAD),))


def test_compound_multiplies_in_another_order() -> None:
    """Threshold, rate and price, each product rounded down: which two come first shows in the last digits."""
    rate = (ODD.cash + ODD.total_borrows - ODD.total_reserves) * WAD // ODD.total_supply
    threshold, tokens = ODD.liquidation_threshold_wad, 10**30
    for isolated, weight in (
        (True, threshold * (rate * ODD_PRICE // WAD) // WAD),
        (False, threshold * rate // WAD * ODD_PRICE // WAD),
    ):
        pool = market(ODD, vmarket(1), isolated=isolated)
        native = adapter().assess(pool, PRICES, position(tokens, 1), NOW).native
        assert native["liquidity"] == weight * tokens // WAD - 1
    assert threshold * (rate * ODD_PRICE // WAD) // WAD != threshold * rate // WAD * ODD_PRICE // WAD


def test_the_protocols_part_of_what_is_seized() -> None:
    """Of the incentive's part in an isolated pool, of everything on Compound."""
    one = vmarket(0, seize_share_wad=5 * 10**16)
    assert logs.protocol_part(market(one), one, 1_100) == 50
    assert logs.protocol_part(market(one, isolated=False), one, 1_100) == 55


def test_forced_debts_are_open_to_liquidation_however_healthy() -> None:
    """And all of them may be repaid."""
    pool = market(vmarket(0), vmarket(1, forced=True))
    healthy = position(10**10, 10**18)
    priced = prices(pool, {0: 2_000.0, 1: 1.0})
    health = adapter().health(pool, priced, healthy, NOW)
    assert health.liquidatable
    assert health.factor_wad is not None and health.factor_wad > 100 * WAD
    plan = adapter().plan(pool, priced, ACCOUNT, healthy, NOW, {asset(1): 10**30}, b"\x01" * 20)
    assert isinstance(plan, LiquidationPlan)
    assert plan.repay_assets == 10**18


@pytest.mark.parametrize(
    ("number", "action", "why"),
    [(0, Action.SEIZE, "paused"), (1, Action.LIQUIDATE, "paused"), (0, Action.REDEEM, "illiquid")],
)
def test_what_a_pool_has_paused_is_not_planned(number: int, action: Action, why: str) -> None:
    paused = [vmarket(place, paused=1 << action if place == number else 0) for place in range(2)]
    pool = market(*paused)
    priced = prices(pool, {0: 2_000.0, 1: 1.0})
    worth = adapter().health(pool, priced, position(10**10, 1), NOW).collateral_value
    pairs = adapter().pairs(pool, priced, ACCOUNT, position(10**10, worth), NOW, b"\x01" * 20)
    assert isinstance(pairs, Skip)
    assert pairs.code == why


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("debts", [1, 2])
def test_bad_debt_is_left_since_nothing_is_pledged(isolated: bool, debts: int) -> None:
    """However many assets it owes, and whether or not the pool would let it be written off: nothing can be seized."""
    pool = market(vmarket(0), vmarket(1), isolated=isolated)
    owing = Account((vtoken(0), vtoken(1)), (), tuple(Debt(vtoken(number), WAD, WAD) for number in range(debts)))
    found = adapter().pairs(pool, prices(pool, {0: 2_000.0, 1: 1.0}), ACCOUNT, owing, NOW, b"\x01" * 20)
    assert isinstance(found, Skip)
    assert (found.code, found.detail) == ("nothing_pledged", "no collateral is left, so nothing can be seized")


def test_interest_is_counted_by_blocks_and_the_next_block_is_one_more() -> None:
    """At the judged block what the contract has accrued to it; a second later, the interest of one block more."""
    pool = market(vmarket(0), vmarket(1, borrow_rate_wad=10**12))
    priced = prices(pool, {0: 2_000.0, 1: 1.0})
    owed = position(10**10, 10**24)
    judge = adapter()
    now, next_one = (judge.health(pool, priced, owed, at).debt_value for at in (NOW, NOW + 1))
    assert (now, next_one) == (10**24, 10**24 + 10**18)


def test_no_more_is_repaid_than_the_very_next_block_allows() -> None:
    """An hour until a block is expected, and 1200 blocks by the pool's estimate: it is one block all the same, whose
    interest is all that the close factor is taken of."""
    pool = market(vmarket(0), vmarket(1, borrow_rate_wad=10**12))
    priced = prices(pool, {0: 2_000.0, 1: 1.0})
    owed = position(10**10, 10**24)
    worth = adapter().health(pool, priced, owed, NOW).collateral_value
    owed = position(10**10, worth)
    for at in (NOW + 1, NOW + 3_600):
        found = adapter().pairs(pool, priced, ACCOUNT, owed, at, b"\x01" * 20)
        assert not isinstance(found, Skip)
        assert found[0].most_assets == pool.close_factor_wad * (worth + worth // 10**6) // WAD


def test_logs_of_compound_v2_that_were_recorded_decode() -> None:
    """Addresses are not indexed there; borrows, repayments and liquidations are all read."""
    kinds: set[str] = set()
    for log in chain.from_iterable(receipts("test_compound_v2__*.json").values()):
        if log.topics and log.topics[0] in abi.TOPICS:
            pool = market(vmarket(0, vtoken=bytes.fromhex(log.address[2:])), *seized(log))
            seen = logs.fold(pool, [log])
            kinds.add(log.topics[0])
            if log.topics[0] in (abi.BORROWED, abi.REPAID):
                assert len(seen.debts) == 1
            if log.topics[0] == abi.LIQUIDATED:
                assert len(seen.liquidations) == 1
    assert abi.LIQUIDATED in kinds


def seized(log: Log) -> list[VMarket]:
    """The market that a liquidation seizes from, which may be another than the one that emits."""
    if log.topics[0] != abi.LIQUIDATED:
        return []
    return [vmarket(1, vtoken=bytes.fromhex(log.data[2 + 64 * 3 + 24 : 2 + 64 * 4]))]

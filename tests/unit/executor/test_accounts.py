"""Expected against realized profit: each change has its cause, and the causes leave nothing over."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Price
from keeper.executor.accounts import CAUSES, Rates, Statement, Turnover, difference, dump_statement, load_statement

USDC, WETH = b"\x01" * 20, b"\x02" * 20
DOLLAR, ETHER, BASE = 10**6, 10**18, 10**8
RATES = Rates(
    debt_asset=USDC,
    debt_decimals=6,
    debt=Price(BASE, 8),
    collateral_asset=WETH,
    collateral_decimals=18,
    collateral=Price(2_000 * BASE, 8),
    native=Price(2_000 * BASE, 8),
    base_decimals=8,
)
SOLD = Turnover(
    repaid=1_000 * DOLLAR,
    seized=525 * ETHER // 1_000,
    sold=525 * ETHER // 1_000,
    proceeds=1_040 * DOLLAR,
    fee=DOLLAR // 2,
    gas_wei=10**15,
)
"""$1,050 seized for $1,000 and sold for $1,040; the loan cost $0.50 and the gas $2."""


def causes(turnover: Turnover = SOLD, rates: Rates = RATES) -> dict[str, int]:
    """Those that are not nothing."""
    found = difference(Statement(SOLD, RATES), Statement(turnover, rates))
    return {cause: amount for cause, amount in found.items() if amount}


def test_the_profit_is_what_is_left_of_the_sale_after_debt_fee_and_gas() -> None:
    assert Statement(SOLD, RATES).profit == 3_750 * BASE // 100


def test_what_the_wallet_keeps_counts_at_its_price_less_the_haircut() -> None:
    paid = Turnover(repaid=1_000 * DOLLAR, seized=525 * ETHER // 1_000)
    assert Statement(paid, RATES).profit == 50 * BASE
    assert Statement(paid, replace(RATES, haircut_bps=100)).profit == 39 * BASE + BASE // 2


def test_nothing_has_no_cause() -> None:
    assert causes() == {}


def test_dearer_gas_is_gas() -> None:
    assert causes(replace(SOLD, gas_wei=3 * 10**15)) == {"gas": -4 * BASE}


def test_a_worse_sale_is_slippage() -> None:
    assert causes(replace(SOLD, proceeds=1_030 * DOLLAR)) == {"slippage": -10 * BASE}


def test_a_dearer_loan_is_its_fee() -> None:
    assert causes(replace(SOLD, fee=2 * DOLLAR)) == {"fee": -BASE * 3 // 2}


def test_a_debt_that_grew_brings_its_share_of_the_plan() -> None:
    """A tenth more was repaid, seized and sold, at the same rate: a tenth of $40 more."""
    grown = replace(SOLD, repaid=1_100 * DOLLAR, seized=SOLD.seized * 11 // 10, sold=SOLD.sold * 11 // 10)
    assert causes(replace(grown, proceeds=1_144 * DOLLAR)) == {"interest": 4 * BASE}


def test_a_price_that_moved_seizes_less_and_that_is_the_price() -> None:
    """The oracle says 5 % more for the collateral, so 1/21 less of it was seized, and sold at the planned rate."""
    seized = SOLD.seized * 20 // 21
    moved = replace(SOLD, seized=seized, sold=seized, proceeds=SOLD.proceeds * seized // SOLD.seized)
    found = causes(moved, replace(RATES, collateral=Price(2_100 * BASE, 8)))
    assert list(found) == ["price"]
    assert found["price"] == (moved.proceeds - SOLD.proceeds) * 100


def test_gas_that_is_worth_more_is_the_price() -> None:
    assert causes(rates=replace(RATES, native=Price(3_000 * BASE, 8))) == {"price": -BASE}


def test_what_no_event_explains_is_said_to_be_so() -> None:
    assert causes(replace(SOLD, other_debt=-7 * DOLLAR)) == {"other": -7 * BASE}


amounts = st.integers(0, 2**100)
prices = st.builds(Price, st.integers(1, 2**80), st.integers(0, 18))
turnovers = st.builds(
    Turnover,
    repaid=amounts,
    seized=amounts,
    sold=amounts,
    proceeds=amounts,
    fee=amounts,
    other_debt=st.integers(-(2**90), 2**90),
    other_collateral=st.integers(-(2**90), 2**90),
    gas_wei=amounts,
    tip_wei=amounts,
)
statements = st.builds(
    Statement,
    st.one_of(turnovers, turnovers.map(lambda moved: replace(moved, sold=moved.seized))),
    st.builds(
        Rates,
        debt_asset=st.just(USDC),
        debt_decimals=st.integers(0, 24),
        debt=prices,
        collateral_asset=st.just(WETH),
        collateral_decimals=st.integers(0, 24),
        collateral=prices,
        native=prices,
        base_decimals=st.integers(0, 18),
        haircut_bps=st.integers(0, 9_999),
    ),
)


@given(statements, statements)
def test_the_causes_add_up_to_the_difference_exactly(expected: Statement, realized: Statement) -> None:
    """Whatever the amounts, the prices and the rounding."""
    found = difference(expected, realized)
    assert tuple(found) == CAUSES
    assert sum(found.values()) == realized.profit - expected.profit


@given(statements)
def test_a_stored_statement_is_the_same_statement(statement: Statement) -> None:
    stored = json.loads(json.dumps(dump_statement(statement)))
    assert load_statement(stored) == statement
    assert stored["profit"] == str(statement.profit)

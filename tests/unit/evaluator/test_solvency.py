"""What a protocol has lost, would lose, and holds against it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.types import Backing, Book
from keeper.core.units import WAD
from keeper.evaluator.solvency import Assessing, AtRisk, Solvency
from keeper.protocols.venus.state import Account, Debt
from tests.support import venus_market as venus
from tests.support.venus_market import ACCOUNT, NOW, asset, vmarket, vtoken

DOLLAR = WAD  # a pool's base currency unit is 1e-18 of a dollar


def account(tokens: int, owed: int) -> Account:
    """In vTokens of market 0, owing market 1."""
    return Account((vtoken(0), vtoken(1)), ((vtoken(0), tokens),), (Debt(vtoken(1), owed, WAD),))


def book(*accounts: Account, ether: float = 2_000.0) -> Book[venus.Market, Account]:
    """Market 0 is of ether at so many dollars, market 1 of a dollar."""
    pool = venus.market(vmarket(0), vmarket(1))
    priced = venus.prices(pool, {0: ether, 1: 1.0})
    return Book(pool, priced, {bytes([0x20 + place]) * 20: one for place, one in enumerate(accounts)})


NO_BACKING = Backing(0)


def assessed(found: Book[venus.Market, Account], *moves: int, backing: Backing = NO_BACKING) -> Solvency:
    assessing = Assessing(venus.adapter(), found, NOW, moves)
    for _ in assessing.steps(at_once=1):
        pass
    return assessing.result(backing)


def test_nothing_is_lost_where_everybody_is_covered() -> None:
    found = assessed(book(account(10**10, 10**20)), -500)
    assert (found.positions, found.unknown, found.underwater, found.shortfall_value) == (1, 0, 0, 0)
    assert found.coverage_wad is None
    assert found.at_risk == (AtRisk(-500, 0, 0),)


def test_a_position_under_water_is_a_loss_that_reserves_may_cover() -> None:
    """What it owes beyond what it has, to the unit; with reserves of half of that, a half is covered."""
    rich = assessed(book(account(10**10, 10**20)))
    owed = rich.collateral_value + 60 * DOLLAR
    found = assessed(book(account(10**10, owed)), backing=Backing(0, 30 * DOLLAR))
    assert found.underwater == 1
    assert found.shortfall_value == 60 * DOLLAR
    assert found.coverage_wad == WAD // 2


def test_losses_of_the_past_count_as_well_and_without_reserves_nothing_is_covered() -> None:
    found = assessed(book(), backing=Backing(7 * DOLLAR, None))
    assert found.loss_value == 7 * DOLLAR
    assert found.coverage_wad == 0


def test_what_falling_prices_would_open() -> None:
    """At a threshold of 80 %: one at 0.78 of its collateral opens at 5 % less, one at 0.70 at 20 %, the rest never."""
    whole = assessed(book(account(10**10, 1))).collateral_value
    found = assessed(
        book(*(account(10**10, whole * share // 100) for share in (78, 70, 5))), -500, -2_000, -5_000, 1_000
    )
    assert [risk.positions for risk in found.at_risk] == [1, 2, 2, 0]
    assert found.share_wad(found.at_risk[0]) == found.at_risk[0].collateral_value * WAD // found.collateral_value
    assert found.at_risk[1].collateral_value == 2 * whole


@settings(max_examples=50)
@given(st.lists(st.integers(1, 99), max_size=12), st.integers(1, 5))
def test_how_many_are_held_together_changes_nothing_that_is_found(shares: list[int], rows: int) -> None:
    """Positions owing so many hundredths of their collateral, in pieces of so many."""
    whole = assessed(book(account(10**10, 1))).collateral_value
    world = book(*(account(10**10, whole * share // 100) for share in shares))
    pieces = Assessing(venus.adapter(), world, NOW, (-500, -2_000, -5_000), rows=rows)
    for _ in pieces.steps(at_once=1):
        pass
    assert pieces.result(NO_BACKING) == assessed(world, -500, -2_000, -5_000)


class Made(dict[bytes, Account]):
    """So many positions, each there only while somebody looks at it, as in a store."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def items(self) -> Iterator[tuple[bytes, Account]]:  # type: ignore[override]
        return ((number.to_bytes(20, "big"), account(10**10, 10**20)) for number in range(self._count))


def test_a_book_eight_times_as_large_is_assessed_in_the_same_memory() -> None:
    def peak(count: int) -> int:
        world = book()
        assessing = Assessing(venus.adapter(), Book(world.market, world.prices, Made(count)), NOW, (-500,), rows=250)
        tracemalloc.start()
        for _ in assessing.steps():
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert assessing.result(NO_BACKING).positions == count
        return most

    assert peak(4_000) < 1.25 * peak(500)


def test_a_position_without_a_price_is_unknown_and_counts_nowhere() -> None:
    one = book(account(10**10, 10**20))
    one.prices = {key: price for key, price in one.prices.items() if key != asset(0)}
    found = assessed(one, -500)
    assert (found.positions, found.unknown, found.collateral_value, found.at_risk[0].positions) == (1, 1, 0, 0)


@settings(max_examples=150)
@given(st.lists(venus.worlds(), min_size=1, max_size=1), st.sampled_from((-500, -2_000)))
def test_at_risk_are_those_that_the_integers_find_at_the_moved_prices(worlds: list[tuple], move: int) -> None:  # type: ignore[type-arg]
    """But for accounts within a millionth of the line, which the screen may take for either."""
    adapter = venus.adapter()
    for pool, priced, position in worlds:
        found = assessed(Book(pool, priced, {ACCOUNT: position}), move)
        health = adapter.health(pool, adapter.moved(pool, priced, move), position, NOW)
        assert health.factor_wad is not None
        forced = any(pool.by_vtoken[debt.vtoken].forced for debt in position.debts)
        if forced or abs(health.factor_wad - WAD) > 10**12:
            assert found.at_risk[0].positions == health.liquidatable

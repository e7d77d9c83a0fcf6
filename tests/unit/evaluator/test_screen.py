"""The float screen never misses a position that exact integers find, however the book came to be."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.types import Linear, Linears, Prices, Slack
from keeper.core.units import WAD
from keeper.evaluator.columns import Columns, vector_of
from keeper.evaluator.screen import Screen, maybe_below, surely_below
from tests.support.linear_market import ASSETS, Holdings, LinearMarket, Market, prices_of

EXACT = Slack(0.0, 0.0)
SLOTS = 2 * ASSETS

amounts = st.one_of(st.integers(1, 10**6), st.integers(10**12, 10**26))
holdings = st.builds(
    Holdings,
    st.dictionaries(st.integers(0, ASSETS - 1), amounts, max_size=ASSETS),
    st.dictionaries(st.integers(0, ASSETS - 1), amounts, max_size=ASSETS),
)


def key_of(number: int) -> bytes:
    return number.to_bytes(20, "big")


def linear(collateral: float, requirement: float) -> Linear:
    return Linear(((0, collateral),), ((1, requirement),))


def linears_of(many: list[Linear]) -> Linears:
    columns: list[list[float]] = []
    for side in ("collateral", "requirement"):
        entries = [getattr(one, side) for one in many]
        flat = [entry for row in entries for entry in row]
        columns += [[len(row) for row in entries], [slot for slot, _ in flat], [weight for _, weight in flat]]
    return Linears(*columns)


def keys_below(screen: Screen, factors: list[float], threshold: float, slack: Slack = EXACT) -> set[bytes]:
    rows = screen.below(vector_of(factors), slack, threshold)
    assert len(set(rows.tolist())) == len(rows), "each row once"
    keys = {screen.columns.key(int(row)) for row in rows}
    assert None not in keys, "no empty row is a candidate"
    return {key for key in keys if key is not None}


def test_a_row_is_a_candidate_strictly_below_the_threshold_widened_by_the_slack() -> None:
    """Health 1.0 is no candidate for 1.0 with no slack, and is one with some."""
    screen = Screen()
    for number, collateral in enumerate((99.0, 100.1, 101.0, 120.0)):
        screen.put(key_of(number), linear(collateral, 100.0))
    assert keys_below(screen, [1.0, 1.0], 1.0) == {key_of(0)}
    assert keys_below(screen, [1.0, 1.0], 1.0, Slack(0.005, 0.0)) == {key_of(0), key_of(1)}
    assert keys_below(screen, [1.0, 1.0], 1.0, Slack(0.0, 2.0)) == {key_of(0), key_of(1), key_of(2)}


@pytest.mark.parametrize("missing", [float("nan"), float("inf")])
@pytest.mark.parametrize("sort_first", [False, True])
def test_a_position_without_a_price_is_always_a_candidate(missing: float, sort_first: bool) -> None:
    """Floats cannot judge it, so exact code must say that nobody can; others are not dragged along."""
    screen = Screen()
    screen.put(key_of(1), Linear(((0, 1e9), (2, 1.0)), ((1, 1.0),)))
    screen.put(key_of(2), linear(1e9, 1.0))
    if sort_first:
        screen.sort(vector_of([1.0, 1.0, 1.0]), EXACT, 1.1)
    assert keys_below(screen, [1.0, 1.0, missing], 1.0) == {key_of(1)}


def test_a_position_that_owes_nothing_takes_no_place() -> None:
    """Suppliers are the majority of most books; none of them can be called."""
    screen = Screen()
    screen.put(key_of(1), Linear(((0, 1.0),), ()))
    assert len(screen.columns) == screen.columns.rows == 0
    screen.put(key_of(1), linear(1.0, 2.0))
    assert keys_below(screen, [1.0, 1.0], 1.0) == {key_of(1)}
    screen.put(key_of(1), Linear(((0, 1.0),), ()))
    assert keys_below(screen, [1.0, 1.0], 1.0) == set()


def test_a_slot_the_market_does_not_have_is_refused() -> None:
    """Reading another slot's factor instead would judge the position by a foreign price."""
    screen = Screen()
    screen.put(key_of(1), Linear(((7, 1.0),), ((1, 1.0),)))
    with pytest.raises(ValueError, match="slot 7, but the market has only 2 factors"):
        screen.below(vector_of([1.0, 1.0]), EXACT, 1.0)


def test_small_moves_reach_few_rows_and_large_ones_are_still_right() -> None:
    """The prune answers from the prefix for a small move, and falls back to everything when the bound cannot tell."""
    rng = np.random.default_rng(3)
    screen = Screen()
    healths = rng.uniform(1.0, 3.0, 2000)
    for number, value in enumerate(healths):
        screen.put(key_of(number), linear(float(value) * 100, 100.0))
    assert screen.wants_sorting
    screen.sort(vector_of([1.0, 1.0]), EXACT, 1.1)
    assert not screen.wants_sorting
    for fall, still_sorted in ((0.999, True), (0.95, True), (0.5, False)):
        expected = {key_of(number) for number, value in enumerate(healths) if value * fall < 1.0}
        assert keys_below(screen, [fall, 1.0], 1.0) == expected
        assert screen.wants_sorting is not still_sorted


def test_rounding_weighs_more_when_everything_shrinks() -> None:
    """The ratios of two sides can stay while both fall so far that the absolute slack decides."""
    screen, slack = Screen(), Slack(0.0, 16.0)
    screen.put(key_of(1), linear(100.0, 60.0))
    screen.sort(vector_of([1.0, 1.0]), slack, 1.1)
    assert keys_below(screen, [1.0, 1.0], 1.0, slack) == set()
    assert keys_below(screen, [0.1, 0.1], 1.0, slack) == {key_of(1)}


def test_negative_weights_are_screened_in_full() -> None:
    """A short position's value falls while the price rises, which no ratio bound covers."""
    screen = Screen()
    screen.put(key_of(1), Linear(((0, 10.0), (2, -1.0)), ((1, 1.0),)))
    screen.sort(vector_of([1.0, 1.0, 1.0]), EXACT, 1.1)
    assert keys_below(screen, [1.0, 1.0, 1.0], 1.0) == set()
    assert keys_below(screen, [1.0, 1.0, 9.5], 1.0) == {key_of(1)}


@given(
    position=holdings.filter(lambda held: bool(held.debt)),
    values=st.lists(st.integers(1, 10**12), min_size=ASSETS, max_size=ASSETS),
    threshold_wad=st.integers(WAD // 2, 2 * WAD),
    now=st.integers(0, 10**8),
    near=st.booleans(),
)
@settings(max_examples=300)
def test_float_bounds_agree_with_exact_integers(
    position: Holdings, values: list[int], threshold_wad: int, now: int, near: bool
) -> None:
    """What is exactly below is maybe below; what is surely below is exactly below.

    Truncation bites at thresholds next to the health itself."""
    adapter, market = LinearMarket(), Market()
    factor = adapter.health(market, prices_of(*values), position, now).factor_wad
    assert factor is not None
    if near and WAD // 2 < factor < 3 * WAD:
        threshold_wad = factor + threshold_wad % 3 - 1
    columns = Columns()
    columns.put(key_of(1), adapter.linear(market, position))
    vector = vector_of(adapter.factors(market, prices_of(*values), now))
    totals = columns.totals(vector)
    threshold, slack = threshold_wad / WAD, adapter.slack(market)
    if factor < threshold_wad:
        assert maybe_below(*totals, threshold, slack).all()
    else:
        assert not surely_below(*totals, np.array([threshold]), vector, slack).any()


class World:
    """Rows come, change and go, prices wander, jump or vanish, and it is sorted whenever somebody likes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.adapter, self.market, self.now = LinearMarket(), Market(), 0
        self.screen, self.book = Screen(), dict[bytes, Holdings]()
        self.values: list[int | None] = [10**10] * ASSETS

    def turn(self) -> None:
        happening = self.random.random()
        if happening < 0.5:
            self.put(key_of(self.random.randrange(40)))
        elif happening < 0.6:
            key = key_of(self.random.randrange(40))
            self.book.pop(key, None)
            self.screen.put(key, None)
        elif happening < 0.75:
            self.screen.sort(self.vector(), self.adapter.slack(self.market), 1.1)
        elif happening < 0.77:
            self.market = Market(tuple(self.random.randint(5000, 9500) for _ in range(ASSETS)))
            if self.random.random() < 0.5:
                self.screen.load(self.linears())
            else:
                self.append()
        elif happening < 0.8:
            self.values[self.random.randrange(ASSETS)] = self.random.choice(
                (None, 10**10, 10 ** self.random.randint(0, 12))
            )
        else:
            self.now += self.random.choice((12, 10**6))
            moved = [None if value is None else self.moved(value) for value in self.values]
            self.values = moved

    def append(self) -> None:
        """Load everything in two parts, those that owe nothing included."""
        self.screen.load(())
        every = [(key, self.adapter.linear(self.market, held)) for key, held in self.book.items()]
        half = len(every) // 2
        for part in (every[:half], every[half:]):
            self.screen.append([key for key, _ in part], linears_of([one for _, one in part]))

    def moved(self, value: int) -> int:
        return max(1, value + value * self.random.randint(-100, 100) // 10_000)

    def put(self, key: bytes) -> None:
        """Amounts from dust to fortunes, several assets on each side, and healths about the thresholds."""
        size = 10 ** self.random.randint(3, 22)
        collateral = {
            n: size * self.random.randint(1, 9) for n in self.random.sample(range(ASSETS), self.random.randint(1, 3))
        }
        debt = {
            n: size * self.random.randint(1, 9) for n in self.random.sample(range(ASSETS), self.random.randint(0, 2))
        }
        held = Holdings(collateral, debt)
        factor = self.adapter.health(self.market, self.prices(), held, self.now).factor_wad
        if factor:
            wanted = self.random.randint(98 * WAD // 100, 160 * WAD // 100)
            held = Holdings(collateral, {n: max(1, owed * factor // wanted) for n, owed in debt.items()})
        self.book[key] = held
        self.screen.put(key, self.adapter.linear(self.market, held))

    def prices(self) -> Prices:
        return prices_of(*self.values)

    def vector(self) -> np.ndarray:
        return vector_of(self.adapter.factors(self.market, self.prices(), self.now))

    def linears(self) -> list[tuple[bytes, Linear]]:
        return [(key, self.adapter.linear(self.market, held)) for key, held in self.book.items() if held.debt]


def test_nobody_is_missed_whatever_happened_before() -> None:
    """Every position below a threshold in exact integers, or that cannot be judged, is found: by the prune, after any
    history; and it finds no more than a screen of everything would."""
    for seed in range(30):
        world = World(seed)
        for _ in range(100):
            world.turn()
            slack, vector = world.adapter.slack(world.market), world.vector()
            everything = Screen()
            everything.load(world.linears())
            for threshold_wad in (WAD, 11 * WAD // 10, 3 * WAD // 2):
                rows = world.screen.below(vector, slack, threshold_wad / WAD)
                found = [world.screen.columns.key(int(row)) for row in rows]
                assert len(set(found)) == len(found)
                for key, held in world.book.items():
                    health = world.adapter.health(world.market, world.prices(), held, world.now)
                    if held.debt and (health.unpriced_assets or (health.factor_wad or 0) < threshold_wad):
                        assert key in found
                unpruned = everything.below(vector, slack, threshold_wad / WAD * (1 + 1e-9))
                assert set(found) <= {everything.columns.key(int(row)) for row in unpruned}


def test_rewriting_rows_for_ever_needs_no_more_memory_than_the_rows() -> None:
    """Abandoned segments are compacted away, and every row keeps its own sum."""
    columns, rng = Columns(), np.random.default_rng(5)
    expected: dict[bytes, float] = {}
    for _ in range(20_000):
        key, width = key_of(int(rng.integers(50))), int(rng.integers(1, 8))
        weights = [float(weight) for weight in rng.integers(1, 1000, width)]
        columns.put(key, Linear(tuple(enumerate(weights)), ((0, 1.0),)))
        expected[key] = sum(weights)
    collateral, _ = columns.totals(vector_of([1.0] * 8))
    assert {columns.key(row): total for row, total in enumerate(collateral.tolist())} == expected
    assert columns.collateral.used < 5_000

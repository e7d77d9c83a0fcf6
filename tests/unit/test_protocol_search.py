"""Searches find the same amount wherever they are told to begin; a good hint only makes them shorter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keeper.protocols.search import breach_edge, least, through

BIG = 1 << 120


@given(st.integers(0, BIG), st.integers(0, BIG), st.integers(0, BIG), st.integers(-5, 2 * BIG))
def test_any_hint_finds_the_least(answer: int, below: int, above: int, near: int):
    low, high = max(0, answer - below), answer + above
    assert least(lambda n: n >= answer, low, high, near) == answer


@given(st.integers(2, BIG), st.integers(1, BIG), st.integers(-5, 2 * BIG))
def test_any_hint_finds_the_edge(edge: int, present: int, near: int):
    """Breached at and below the edge, whether the present price is above it or not."""
    assert breach_edge(lambda price: price <= edge, present, near) == breach_edge(lambda price: price <= edge, present)
    assert breach_edge(lambda price: price <= edge, present, near) in (edge, None)


@given(st.integers(1 << 60, 1 << 80), st.integers(-1000, 1000))
def test_a_good_hint_asks_a_dozen_times_instead_of_a_hundred(answer: int, off: int):
    asked: list[int] = []

    def holds(n: int) -> bool:
        asked.append(n)
        return n >= answer

    assert least(holds, 1, BIG, answer + off) == answer
    assert len(asked) <= 48
    begun = len(asked)
    assert least(holds, 1, BIG) == answer
    assert len(asked) - begun >= 100


def test_a_line_through_two_points():
    assert through(0, 10, 100, 20, 15) == 50
    assert through(0, 10, 100, 10, 15) is None

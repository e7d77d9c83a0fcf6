"""Searches over a protocol's integers for the amounts and prices at which something begins to hold."""

from __future__ import annotations

from collections.abc import Callable

from keeper.core.units import BPS

_CLOSE_BITS = 40
"""An estimate is presumed to be right to so many bits: the roundings of protocols leave about as many."""


def least(holds: Callable[[int], bool], low: int, high: int, near: int | None = None) -> int:
    """Smallest n in [low, high] where a predicate holds that, once true, stays true; it must hold at `high`.

    near: where it may be found. Whatever it says the result is the same, only sooner.
    """
    if near is not None and low < high:
        low, high = _bracket(holds, low, high, min(max(near, low), high))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _bracket(holds: Callable[[int], bool], low: int, high: int, near: int) -> tuple[int, int]:
    """A part of [low, high] that holds the answer, found by growing steps away from `near`."""
    step = max(1, near >> _CLOSE_BITS)
    if near == high or holds(near):
        high = near
        while high > low and holds(max(low, high - step)):
            high, step = max(low, high - step), 4 * step
        return max(low, high - step + 1), high
    low = near + 1
    while low < high and not holds(min(high, low + step)):
        low, step = min(high, low + step) + 1, 4 * step
    return min(low, high), min(high, low + step)


def through(x: int, y: int, another_x: int, another_y: int, level: int) -> int | None:
    """Where the straight line through two points is at `level`, rounded down; None where it never is."""
    if y == another_y:
        return None
    return x + (level - y) * (another_x - x) // (another_y - y)


def breach_edge(breached: Callable[[int], bool], present: int, near: int | None = None) -> int | None:
    """The highest price where `breached` holds; sought upward when it holds at present, else downward.

    near: where it may be found. Whatever it says the result is the same, only sooner.
    """
    if breached(present):
        low, high = present, 2 * present
        while breached(high):
            low, high = high, 2 * high
            if high.bit_length() > 160:
                return None
    elif breached(1):
        low, high = 1, present
    else:
        return None
    return least(lambda price: not breached(price), low + 1, high, near) - 1


def move_bps(present: int, price: int) -> int:
    """Truncated toward zero."""
    size = abs(price - present) * BPS // present
    return size if price >= present else -size

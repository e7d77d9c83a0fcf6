"""Searches over a protocol's integers for the amounts and prices at which something begins to hold."""

from __future__ import annotations

from collections.abc import Callable

from keeper.core.units import BPS


def least(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Smallest n in [low, high] where a predicate holds that, once true, stays true; it must hold at `high`."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def breach_edge(breached: Callable[[int], bool], present: int) -> int | None:
    """The highest price where `breached` holds; sought upward when it holds at present, else downward."""
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
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if breached(middle) else (low, middle)
    return low


def move_bps(present: int, price: int) -> int:
    """Truncated toward zero."""
    size = abs(price - present) * BPS // present
    return size if price >= present else -size

"""How the size of log ranges adapts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keeper.indexer.ranges import RangeSize


def test_a_refused_range_is_halved() -> None:
    size = RangeSize(size=1000)
    size.refused(1000)
    assert size.size == 500


def test_a_limit_the_provider_names_is_taken_and_never_exceeded() -> None:
    size = RangeSize(size=1000)
    size.refused(1000, named_limit=800)
    for _ in range(500):
        size.passed(size.size, logs=0)
    assert size.size == 800


def test_a_named_limit_that_is_no_smaller_is_ignored() -> None:
    """Some suggest the very range they refused; believing it would loop for ever."""
    size = RangeSize(size=1000)
    size.refused(1000, named_limit=1000)
    assert size.size == 500


def test_sizes_grow_back_up_to_what_was_refused_and_later_beyond() -> None:
    """What was refused may have been one dense stretch of the chain."""
    size = RangeSize(size=1000)
    size.refused(1000)
    for _ in range(10):
        size.passed(size.size, logs=10)
    assert size.size == 999
    for _ in range(100):
        size.passed(size.size, logs=10)
    assert size.size > 1000


def test_a_range_with_many_logs_is_not_made_larger() -> None:
    size = RangeSize(size=1000)
    size.passed(1000, logs=9_000)
    assert size.size == 1000


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_any_fixed_limit_is_found_in_few_tries(limit: int, start: int) -> None:
    """Halving reaches an unnamed limit within the number of bits of the first range."""
    size = RangeSize(size=start)
    tries = 0
    while size.size > limit:
        size.refused(size.size)
        tries += 1
    assert size.size >= 1
    assert tries <= start.bit_length()

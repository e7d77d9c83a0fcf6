"""Aave's rounding, each function against the exact fraction it approximates."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, exp, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.units import BPS, RAY, WAD
from keeper.protocols.aave_v3 import arithmetic

amounts = st.integers(0, 1 << 128)
divisors = st.integers(1, 1 << 128)


def half_up(exact: Fraction) -> int:
    return floor(exact + Fraction(1, 2))


@given(amounts, amounts)
def test_multiplications_round_as_their_names_say(a: int, b: int) -> None:
    exact = Fraction(a * b, RAY)
    assert arithmetic.ray_mul_floor(a, b) == floor(exact)
    assert arithmetic.ray_mul_half_up(a, b) == half_up(exact)
    assert arithmetic.ray_mul_ceil(a, b) == ceil(exact)
    percent = Fraction(a * (b % 20_000), BPS)
    assert arithmetic.percent_mul_floor(a, b % 20_000) == floor(percent)
    assert arithmetic.percent_mul_half_up(a, b % 20_000) == half_up(percent)
    assert arithmetic.percent_mul_ceil(a, b % 20_000) == ceil(percent)


@given(amounts, divisors)
def test_divisions_round_as_their_names_say(a: int, b: int) -> None:
    exact = Fraction(a * RAY, b)
    assert arithmetic.ray_div_floor(a, b) == floor(exact)
    assert arithmetic.ray_div_ceil(a, b) == ceil(exact)
    assert arithmetic.percent_div_floor(a, b) == floor(Fraction(a * BPS, b))
    assert arithmetic.percent_div_ceil(a, b) == ceil(Fraction(a * BPS, b))


@given(amounts, divisors)
def test_half_up_divisions_add_half_of_the_divisor_rounded_down(a: int, b: int) -> None:
    """Aave adds b / 2 in integers, so an odd divisor rounds a tie down."""
    assert arithmetic.ray_div_half_up(a, b) == (a * RAY + b // 2) // b
    assert arithmetic.wad_div_half_up(a, b) == (a * WAD + b // 2) // b
    assert arithmetic.percent_div_half_up(a, b) == (a * BPS + b // 2) // b


@pytest.mark.parametrize("compounded", [arithmetic.compounded_interest_taylor, arithmetic.compounded_interest_binomial])
@given(st.integers(0, RAY), st.integers(0, 365 * 86_400))
def test_compounded_interest_approximates_the_exponential_from_below(compounded, rate: int, elapsed: int) -> None:
    """Three terms of the series: less than a twentieth short at 100 % over a year, never above."""
    growth = compounded(rate, elapsed) / RAY
    ideal = exp(rate / RAY * elapsed / arithmetic.SECONDS_PER_YEAR)
    assert growth <= ideal * (1 + 1e-12)
    assert growth >= ideal * 0.95


def test_interest_of_no_time_is_none() -> None:
    assert arithmetic.linear_interest(RAY, 0) == RAY
    assert arithmetic.compounded_interest_taylor(RAY, 0) == RAY
    assert arithmetic.compounded_interest_binomial(RAY, 0) == RAY


def test_interest_of_a_year_at_five_percent() -> None:
    """Simple for suppliers; e^0.05 to the third term for debt."""
    rate = 5 * RAY // 100
    assert arithmetic.linear_interest(rate, arithmetic.SECONDS_PER_YEAR) == RAY + rate
    expected = RAY + rate + rate * rate // (2 * RAY) + rate**3 // (6 * RAY**2)
    assert abs(arithmetic.compounded_interest_taylor(rate, arithmetic.SECONDS_PER_YEAR) - expected) <= 2

"""Aave's fixed-point arithmetic: wads (1e18), rays (1e27) and percentages (1e4), with every rounding by name.

`*_half_up` rounds to the nearest, ties up; it is Aave's default, and the balances' rounding before v3.5.
Sources: WadRayMath, PercentageMath, MathUtils of @aave/core-v3 1.19.3 and @aave-dao/aave-v3-origin 3.6.0.
"""

from __future__ import annotations

from keeper.core.units import BPS, RAY, WAD

SECONDS_PER_YEAR = 365 * 24 * 3600
_HALF_RAY = RAY // 2
_HALF_BPS = BPS // 2


def wad_div_half_up(a: int, b: int) -> int:
    return (a * WAD + b // 2) // b


def ray_mul_half_up(a: int, b: int) -> int:
    return (a * b + _HALF_RAY) // RAY


def ray_mul_floor(a: int, b: int) -> int:
    return a * b // RAY


def ray_mul_ceil(a: int, b: int) -> int:
    return -(-a * b // RAY)


def ray_div_half_up(a: int, b: int) -> int:
    return (a * RAY + b // 2) // b


def ray_div_floor(a: int, b: int) -> int:
    return a * RAY // b


def ray_div_ceil(a: int, b: int) -> int:
    return -(-a * RAY // b)


def percent_mul_half_up(value: int, bps: int) -> int:
    return (value * bps + _HALF_BPS) // BPS


def percent_mul_floor(value: int, bps: int) -> int:
    return value * bps // BPS


def percent_mul_ceil(value: int, bps: int) -> int:
    return -(-value * bps // BPS)


def percent_div_half_up(value: int, bps: int) -> int:
    return (value * BPS + bps // 2) // bps


def percent_div_floor(value: int, bps: int) -> int:
    return value * BPS // bps


def percent_div_ceil(value: int, bps: int) -> int:
    return -(-value * BPS // bps)


def linear_interest(rate_ray: int, elapsed_s: int) -> int:
    """Growth factor (ray) of what suppliers earn: simple interest since the last update, rounded down."""
    return RAY + rate_ray * elapsed_s // SECONDS_PER_YEAR


def compounded_interest_taylor(rate_ray: int, elapsed_s: int) -> int:
    """Growth factor (ray) of debt: e^x to the third term, x = rate * elapsed / year. Recent pools (v3.6)."""
    x = rate_ray * elapsed_s // SECONDS_PER_YEAR
    return RAY + x + ray_mul_half_up(x, x // 2 + ray_mul_half_up(x, x // 6))


def compounded_interest_binomial(rate_ray: int, elapsed_s: int) -> int:
    """Growth factor (ray) of debt: (1 + rate/year)^elapsed to the third term. Pools of v3.0 to v3.3."""
    if elapsed_s == 0:
        return RAY
    less_one = elapsed_s - 1
    less_two = elapsed_s - 2 if elapsed_s > 2 else 0
    power_two = ray_mul_half_up(rate_ray, rate_ray) // (SECONDS_PER_YEAR * SECONDS_PER_YEAR)
    power_three = ray_mul_half_up(power_two, rate_ray) // SECONDS_PER_YEAR
    second = elapsed_s * less_one * power_two // 2
    third = elapsed_s * less_one * less_two * power_three // 6
    return RAY + rate_ray * elapsed_s // SECONDS_PER_YEAR + second + third

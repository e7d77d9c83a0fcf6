"""The adaptive curve: the interest rate model of nearly every Morpho market, computed as its contract does.

Signed numbers are divided toward zero, as Solidity does and Python does not.
Source: morpho-org/morpho-blue-irm, AdaptiveCurveIrm, ExpLib, ConstantsLib.
"""

from __future__ import annotations

from keeper.core.units import WAD
from keeper.protocols.morpho_blue.arithmetic import w_div_down

_YEAR_S = 365 * 24 * 3600
_CURVE_STEEPNESS_WAD = 4 * WAD
_ADJUSTMENT_SPEED_WAD = 50 * WAD // _YEAR_S  # per second
_TARGET_UTILIZATION_WAD = 9 * WAD // 10
_INITIAL_RATE_AT_TARGET_WAD = 4 * WAD // 100 // _YEAR_S
_MIN_RATE_AT_TARGET_WAD = WAD // 1000 // _YEAR_S
_MAX_RATE_AT_TARGET_WAD = 2 * WAD // _YEAR_S

_LN_2_WAD = 693147180559945309
_LN_WEI_WAD = -41446531673892822312
_EXP_UPPER_BOUND_WAD = 93859467695000404319
_EXP_UPPER_VALUE_WAD = 57716089161558943949701069502944508345128422502756744429568 * WAD


def adaptive_curve_rate(supply_assets: int, borrow_assets: int, rate_at_target_wad: int, elapsed_s: int) -> int:
    """The average borrow rate per second (wad) over the time since the market's last update.

    Amounts and rate_at_target_wad as they were then. rate_at_target_wad 0: nobody has asked for a rate yet.
    """
    utilization = w_div_down(borrow_assets, supply_assets) if supply_assets else 0
    norm = WAD - _TARGET_UTILIZATION_WAD if utilization > _TARGET_UTILIZATION_WAD else _TARGET_UTILIZATION_WAD
    error = _div(WAD * (utilization - _TARGET_UTILIZATION_WAD), norm)
    start = rate_at_target_wad
    if start == 0:
        average = _INITIAL_RATE_AT_TARGET_WAD
    else:
        adaptation = _mul(_ADJUSTMENT_SPEED_WAD, error) * elapsed_s
        if adaptation == 0:
            average = start
        else:
            end, middle = _moved(start, adaptation), _moved(start, _div(adaptation, 2))
            average = (start + end + 2 * middle) // 4
    return _curve(average, error)


def w_exp(x_wad: int) -> int:
    """e^x (wad): a power of two times a second-order polynomial; zero below ln(1e-18), clipped above."""
    if x_wad < _LN_WEI_WAD:
        return 0
    if x_wad >= _EXP_UPPER_BOUND_WAD:
        return _EXP_UPPER_VALUE_WAD
    half = _LN_2_WAD // 2
    q = _div(x_wad + (half if x_wad >= 0 else -half), _LN_2_WAD)
    r = x_wad - q * _LN_2_WAD
    exp_r = WAD + r + r * r // WAD // 2
    return exp_r << q if q >= 0 else exp_r >> -q


def _curve(rate_wad: int, error_wad: int) -> int:
    steepness = _CURVE_STEEPNESS_WAD
    coefficient = WAD - _div(WAD * WAD, steepness) if error_wad < 0 else steepness - WAD
    return _mul(_mul(coefficient, error_wad) + WAD, rate_wad)


def _moved(start_wad: int, adaptation_wad: int) -> int:
    moved = _mul(start_wad, w_exp(adaptation_wad))
    return min(max(moved, _MIN_RATE_AT_TARGET_WAD), _MAX_RATE_AT_TARGET_WAD)


def _mul(a: int, b: int) -> int:
    return _div(a * b, WAD)


def _div(a: int, b: int) -> int:
    """a / b toward zero; b is positive."""
    return a // b if a >= 0 else -(-a // b)

"""Morpho's fixed-point arithmetic: shares, interest, and the liquidation incentive, every rounding by name.

Sources: MathLib, SharesMathLib, ConstantsLib and Morpho.liquidate of @morpho-org/morpho-blue 1.0.0.
"""

from __future__ import annotations

from keeper.core.units import WAD, mul_div_down, mul_div_up

ORACLE_PRICE_SCALE = 10**36
VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
_LIQUIDATION_CURSOR_WAD = 3 * 10**17
_MAX_LIQUIDATION_INCENTIVE_WAD = 115 * 10**16


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    return mul_div_down(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_shares_up(assets: int, total_assets: int, total_shares: int) -> int:
    return mul_div_up(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    return mul_div_down(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    return mul_div_up(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def w_mul_down(a: int, b: int) -> int:
    return mul_div_down(a, b, WAD)


def w_div_down(a: int, b: int) -> int:
    return mul_div_down(a, WAD, b)


def w_div_up(a: int, b: int) -> int:
    return mul_div_up(a, WAD, b)


def taylor_compounded(rate_wad: int, elapsed_s: int) -> int:
    """e^(rate * elapsed) - 1 (wad) to the third term, each rounded down. rate_wad: per second."""
    first = rate_wad * elapsed_s
    second = mul_div_down(first, first, 2 * WAD)
    third = mul_div_down(second, first, 3 * WAD)
    return first + second + third


def max_borrow(collateral_assets: int, price_e36: int, lltv_wad: int) -> int:
    """Largest healthy debt, in raw loan-token units; rounds down twice, as the contract does.

    price_e36: raw loan units per raw collateral unit, scaled by 1e36.
    """
    return w_mul_down(mul_div_down(collateral_assets, price_e36, ORACLE_PRICE_SCALE), lltv_wad)


def liquidation_incentive(lltv_wad: int) -> int:
    """What is seized per unit repaid (wad): min(1.15, 1 / (1 - 0.3 * (1 - lltv)))."""
    return min(
        _MAX_LIQUIDATION_INCENTIVE_WAD, w_div_down(WAD, WAD - w_mul_down(_LIQUIDATION_CURSOR_WAD, WAD - lltv_wad))
    )

"""What amounts are worth in a protocol's base currency. Integers; what we get rounds down, what we pay up."""

from __future__ import annotations

from keeper.core.types import Price
from keeper.core.units import mul_div_down, mul_div_up

NATIVE_DECIMALS = 18


def value_down(amount: int, decimals: int, price: Price, base_decimals: int) -> int:
    """Base-currency units of raw token units, rounded down. decimals: of the token."""
    return mul_div_down(amount * price.value, 10**base_decimals, 10 ** (decimals + price.decimals))


def value_up(amount: int, decimals: int, price: Price, base_decimals: int) -> int:
    """Base-currency units of raw token units, rounded up. decimals: of the token."""
    return mul_div_up(amount * price.value, 10**base_decimals, 10 ** (decimals + price.decimals))


def gas_value(cost_wei: int, native_price: Price, base_decimals: int) -> int:
    """Base-currency units that gas costs, rounded up."""
    return value_up(cost_wei, NATIVE_DECIMALS, native_price, base_decimals)


def wei_value(amount_base: int, native_price: Price, base_decimals: int) -> int:
    """Wei that base-currency units buy, rounded down."""
    scale = 10 ** (NATIVE_DECIMALS + native_price.decimals)
    return mul_div_down(amount_base, scale, native_price.value * 10**base_decimals)

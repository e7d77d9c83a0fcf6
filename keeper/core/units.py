"""Integer scales and divisions that name their rounding. All arguments are non-negative unless said."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation

WAD = 10**18
RAY = 10**27
BPS = 10_000
UINT256_MAX = 2**256 - 1

_EXACT = Context(prec=400)  # the default of 28 digits would round what a uint256 can hold


def mul_div_down(a: int, b: int, denominator: int) -> int:
    """a * b / denominator, rounded down."""
    return a * b // denominator


def mul_div_up(a: int, b: int, denominator: int) -> int:
    """a * b / denominator, rounded up."""
    return -(-a * b // denominator)


def div_up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def scale_decimal(text: str, decimals: int) -> int:
    """An exact decimal string as an integer with `decimals` digits after the point.

    Raises ValueError when the text is no finite decimal or has more digits than the scale can hold.
    """
    try:
        scaled = Decimal(text).scaleb(decimals, _EXACT)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number") from None
    if not scaled.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    if scaled != scaled.to_integral_value(context=_EXACT):
        raise ValueError(f"{text!r} has more than {decimals} digits after the point")
    return int(scaled)


def format_units(value: int, decimals: int, places: int | None = None) -> str:
    """An integer amount as a decimal string in whole units, exact; `places` truncates toward zero.

    >>> format_units(1_500_000, 6)
    '1.5'
    """
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    digits = digits.zfill(decimals + 1)
    whole, fraction = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    if places is not None:
        fraction = fraction[:places]
    fraction = fraction.rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"

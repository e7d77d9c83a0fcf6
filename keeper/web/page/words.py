"""What the templates say numbers, amounts and times with; the scripts' `format.js` says the same.

Pure. Whatever decides anything is cut, never rounded up: a health of 0.99996 is not shown as 1.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from urllib.parse import quote

from keeper.core.units import WAD, format_units

BAR_WIDTH = 200
_LOW, _HIGH = 0.9, 2.5
_MANY_DIGITS = 4


def health(wad: str | int | None, places: int = 4) -> str:
    """A health factor; None is a position that owes nothing."""
    if wad is None:
        return "no debt"
    whole, fraction = _split(str(wad), 18)
    if len(whole) > _MANY_DIGITS:
        return "> 9999"
    return f"{whole}.{fraction[:places].ljust(places, '0')}"


def exact(raw: str | int, decimals: int) -> str:
    """Raw units as a decimal with every digit that counts: what one pastes into a wallet."""
    return format_units(int(raw), decimals)


def units(raw: str | int | None, decimals: int, places: int = 2) -> str:
    """Raw units with thousands apart, cut to so many places."""
    if raw is None:
        return "–"
    whole, fraction = _split(str(raw), decimals)
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    kept = fraction[:places].ljust(places, "0") if places else ""
    return f"{sign}{int(digits):,}{'.' if kept else ''}{kept}"


def price(text: str | None) -> str:
    """A decimal price, cut to what a person compares: four places, or four digits of a small one."""
    if text is None:
        return "–"
    whole, _, fraction = text.partition(".")
    zeros = len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0
    kept = fraction[: zeros + 4].rstrip("0")
    return f"{int(whole):,}{'.' if kept else ''}{kept}"


def count(number: int) -> str:
    return f"{number:,}"


def percent(fraction: str | float, places: int = 2) -> str:
    value = float(fraction) * 100
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{abs(value):.{places}f}\u202f%"


def short(text: str | None) -> str:
    """An address or a hash, abbreviated."""
    if text is None:
        return "–"
    return f"{text[:6]}…{text[-4:]}" if len(text) > 14 else text


def utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def place(wad: str | int | None) -> str:
    """Where a health stands on a bar of BAR_WIDTH: logarithmic, so that the last percents before a breach have room."""
    if wad is None:
        return f"{BAR_WIDTH:.1f}"
    share = math.log(max(int(wad) / WAD, 1e-9) / _LOW) / math.log(_HIGH / _LOW)
    return f"{min(1.0, max(0.0, share)) * BAR_WIDTH:.1f}"


def segment(text: str) -> str:
    """As one segment of a path."""
    return quote(text, safe="")


def _split(raw: str, decimals: int) -> tuple[str, str]:
    sign, digits = ("-", raw[1:]) if raw.startswith("-") else ("", raw)
    digits = digits.rjust(decimals + 1, "0")
    return sign + digits[: len(digits) - decimals], digits[len(digits) - decimals :] if decimals else ""


FILTERS = {
    "health": health,
    "exact": exact,
    "units": units,
    "price": price,
    "count": count,
    "percent": percent,
    "short": short,
    "utc": utc,
    "iso": iso,
    "place": place,
    "segment": segment,
}

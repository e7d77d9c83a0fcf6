"""Amounts, moments and names in words."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import format_units

_LONGEST_SYMBOL = 16
_SUFFIXED = re.compile(r"[^.]+(\.[A-Za-z])?")  # USDC.e, but nothing that ends like a host name
_SAME_WAD = 5 * 10**14  # a health that moved by less than 0.0005 did not move


def clean_symbol(symbol: str) -> str:
    """A token's symbol, safe to put before a person: whoever deployed the token chose it.

    No control, direction or combining characters, nothing that markdown, HTML or mentions react to, nothing that a chat
    would turn into a link, and no longer than 16 characters. "token" when nothing is left.
    """
    folded = unicodedata.normalize("NFKC", symbol)
    kept = "".join(char for char in folded if char in "+-." or unicodedata.category(char)[0] in "LN" or char == "₮")
    short = kept[:_LONGEST_SYMBOL].strip("-.")
    if not _SUFFIXED.fullmatch(short):
        short = short.replace(".", "-")
    return short or "token"


# --- numbers ----------------------------------------------------------------------------------------------------------


def four_places(factor_wad: int) -> str:
    """Truncated toward minus infinity: a health just below 1 must not read 1.0000."""
    tenthousandths = factor_wad // 10**14
    whole, fraction = divmod(abs(tenthousandths), 10**4)
    return f"{'-' if tenthousandths < 0 else ''}{whole}.{fraction:04d}"


def health(factor_wad: int | str | None) -> str:
    """A health factor as tables show it, never higher than it is; None is a position that owes nothing."""
    return "∞" if factor_wad is None else four_places(int(factor_wad))


def percent(ratio_wad: int) -> str:
    """A ratio as a percentage of one place, truncated: 0.0625 is 6.2 %."""
    return f"{format_units(ratio_wad, 16, 1)} %"


def times(ratio_wad: int) -> str:
    return f"{format_units(ratio_wad, 18, 2)}x"


def amount(assets: int, decimals: int, symbol: str) -> str:
    """Raw token units in whole ones, exact: who pays this much pays enough."""
    return f"{_grouped(format_units(assets, decimals))} {clean_symbol(symbol)}"


def value(units: int, decimals: int, currency: str) -> str:
    """Base currency units, truncated to cents, or to three significant digits of what is less than one."""
    sign, size = ("-" if units < 0 else ""), abs(units)
    whole = size // 10**decimals
    places = 2 if whole else max(2, decimals - len(str(size)) + 3)
    shown = _grouped(format_units(size, decimals, places))
    if shown[-2:-1] == ".":
        shown += "0"  # cents come in two digits
    return f"{sign}{shown} {clean_symbol(currency)}" if currency else f"{sign}{shown}"


def _grouped(decimal: str) -> str:
    whole, point, fraction = decimal.partition(".")
    return f"{int(whole):,}{point}{fraction}"


# --- moments ----------------------------------------------------------------------------------------------------------


def when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """In the largest unit of which there is more than one, rounded down."""
    whole = max(int(seconds), 0)
    for unit, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if whole >= 2 * unit:
            return f"{whole // unit} {name}"
    return "1 second" if whole == 1 else f"{whole} seconds"


def is_same(factor_wad: int | None, other_wad: int | None) -> bool:
    """Whether nobody could see that a health moved. None: nothing is owed."""
    if factor_wad is None or other_wad is None:
        return factor_wad is other_wad
    return abs(factor_wad - other_wad) < _SAME_WAD


def trend(factor_wad: int, before_wad: int | None, seconds: float) -> str:
    """Where a health came from."""
    if before_wad is None:
        return f"nothing was owed {duration(seconds)} ago"
    if is_same(factor_wad, before_wad):
        return f"the same as {duration(seconds)} ago"
    moved = factor_wad - before_wad
    return f"{'rising' if moved > 0 else 'falling'}, from {four_places(before_wad)} {duration(seconds)} ago"


# --- what can be done, and what breaks a position ---------------------------------------------------------------------


def demand_words(demand: Demand, worth: str | None) -> str:
    """worth: what it is worth, in words."""
    much = amount(demand.amount, demand.decimals, demand.symbol) + (f" (about {worth})" if worth else "")
    match demand.action:
        case "add_collateral":
            return f"add {much} as collateral"
        case "repay":
            return f"repay {much}"
        case other:
            return f"{other.replace('_', ' ')} {much}"


def _price(value: int, decimals: int) -> str:
    """Exact where a feed has so few decimals that it can be read; else its first eight digits, but all before the
    point, truncated toward the side on which the position is open."""
    if decimals <= 8:
        return format_units(value, decimals)
    return format_units(value, decimals, max(8 - (len(str(value)) - decimals), 0))


def breach_words(breach: BreachPrice, currency: str, sigmas: float | None) -> str:
    """sigmas: how many standard deviations of one day the move is."""
    price = _grouped(_price(breach.price, breach.decimals))
    move = f"{'+' if breach.move_bps > 0 else ''}{format_units(breach.move_bps, 2)} %"
    away = "" if sigmas is None else f", {sigmas:.1f} daily sigmas"
    return f"{clean_symbol(breach.symbol)} at {price} {clean_symbol(currency) if currency else ''}".rstrip() + (
        f" ({move}{away})"
    )

"""The liquidation ladder: what each step of falling prices would open to liquidation, by asset. Floats, for display."""

from __future__ import annotations

from typing import Any

import numpy as np

from keeper.core.ports import Solvent
from keeper.core.types import Block
from keeper.core.units import BPS, format_units
from keeper.evaluator.columns import Floats
from keeper.protocols.addresses import checksummed
from keeper.queries.live.book import LiveBook

Json = dict[str, Any]

MOVES_BPS = (*(-100 * step for step in range(1, 11)), *(-100 * step for step in range(15, 65, 5)))
"""One percent at a time down to ten, then five at a time down to sixty."""

EVERYTHING = "*"
_SHIFT = 2  # an adapter's slot 0 is ours 2, as in `columns`


def ladder(books: list[LiveBook], block: Block) -> list[Json]:
    """By protocol and asset: cumulative, beyond what is open already. What is volatile all together comes first."""
    return [row for book in books if book.ready and len(book) for row in _of(book, block.timestamp)]


def _of(book: LiveBook, now: int) -> list[Json]:
    adapter, held = book.adapter, book.book
    vector = book.vector(now)
    follows = adapter.follows(held.market)
    collateral, requirement = book.totals(vector)
    values = np.nan_to_num(collateral * book.worth(0)), np.nan_to_num(requirement * book.worth(1))
    values = np.where(np.isinf(values[0]), 0.0, values[0]), values[1]
    open_now = _open(collateral, requirement)
    rows = []
    if isinstance(adapter, Solvent):
        steps = []
        for move in MOVES_BPS:
            moved = adapter.moved(held.market, held.prices, move)
            sums = book.totals(_vector(book, moved, now))
            steps.append(_step(move, _open(*sums) & ~open_now, values, None))
        rows.append(_row(book, EVERYTHING, None, None, float(values[0].sum()), steps))
    for asset in dict.fromkeys(asset for asset in follows if asset is not None):
        slots = np.array([place for place, one in enumerate(follows) if one == asset], np.intp) + _SHIFT
        held_value = _held(book, vector, slots)
        if held_value <= 0:
            continue
        price = held.prices.get(asset)
        steps = []
        for move in MOVES_BPS:
            moved_vector = vector.copy()
            moved_vector[slots] *= 1 + move / BPS
            sums = book.totals(moved_vector)
            at = None if price is None else format_units(price.value * (BPS + move) // BPS, price.decimals)
            steps.append(_step(move, _open(*sums) & ~open_now, values, at))
        if any(step["positions"] for step in steps) or held_value > 0:
            shown = None if price is None else format_units(price.value, price.decimals)
            rows.append(_row(book, _name(asset), asset, shown, held_value, steps))
    return rows


def _vector(book: LiveBook, prices: Any, now: int) -> Floats:
    from keeper.evaluator.columns import vector_of

    return vector_of(book.adapter.factors(book.book.market, prices, now))


def _open(collateral: Floats, requirement: Floats) -> Any:
    with np.errstate(invalid="ignore"):
        return collateral < requirement


def _held(book: LiveBook, vector: Floats, slots: Any) -> float:
    """Value of all collateral that follows these slots, in whole base units."""
    only = np.zeros_like(vector)
    only[slots] = np.nan_to_num(vector[slots])
    collateral, _ = book.totals(only)
    return float(np.nansum(collateral * book.worth(0)))


def _step(move: int, opened: Any, values: tuple[Floats, Floats], price: str | None) -> Json:
    return {
        "move": format_units(move, 4),
        "price": price,
        "positions": int(np.count_nonzero(opened)),
        "collateral_value": round(float(values[0][opened].sum()), 2),
        "debt_value": round(float(values[1][opened].sum()), 2),
    }


def _row(
    book: LiveBook, name: str, asset: bytes | None, price: str | None, collateral_value: float, steps: list[Json]
) -> Json:
    adapter, market = book.adapter, book.book.market
    token = None if asset is None else adapter.token(market, asset)
    symbol = "all volatile assets" if asset is None else name[:10] if token is None else token.symbol
    return {
        "protocol": adapter.name,
        "asset": name,
        "symbol": symbol,
        "price": price,
        "currency": adapter.currency(market),
        "collateral_value": round(collateral_value, 2),
        "steps": steps,
    }


def _name(asset: bytes) -> str:
    return checksummed(asset) if len(asset) == 20 else "0x" + asset.hex()

"""By how much each price moves a position's health, and so how volatile that health is.

With C the collateral and R the requirement as sums of weight × factor (`Linear`), the log health moves by
Σ w_a · (log return of asset a), where w_a is the share in C of the factors that follow the price of a, less their share
in R. Shares are taken at the prices of the last whole bar, so that within a bar they change with interest alone:
`spans.MARGIN` is far more than that can move a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Linear, Prices
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.columns import Columns, Rows, Side
from keeper.evaluator.volatility import (
    BAR_S,
    BARS_PER_DAY,
    RETURN_BARS,
    SHORT_BARS,
    Floats,
    Volatility,
    equilibrium,
    log_price,
)

PARITY = 0.03  # prices nearer than this are presumed to be pegged to one another
_SHIFT = 2  # an adapter's slot 0 is ours 2, as in `columns`
_CHUNK = 4_096
_DUST = 1e-9  # of an exposure, that is none
_TREMBLING = 0.1  # of the variance of four-hour returns, that counts whatever trembles

Weights = Mapping[int, float]
"""Exposure by place of an asset."""


class Movements:
    """What one state of the volatility says about the assets of one market.

    assets: those that some factor follows, sorted. slots: by slot of ours, the place of the asset it follows, or -1.
    """

    def __init__(self, rule: Adaptive, volatility: Volatility, adapter: ProtocolAdapter[Any, Any], market: Any) -> None:
        self.rule = rule
        follows = adapter.follows(market)
        self.assets = tuple(sorted({asset for asset in follows if asset is not None}))
        places = {asset: place for place, asset in enumerate(self.assets)}
        self.slots = np.array([-1] * _SHIFT + [-1 if asset is None else places[asset] for asset in follows], np.intp)
        known = np.array([volatility.places.get(asset, -1) for asset in self.assets], np.intp)
        self.last: Floats = np.append(volatility.closes[-1], np.nan)[known]  # log prices at which shares are taken
        self._data = np.pad(volatility.data, ((0, 0), (0, 1)))[:, known]
        self._kin = _kin([_symbol(adapter, market, asset) for asset in self.assets])
        self._moments, self._short = (_of(moments, known) for moments in (volatility.moments, volatility.short))
        if rule.parkinson:
            self._use_ranges(np.pad(volatility.ranges, ((0, 0), (0, 1)))[:, known])
        whole = np.array([equilibrium(memory) for memory in volatility.memories_s])
        blank = np.concatenate((volatility.blank, whole[:, None]), axis=1)[:, known]
        self._prior = blank * np.minimum(1.0, rule.prior_s / BAR_S / whole)[:, None]

    def sigmas(self, places: NDArray[np.intp], weights: Floats) -> Floats:
        """Volatility of log health per square root of a day (memories × positions).

        weights: positions × these places. What was observed is as old as the youngest asset in it; the presumption
        fills what is missing.
        """
        weights = np.where(np.abs(weights) < _DUST, 0.0, weights)
        used: NDArray[np.bool_] = np.asarray(weights != 0, np.bool_)
        observed = self._observed(places, weights)
        data = np.where(used, self._data[:, None, places], np.inf).min(axis=2, initial=np.inf)
        data = np.where(np.isfinite(data), data, 0.0)
        prior = np.where(used, self._prior[:, None, places], 0.0).max(axis=2, initial=0.0)
        variances = self.rule.prior_variance_day(pegged=True), self.rule.prior_variance_day(pegged=False)
        presumed = np.where(self._pegged(places, used), *variances)
        weight = data + prior
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (observed * data + prior * presumed) / weight
        return np.asarray(np.sqrt(np.where(weight > 0, found, 0.0)), np.float64)

    def _observed(self, places: NDArray[np.intp], weights: Floats) -> Floats:
        """Variance per day that was seen (memories × positions), without what trembles but goes nowhere.

        With s² of trembling, returns over n bars have n σ² + 2 s²; from two n follows σ². But for a remainder, since a
        price that trembles may do so more than it did.
        """
        data = self._data[:, places]
        both = np.minimum(data[:, :, None], data[:, None, :])  # two are seen together since the younger is seen
        long, short = (_quadratic(moments, both, places, weights) for moments in (self._moments, self._short))
        steady = (RETURN_BARS * long - SHORT_BARS * short) / (RETURN_BARS - SHORT_BARS)
        return np.maximum(steady, _TREMBLING * np.clip(long, 0.0, None)) * BARS_PER_DAY

    def _use_ranges(self, ranges: Floats) -> None:
        """Take each asset's variance from its ranges, and correlations from its closes."""
        paired = self._moments.ndim == 3
        own = np.einsum("mii->mi", self._moments) if paired else self._moments
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(own > 0, np.sqrt(ranges / own), 1.0)
        scale = ratio[:, :, None] * ratio[:, None, :] if paired else ratio**2
        self._moments, self._short = self._moments * scale, self._short * scale

    def _pegged(self, places: NDArray[np.intp], used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which positions hold and owe what is presumed to be worth the same: by price, or named as one family.

        Of a single asset the other side is what it is priced in: then its price is near 1.
        """
        several = used.sum(axis=1) > 1
        kin, near = self._kin[places][None, :], self.last[places][None, :]
        same = np.where(used, kin, np.inf).min(axis=1, initial=np.inf)
        named = (same > 0) & (same == np.where(used, kin, -np.inf).max(axis=1, initial=-np.inf))
        low = np.where(used, near, np.inf).min(axis=1, initial=np.inf)  # NaN, a price unknown, is near nothing
        high = np.where(used, near, -np.inf).max(axis=1, initial=-np.inf)
        spread = np.where(several, high - low, np.abs(high))
        return np.asarray((several & named) | (spread < PARITY), np.bool_)


class Exposures:
    """The exposures of every position of a market at one block."""

    def __init__(self, movements: Movements, factors: Sequence[float], prices: Prices) -> None:
        """factors: of the market, at these prices."""
        self._movements = movements
        present = np.array([log_price(prices.get(asset)) for asset in movements.assets])
        moved = np.append(np.exp(np.nan_to_num(movements.last - present)), 1.0)  # back to the end of the last bar
        self._value: Floats = np.concatenate(([0.0, np.nan], np.asarray(factors, np.float64)))
        self._value *= moved[movements.slots]

    def sigmas(self, linear: Linear) -> Floats | None:
        """Volatility of a position's log health per square root of a day, by memory; None when something in it has no
        price."""
        held, owed = self._side(linear.collateral), self._side(linear.requirement)
        if held is None or owed is None:
            return None
        places = sorted(held.keys() | owed.keys())
        weights = np.array([[held.get(place, 0.0) - owed.get(place, 0.0) for place in places]])
        found: Floats = self._movements.sigmas(np.array(places, np.intp), weights)[:, 0]
        return found

    def sigma_of_price(self, asset: bytes) -> float | None:
        """Volatility of one price per square root of a day, by the memory that sees the most; None for one unknown."""
        assets = self._movements.assets
        if asset not in assets:
            return None
        return float(self._movements.sigmas(np.array([assets.index(asset)], np.intp), np.ones((1, 1))).max())

    def distances_of_rows(self, columns: Columns, rows: Rows) -> Floats:
        """Log distances of the call lines of these rows; NaN where something has no price.

        Most rows have one asset on each side, and there are far fewer such pairs than rows.
        """
        held, owed = columns.collateral, columns.requirement
        simple = (held.room_of(rows) == 0) & (owed.room_of(rows) == 0)
        found = np.empty(len(rows))
        pairs = held.slot[rows[simple]] * len(self._value) + owed.slot[rows[simple]]
        _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
        found[simple] = self._distances(columns, rows[simple][first])[inverse]
        many = np.flatnonzero(~simple)
        for begin in range(0, len(many), _CHUNK):
            part = many[begin : begin + _CHUNK]
            found[part] = self._distances(columns, rows[part])
        return found

    def _distances(self, columns: Columns, rows: Rows) -> Floats:
        sides = [self._entries(side, rows) for side in (columns.collateral, columns.requirement)]
        places = np.unique(np.concatenate([self._movements.slots[slots] for _, slots, _ in sides]))
        places = places[places >= 0]
        held, owed = (self._shares(entries, len(rows), places) for entries in sides)
        weights = held - owed
        unknown: NDArray[np.bool_] = np.asarray(np.isnan(weights).any(axis=1), np.bool_)
        rule = self._movements.rule
        sigmas = self._movements.sigmas(places, np.where(unknown[:, None], 0.0, weights))
        return np.where(unknown, np.nan, rule.distances(sigmas))

    def _side(self, entries: Sequence[tuple[int, float]]) -> dict[int, float] | None:
        """Shares by place; None without a price, or without anything."""
        total, shares = 0.0, dict[int, float]()
        for slot, weight in entries:
            amount = weight * float(self._value[slot + _SHIFT])
            total += amount
            place = int(self._movements.slots[slot + _SHIFT])
            if place >= 0:
                shares[place] = shares.get(place, 0.0) + amount
        return {place: share / total for place, share in shares.items()} if total > 0 else None  # NaN is not above 0

    @staticmethod
    def _entries(side: Side, rows: Rows) -> tuple[Rows, Rows, Floats]:
        """Every entry of these rows: the position of its row, its slot and its weight."""
        position, entry = side.entries_of(rows)
        return (
            np.concatenate((np.arange(len(rows)), position)),
            np.concatenate((side.slot[rows], side.more_slot[entry])),
            np.concatenate((side.weight[rows], side.more_weight[entry])),
        )

    def _shares(self, entries: tuple[Rows, Rows, Floats], rows: int, places: NDArray[np.intp]) -> Floats:
        """Shares by row and place of `places`; NaN without a price, or without anything."""
        position, slots, weights = entries
        amounts = self._value[slots] * weights
        totals = np.zeros(rows)
        np.add.at(totals, position, amounts)
        followed = self._movements.slots[slots]
        counts = followed >= 0
        shares = np.zeros((rows, len(places)))
        np.add.at(shares, (position[counts], np.searchsorted(places, followed[counts])), amounts[counts])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(totals[:, None] > 0, shares / totals[:, None], np.nan)


_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "ETH": ("ETH",),
    "BTC": ("BTC",),
    "USD": ("USD", "DAI", "GHO", "FRAX", "MIM"),
    "EUR": ("EUR",),
}


def family(symbol: str) -> str:
    """What a token is presumed to follow, by its symbol (wstETH, USDC.e); empty when it names nothing known.

    A presumption that the first days of prices outweigh, however a token calls itself.
    """
    upper = symbol.upper()
    named = [name for name, parts in _FAMILIES.items() if any(part in upper for part in parts)]
    return named[0] if len(named) == 1 else ""


def _of(moments: Floats, places: NDArray[np.intp]) -> Floats:
    """The moments of these assets; -1 is one that nobody saw yet."""
    padded = np.pad(moments, ((0, 0), (0, 1), (0, 1))[: moments.ndim])
    return padded[:, places[:, None], places[None, :]] if moments.ndim == 3 else padded[:, places]


def _quadratic(moments: Floats, both: Floats, places: NDArray[np.intp], weights: Floats) -> Floats:
    """Mean square per bar (memories × positions) of what weights (positions × places) make of the returns."""
    if moments.ndim == 3:
        chosen = moments[:, places[:, None], places[None, :]]
    else:
        chosen = moments[:, places, None] * np.eye(len(places))
    mean = np.where(both > 0, chosen / np.where(both > 0, both, 1.0), 0.0)
    return np.stack([np.einsum("pi,pi->p", weights @ one, weights) for one in mean])


def _symbol(adapter: ProtocolAdapter[Any, Any], market: Any, asset: bytes) -> str:
    token = adapter.token(market, asset)
    return "" if token is None else token.symbol


def _kin(symbols: Sequence[str]) -> Floats:
    """A number for each family, 0 for none."""
    families = [family(symbol) for symbol in symbols]
    names = sorted(set(families) - {""})
    return np.array([1.0 + names.index(name) if name else 0.0 for name in families])

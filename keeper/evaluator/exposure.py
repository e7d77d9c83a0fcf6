"""By how much each asset's price moves a position's health, and so how volatile that health is.

With C the collateral and R the requirement as sums of weight × factor (`Linear`), the log health moves by
Σ w_a · (log return of asset a), where w_a is the share in C of what follows the price of a, less its share in R. Which
factors follow which price is found by asking the adapter for its factors at other prices: no adapter has to say so.

Shares are taken at the prices of the last whole bar, so that within a bar they change with interest alone: `MARGIN` is
far more than that can move a line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Linear, Price, Prices
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.columns import Columns, Rows, Side
from keeper.evaluator.volatility import BAR_S, BARS_PER_DAY, Floats, Volatility, equilibrium, log_price

MARGIN = 1e-3  # relative: how far a line may move until the next bar, far above what floats and interest can do
PARITY = 0.03  # prices nearer than this are presumed to be pegged to one another
_SHIFT = 2  # an adapter's slot 0 is ours 2, as in `columns`
_CHUNK = 4_096


@dataclass(frozen=True, slots=True)
class Structure:
    """What of a market decides which factor follows which price. elasticities: slots × assets."""

    assets: tuple[bytes, ...]
    elasticities: NDArray[np.float64]
    families: tuple[str, ...]

    @classmethod
    def of(cls, adapter: ProtocolAdapter[Any, Any], market: Any, assets: Sequence[bytes], now: int) -> Structure:
        base = {asset: Price(10**8, 8) for asset in assets}
        plain = _logs(adapter.factors(market, base, now))
        columns = []
        for asset in assets:
            doubled = _logs(adapter.factors(market, {**base, asset: Price(2 * 10**8, 8)}, now))
            columns.append(np.nan_to_num((doubled - plain) / math.log(2), posinf=0.0, neginf=0.0))
        tokens = [adapter.token(market, asset) for asset in assets]
        families = tuple("" if token is None else family(token.symbol) for token in tokens)
        elasticities = np.array(columns).T if columns else np.zeros((len(plain), 0))
        return cls(tuple(assets), elasticities, families)


class Movements:
    """What one state of the volatility says about the assets of one market, in the order of its structure."""

    def __init__(self, rule: Adaptive, volatility: Volatility, structure: Structure) -> None:
        self.rule = rule
        self.structure = structure
        names = sorted(set(structure.families) - {""})
        self._kin = np.array([1.0 + names.index(name) if name else 0.0 for name in structure.families])
        places = volatility.places
        known = np.array([places.get(asset, -1) for asset in structure.assets], np.intp)
        self.last: Floats = np.append(volatility.closes[-1], np.nan)[known]  # log prices at which shares are taken
        moments = np.pad(volatility.moments, ((0, 0), (0, 1), (0, 1)))[:, known[:, None], known[None, :]]
        if rule.parkinson:
            own = np.einsum("mii->mi", moments)
            ranges = np.pad(volatility.ranges, ((0, 0), (0, 1)))[:, known]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(own > 0, np.sqrt(ranges / own), 1.0)
            moments = moments * ratio[:, :, None] * ratio[:, None, :]
        self._data = np.pad(volatility.data, ((0, 0), (0, 1)))[:, known]
        both = np.minimum(self._data[:, :, None], self._data[:, None, :])  # seen together since the younger is seen
        self._variance = np.where(both > 0, moments / np.where(both > 0, both, 1.0), 0.0) * BARS_PER_DAY
        whole = np.array([equilibrium(memory) for memory in volatility.memories_s])
        blank = np.concatenate((volatility.blank, whole[:, None]), axis=1)[:, known]
        self._prior = blank * np.minimum(1.0, rule.prior_s / BAR_S / whole)[:, None]

    def sigmas(self, weights: Floats) -> Floats:
        """Volatility of log health per square root of a day (memories × positions) of weights (positions × assets).

        What was observed is as old as the youngest asset in it; the presumption fills what is missing.
        """
        weights = np.where(np.abs(weights) < 1e-9, 0.0, weights)
        used: NDArray[np.bool_] = np.asarray(weights != 0, np.bool_)
        observed = np.stack([np.einsum("pi,pi->p", weights @ variance, weights) for variance in self._variance])
        data = np.where(used, self._data[:, None, :], np.inf).min(axis=2, initial=np.inf)
        data = np.where(np.isfinite(data), data, 0.0)
        prior = np.where(used, self._prior[:, None, :], 0.0).max(axis=2, initial=0.0)
        variances = self.rule.prior_variance_day(pegged=True), self.rule.prior_variance_day(pegged=False)
        presumed = np.where(self._pegged(used), *variances)
        weight = data + prior
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = (np.clip(observed, 0.0, None) * data + prior * presumed) / weight
        return np.asarray(np.sqrt(np.where(weight > 0, variance, 0.0)), np.float64)

    def _pegged(self, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which positions hold and owe what is presumed to be worth the same: by price, or named as one family."""
        several = used.sum(axis=1) > 1
        kin, near = self._kin[None, :], self.last[None, :]
        same = np.where(used, kin, np.inf).min(axis=1, initial=np.inf)
        named = (same > 0) & (same == np.where(used, kin, -np.inf).max(axis=1, initial=-np.inf))
        low = np.where(used, near, np.inf).min(axis=1, initial=np.inf)  # NaN, a price unknown, is near nothing
        high = np.where(used, near, -np.inf).max(axis=1, initial=-np.inf)
        return np.asarray(several & (named | (high - low < PARITY)), np.bool_)


class Exposures:
    """The exposures of every position of a market at one block."""

    def __init__(self, movements: Movements, factors: Sequence[float], prices: Prices) -> None:
        """factors: of the market, at these prices."""
        self._movements = movements
        structure = movements.structure
        present = np.array([log_price(prices.get(asset)) for asset in structure.assets])
        reference = np.where(np.isnan(movements.last), present, movements.last)
        moved = np.exp(structure.elasticities @ np.nan_to_num(reference - present))
        self._value = np.concatenate(([0.0, np.nan], np.asarray(factors, np.float64) * moved))
        self._elasticity = np.pad(structure.elasticities, ((_SHIFT, 0), (0, 0)))

    def sigmas(self, linear: Linear) -> Floats | None:
        """Volatility of a position's log health per square root of a day, by memory; None when something in it has no
        price."""
        held, owed = self._side(linear.collateral), self._side(linear.requirement)
        if held is None or owed is None:
            return None
        found: Floats = self._movements.sigmas((held - owed)[np.newaxis])[:, 0]
        return found

    def distances_of_rows(self, columns: Columns, rows: Rows) -> Floats:
        """Log distances of the call lines of these rows; where something has no price, the widest there is.

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
        weights = self._side_of_rows(columns.collateral, rows) - self._side_of_rows(columns.requirement, rows)
        unknown: NDArray[np.bool_] = np.asarray(np.isnan(weights).any(axis=1), np.bool_)
        sigmas = self._movements.sigmas(np.where(unknown[:, None], 0.0, weights))
        rule = self._movements.rule
        return np.where(unknown, math.log(rule.widest), rule.distances(sigmas))

    def _side(self, entries: Sequence[tuple[int, float]]) -> Floats | None:
        total, shares = 0.0, np.zeros(self._elasticity.shape[1])
        for slot, weight in entries:
            amount = weight * self._value[slot + _SHIFT]
            total += amount
            shares += amount * self._elasticity[slot + _SHIFT]
        return shares / total if total > 0 else None  # NaN is not above 0

    def _side_of_rows(self, side: Side, rows: Rows) -> Floats:
        slots = side.slot[rows]
        amounts = self._value[slots] * side.weight[rows]
        totals, shares = amounts.copy(), amounts[:, None] * self._elasticity[slots]
        position, entry = side.entries_of(rows)
        if len(entry):
            slots = side.more_slot[entry]
            more = self._value[slots] * side.more_weight[entry]
            np.add.at(totals, position, more)
            np.add.at(shares, position, more[:, None] * self._elasticity[slots])
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


def _logs(values: Sequence[float]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.asarray(values, np.float64))

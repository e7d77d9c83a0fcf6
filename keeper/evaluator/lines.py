"""The lines of every position of one market: one set for all, or each its own by how volatile its health is.

A position's lines are a function of its own state, the market, the prices and the state of the volatility, so nothing
here has to survive a restart but that last one. For the screen, each row has a bound that its line does not exceed
until the next bar: the widest line until somebody looked closer (`refine`), then its own and a margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Book
from keeper.core.units import WAD
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Columns, Floats, Rows
from keeper.evaluator.exposure import Exposures, Movements
from keeper.evaluator.probability import breach_probability, days_until
from keeper.evaluator.screen import Mask
from keeper.evaluator.spans import MARGIN, Spans
from keeper.evaluator.volatility import Volatility

Adapter = ProtocolAdapter[Any, Any]

_DAY_S = 86_400
_GRID = 1e-4  # lines are multiples of it (`adaptive.lines_at`)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How likely a breach is, without drift and without jumps.

    sigma_day: volatility of log health per square root of a day. probability: to breach within the horizon.
    crosses_s: the horizon within which that probability reaches the threshold, by which a position is called; None:
        never.
    """

    sigma_day: float
    horizon_s: int
    probability: float
    threshold: float
    crosses_s: float | None


class Lines:
    """rule: by health alone, or adaptive."""

    def __init__(self, rule: BandRules | Adaptive) -> None:
        self.rule = rule
        self.volatility: Volatility | None = None
        self._movements: Movements | None = None
        self._exposures: tuple[tuple[Any, Any, int], Exposures] | None = None
        self._bounds: Floats = np.zeros(0)
        self._distances: Floats = np.zeros(0)
        self._rough: Mask = np.zeros(0, np.bool_)

    @property
    def adapt(self) -> bool:
        return isinstance(self.rule, Adaptive)

    @property
    def nominal(self) -> BandRules:
        """What holds for every position, or is presumed of one before anything was observed."""
        return self.rule.presumed if isinstance(self.rule, Adaptive) else self.rule

    def observe(self, volatility: Volatility | None) -> None:
        """Another state of the volatility."""
        self.volatility, self._movements, self._exposures = volatility, None, None
        self._bounds, self._distances, self._rough = np.zeros(0), np.zeros(0), np.zeros(0, np.bool_)

    def restructure(self) -> None:
        """Another market: weights, factors or rows are others."""
        self.observe(self.volatility)

    def rewritten(self, row: int) -> None:
        """A row holds something else now."""
        if row < len(self._rough) and isinstance(self.rule, Adaptive):
            self._bounds[row], self._rough[row] = self.rule.widest, True

    # --- one position

    def of(self, adapter: Adapter, book: Book[Any, Any], key: bytes, now: int) -> BandRules:
        """The lines of a position; those presumed when it is gone, owes nothing, or has no price."""
        return self.known(adapter, book, key, now) or self.nominal

    def known(self, adapter: Adapter, book: Book[Any, Any], key: bytes, now: int) -> BandRules | None:
        """The lines of a position; None where `of` presumes."""
        if not isinstance(self.rule, Adaptive):
            return self.rule
        sigmas = self.sigmas(adapter, book, key, now)
        return None if sigmas is None else self.rule.rules(sigmas)

    def sigmas(self, adapter: Adapter, book: Book[Any, Any], key: bytes, now: int) -> Floats | None:
        """Volatility of its log health per square root of a day, by memory; None when that is not known."""
        position = book.positions.get(key)
        if not self.adapt or self.volatility is None or book.market is None or position is None:
            return None
        return self._at(adapter, book, now).sigmas(adapter.linear(book.market, position))

    def sigmas_of_assets(
        self, adapter: Adapter, book: Book[Any, Any], assets: Sequence[bytes], now: int
    ) -> dict[bytes, float]:
        """Volatility of the price of each of these assets per square root of a day, by the memory that sees the most;
        without those of which nothing is known."""
        if not self.adapt or self.volatility is None or book.market is None or not assets:
            return {}
        exposures = self._at(adapter, book, now)
        found = ((asset, exposures.sigma_of_price(asset)) for asset in assets)
        return {asset: sigma for asset, sigma in found if sigma}

    def outlook(self, adapter: Adapter, book: Book[Any, Any], key: bytes, now: int, factor_wad: int) -> Outlook | None:
        """How likely a position of this health breaches; None when its volatility is not known."""
        sigmas = self.sigmas(adapter, book, key, now)
        if sigmas is None or not isinstance(self.rule, Adaptive) or factor_wad <= 0:
            return None
        sigma, distance = float(sigmas.max()), math.log(factor_wad / WAD)
        days = days_until(self.rule.probability, distance, sigma)
        return Outlook(
            sigma_day=sigma,
            horizon_s=self.rule.horizon_s,
            probability=breach_probability(distance, sigma, self.rule.horizon_s / _DAY_S),
            threshold=self.rule.probability,
            crosses_s=None if math.isinf(days) else days * _DAY_S,
        )

    # --- every row

    def bounds(self, columns: Columns) -> float | Floats:
        """A health that the call line of no position exceeds, or of each row."""
        if not isinstance(self.rule, Adaptive):
            return self.rule.call_wad / WAD
        if self.volatility is None:
            return self.nominal.call_wad / WAD
        missing = columns.rows - len(self._bounds)
        if missing > 0:
            self._bounds = np.append(self._bounds, np.full(missing, self.rule.widest + _GRID))
            self._distances = np.append(self._distances, np.full(missing, np.nan))
            self._rough = np.append(self._rough, np.ones(missing, np.bool_))
        return self._bounds

    def refine(self, adapter: Adapter, book: Book[Any, Any], columns: Columns, rows: Rows, now: int) -> bool:
        """Look closer at these rows, where nobody did since the last bar; whether any bound changed."""
        if not self.adapt or self.volatility is None:
            return False
        rough = rows[self._rough[rows]]
        if not len(rough):
            return False
        distances = self._at(adapter, book, now).distances_of_rows(columns, rough)
        widest = math.log(self.rule.widest) if isinstance(self.rule, Adaptive) else 0.0
        self._bounds[rough] = np.exp(np.where(np.isnan(distances), widest, distances)) * (1 + MARGIN) + _GRID
        self._distances[rough] = distances
        self._rough[rough] = False
        return True

    def spans(self, adapter: Adapter, book: Book[Any, Any], columns: Columns, rows: Rows, now: int) -> Spans:
        """The lines of these rows; NaN where nobody knows them."""
        if not isinstance(self.rule, Adaptive):
            return Spans.fixed(self.rule, rows.shape)
        if self.volatility is None:
            return Spans.fixed(self.nominal, rows.shape)
        self.bounds(columns)
        self.refine(adapter, book, columns, rows, now)
        return Spans.at(self._distances[rows])

    def _at(self, adapter: Adapter, book: Book[Any, Any], now: int) -> Exposures:
        assert self.volatility is not None
        assert isinstance(self.rule, Adaptive)
        moment = (book.market, book.prices, now)
        held = self._exposures
        if held is not None and held[0][0] is moment[0] and held[0][1] is moment[1] and held[0][2] == now:
            return held[1]
        if self._movements is None:
            self._movements = Movements(self.rule, self.volatility, adapter, book.market)
        factors = adapter.factors(book.market, book.prices, now)
        exposures = Exposures(self._movements, factors, book.prices)
        self._exposures = (moment, exposures)
        return exposures


def sigmas_away(distance: float, sigmas_day: Sequence[float] | Floats) -> float | None:
    """How many daily standard deviations a log distance is, by the memory that sees the most; None if nothing moves."""
    most = max(sigmas_day, default=0.0)
    return None if most <= 0 else math.fabs(distance) / float(most)

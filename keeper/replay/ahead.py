"""At which moments a position may change its band: the screen of the judge, turned from positions to time.

A stretch of moments is looked at as one matrix (moments × positions) of float healths. Between which healths a position
stays as it is depends on its band and its lines; the first moment outside is one that the judge has to see. Everything
in between changes nothing, since floats are wrong by far less than `_MARGIN`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keeper.core.types import Band, Linear
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.replay.history import Floats, History
from keeper.replay.market import Market

NOTHING_OWED = 1e300
_MARGIN = 1.7e-4  # above what rounding a line and its hysteresis to 0.0001, and interest until the next bar, can do


@dataclass(frozen=True, slots=True)
class Spans:
    """By kind of line, the health at it; per bar and position, or one for all."""

    watch: Floats
    call: Floats
    urgent: Floats
    hysteresis: Floats
    closes: Floats

    @classmethod
    def fixed(cls, rules: BandRules) -> Spans:
        values = (rules.watch_wad, rules.call_wad, rules.urgent_wad, rules.hysteresis_wad, rules.closes_wad)
        return cls(*(np.array([[value / WAD]]) for value in values))

    def stays(self, band: Band, called: bool, column: int) -> tuple[Floats, Floats]:
        """By bar, the healths between which a position surely stays in its band; called: in an open episode."""
        watch, call, urgent = self._of(self.watch, column), self._of(self.call, column), self._of(self.urgent, column)
        hysteresis, closes = self._of(self.hysteresis, column), self._of(self.closes, column)
        nothing, everything = np.full_like(call, -np.inf), np.full_like(call, np.inf)
        if not called:
            deeper, leaves = (watch, everything) if band is Band.SAFE else (call, watch + hysteresis)
        else:
            deeper, leaves = {
                Band.WATCH: (call, closes),
                Band.CALL: (urgent, call + hysteresis),
                Band.URGENT: (np.ones_like(call), urgent + hysteresis),
                Band.LIQUIDATABLE: (nothing, 1 + hysteresis),
            }[band]
        return deeper * (1 + _MARGIN), leaves * (1 - _MARGIN)

    @staticmethod
    def _of(values: Floats, column: int) -> Floats:
        return values[:, column if values.shape[1] > 1 else 0]


def spans_of(distances: Floats) -> Spans:
    """The lines at these log distances (bars × positions), as `adaptive.lines_at` draws them, but for the rounding."""
    call = np.exp(distances)
    target = np.exp(distances + np.clip(1.5 * distances, 0.02, 0.2))
    hysteresis = np.maximum((call - 1) / 5, 1e-4)
    closes = np.maximum(call + hysteresis, target - hysteresis)
    return Spans(np.maximum(np.exp(2.3 * distances), call), call, np.exp(0.3 * distances), hysteresis, closes)


class Ahead:
    """Healths over a stretch of moments: the places first .. last - 1 of a history."""

    def __init__(self, market: Market, history: History, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._market = market
        self._times = history.times[first:last]
        self._prices = history.values[first:last]
        owed = [market.assets.index(asset) for asset, _ in market.loans]
        self._loans = self._prices[:, owed] * market.growths(self._times)

    def healths(self, linear: Linear) -> Floats:
        """By moment; NaN where an asset has no price, NOTHING_OWED where nothing is owed."""
        held, owed = np.zeros(len(self._times)), np.zeros(len(self._times))
        for slot, weight in linear.collateral:
            held += self._prices[:, slot] * weight
        for slot, weight in linear.requirement:
            owed += self._loans[:, slot - len(self._market.assets)] * weight
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(owed == 0, np.where(np.isnan(held), np.nan, NOTHING_OWED), held / owed)


def first_outside(healths: Floats, between: tuple[Floats, Floats]) -> int | None:
    """The first place at which a health may lie outside of two others: by place, or one for all."""
    inside = (healths >= between[0]) & (healths < between[1])
    place = int(inside.argmin()) if len(inside) else 0
    return None if not len(inside) or inside[place] else place

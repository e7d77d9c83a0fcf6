"""At which moments a position may change its band: the screen of the judge, turned from positions to time.

A stretch of moments is looked at as one matrix (moments × positions) of float healths. Between which healths a position
stays as it is depends on its band and its lines; the first moment outside is one that the judge has to see. Everything
in between changes nothing, since floats are wrong by far less than `_MARGIN`.
"""

from __future__ import annotations

import numpy as np

from keeper.core.types import Band, Linear
from keeper.evaluator.spans import Spans
from keeper.replay.history import Floats, History
from keeper.replay.market import Market

NOTHING_OWED = 1e300
_MARGIN = 1.7e-4  # above what rounding a line and its hysteresis to 0.0001, and interest until the next bar, can do


def stays(spans: Spans, band: Band, called: bool, column: int) -> tuple[Floats, Floats]:
    """By bar, the healths between which a position surely stays in its band.

    spans: bars × positions, or one for all. called: in an open episode; outside of one it is SAFE or WATCH. Unlike on
    chain, health alone says what is liquidatable.
    """
    watch, call, urgent, hysteresis, closes = (
        values[:, column if values.shape[1] > 1 else 0]
        for values in (spans.watch, spans.call, spans.urgent, spans.hysteresis, spans.closes)
    )
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


class Ahead:
    """Healths over a stretch of moments: the places first .. last - 1 of a history."""

    def __init__(self, market: Market, history: History, first: int, last: int) -> None:
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

"""Lines of many positions at once, as floats: between which healths each surely stays in the band it is in.

`adaptive.lines_at` draws the same lines of one position, rounded; `MARGIN` is above what rounding a line and its
hysteresis to 0.0001, and interest until the next bar, can do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Band
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules

Floats = NDArray[np.float64]

MARGIN = 1e-3


@dataclass(frozen=True, slots=True)
class Spans:
    """By kind of line, the health at it; arrays of one shape. margin: how far, relatively, they may be off."""

    watch: Floats
    call: Floats
    urgent: Floats
    hysteresis: Floats
    closes: Floats
    margin: float = 0.0

    @classmethod
    def fixed(cls, rules: BandRules, shape: tuple[int, ...]) -> Spans:
        """The same for all."""

        def everywhere(wad: int) -> Floats:
            return np.full(shape, wad / WAD)

        return cls(
            watch=everywhere(rules.watch_wad),
            call=everywhere(rules.call_wad),
            urgent=everywhere(rules.urgent_wad),
            hysteresis=everywhere(rules.hysteresis_wad),
            closes=everywhere(rules.closes_wad),
        )

    @classmethod
    def at(cls, distances: Floats) -> Spans:
        """The lines at these log distances, but for the rounding."""
        call = np.exp(distances)
        target = np.exp(distances + np.clip(1.5 * distances, 0.02, 0.2))
        hysteresis = np.maximum((call - 1) / 5, 1e-4)
        closes = np.maximum(call + hysteresis, target - hysteresis)
        watch, urgent = np.maximum(np.exp(2.3 * distances), call), np.exp(0.3 * distances)
        return cls(watch, call, urgent, hysteresis, closes, MARGIN)

    def of_open(self, bands: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """By position, the healths between which an open episode surely stays in its band.

        One that is liquidatable keeps 1 and 1, between which nothing is: the protocol's flag decides of it.
        """
        one = np.ones_like(self.call)
        chosen = [bands == band for band in (Band.WATCH, Band.CALL, Band.URGENT)]
        deeper = np.select(chosen, [self.call, self.urgent, one], 1.0)
        leaves = np.select(chosen, [self.closes, self.call + self.hysteresis, self.urgent + self.hysteresis], 1.0)
        return deeper * (1 + self.margin), leaves * (1 - self.margin)

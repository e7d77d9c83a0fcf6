"""Where the lines of a position lie, given how its own health moves.

By health alone a line is the same for everybody: `BandRules`. Here it follows the volatility of the position's log
health over one day, σ, of which the deepest of these holds:

    by probability   the chance to breach within the horizon exceeds `probability`: log health < z·σ·√horizon
    by health        health < `call`, as long as that is within `quiet_sigmas` σ; below `quiet_year` within fewer, in
                     proportion

The first widens the line when prices are wild and forgets slowly; the second keeps a distance that a jump out of calm
needs: what moves at all may jump by many σ, what is pegged may not, and is left alone. σ is the largest of what several
memories see. The other lines follow the call, in proportion. docs/volatility.md has the reasons and what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from keeper.core.errors import ConfigError
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.probability import sigmas_within

Floats = NDArray[np.float64]

LEAST = 0.006  # below this log distance interest and rounding are all that moves: never nearer
_GRID = 10_000  # lines are multiples of 0.0001
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Adaptive:
    """probability, horizon_s: as above. memories_s: the longest last. call: a health above 1, or None for no line by
    health. widest: the health above which no line lies, whatever the volatility.
    prior_year, prior_pegged_year: the yearly volatility presumed of a position before anything was observed, and of
    one whose assets are presumed to be worth the same. prior_s: what that presumption weighs, as if observed so long.
    quiet_year: the yearly volatility of the calmest that may jump.
    parkinson: variances by the range of prices, instead of by closes.
    Raises ConfigError on values that make no rule.
    """

    probability: float = 0.08
    horizon_s: int = 84 * 3_600
    memories_s: tuple[int, ...] = (2 * 86_400, 10 * 86_400)
    call: float | None = 1.09
    quiet_sigmas: float = 8.0
    quiet_year: float = 0.2
    widest: float = 1.284
    prior_year: float = 0.6
    prior_pegged_year: float = 0.05
    prior_s: int = 86_400
    parkinson: bool = False

    def __post_init__(self) -> None:
        where = "margin_calls.volatility"
        if not 0 < self.probability < 1:
            raise ConfigError(f"{where}: probability {self.probability} must lie between 0 and 1, such as 0.08")
        if self.horizon_s <= 0 or not self.memories_s or min(self.memories_s) <= 0 or self.prior_s <= 0:
            raise ConfigError(f"{where}: the horizon, every memory and the weight of the prior must be above 0 hours")
        if self.call is not None and self.call <= 1:
            raise ConfigError(f"{where}: call {self.call} must be above 1, where liquidation begins")
        if math.log(self.widest) < LEAST:
            raise ConfigError(f"{where}: widest {self.widest} must be at least 1.01, or no line could move")
        if min(self.prior_year, self.prior_pegged_year, self.quiet_sigmas, self.quiet_year) <= 0:
            raise ConfigError(f"{where}: the yearly volatilities and quiet_sigmas must be above 0")

    @cached_property
    def reach(self) -> float:
        """Daily standard deviations from the call to the breach, by probability."""
        return sigmas_within(self.probability) * math.sqrt(self.horizon_s / 86_400)

    def distances(self, sigmas_day: Floats) -> Floats:
        """Log distances of the call line; sigmas_day: memories × positions, per square root of a day."""
        line: Floats = self.reach * sigmas_day.max(axis=0)
        if self.call is not None:
            sigma = sigmas_day[-1]
            jump = self.quiet_sigmas * sigma * np.minimum(sigma * math.sqrt(_DAYS_PER_YEAR) / self.quiet_year, 1.0)
            line = np.maximum(line, np.minimum(math.log(self.call), jump))
        return np.clip(line, LEAST, math.log(self.widest))

    def rules(self, sigmas_day: Floats) -> BandRules:
        """The lines of one position; sigmas_day: by memory."""
        return lines_at(float(self.distances(sigmas_day[:, np.newaxis])[0]))

    @cached_property
    def presumed(self) -> BandRules:
        """The lines before anything was observed."""
        return self.rules(np.full(len(self.memories_s), self.prior_year / math.sqrt(_DAYS_PER_YEAR)))

    def prior_variance_day(self, pegged: bool) -> float:
        year = self.prior_pegged_year if pegged else self.prior_year
        return year**2 / _DAYS_PER_YEAR


def lines_at(distance: float) -> BandRules:
    """The lines of a position that is called at this log health, as multiples of 0.0001.

    Urgent at three tenths of the way, watched from 2.3 times it; leaving a band takes a fifth of what the call keeps.
    A cure restores 2.5 times the distance, from 0.02 to 0.2 beyond the call: the wilder the prices the farther, up
    to what an owner can be asked for.
    """
    call = _grid(math.exp(distance))
    hysteresis = max(_grid((call / _GRID - 1) / 5), 1)
    target = _grid(math.exp(distance + max(min(1.5 * distance, 0.2), 0.02)))
    return BandRules(
        watch_wad=max(_grid(math.exp(2.3 * distance)), call) * (WAD // _GRID),
        call_wad=call * (WAD // _GRID),
        urgent_wad=min(max(_grid(math.exp(0.3 * distance)), _GRID + 1), call - 1) * (WAD // _GRID),
        hysteresis_wad=hysteresis * (WAD // _GRID),
        target_wad=max(target, call + 2 * hysteresis) * (WAD // _GRID),
    )


def _grid(health: float) -> int:
    return round(health * _GRID)

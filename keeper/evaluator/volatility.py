"""How much prices move, and move together: what is known of it at one moment, as a function of the prices before.

Time is cut into bars of 15 minutes, and a bar has the last price in it; a bar without news repeats the one before. At
the end of each bar every asset's return over the last four hours, r, adds r r' to a matrix of moments, and what was
there decays by half in each `memory`. So for a position whose log health moves by w·r, w' M w / (time) is an
exponentially weighted average of its *own* squared four-hour returns: exact for constant w, whatever the number of
assets, and the correlations of a pair are in it.

A price that trembles around where it is, as of a pegged asset on an exchange, would pass for a risky one. But what
trembles adds as much to a return over one hour as to one over four, while what wanders adds a quarter: the same moments
of hourly returns are kept as well, and `exposure` takes the difference.

Of more than MOST_PAIRED assets, as in a market of isolated pairs of which each has a price of its own, only the own
moments of each are kept, and prices are taken to move independently.

What was not observed yet is not guessed here: `data` says how many bars' worth of observation the moments hold and
`blank` how much is missing to the beginning, for `lines` to fill with a prior.

All is floats: it selects when to tell people, and decides nothing about money. Folding the same prices gives the same
bits, so a restart, or a reorg that crosses a bar, arrives at the same thresholds (`volatility_json` stores it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Price, Prices

Floats = NDArray[np.float64]

BAR_S = 900
RETURN_BARS = 16
SHORT_BARS = 4
BARS_PER_DAY = 86_400 // BAR_S
MOST_PAIRED = 128
LONGEST_GAP_BARS = BARS_PER_DAY  # silence beyond a day says nothing about how prices moved in it


@dataclass(frozen=True, slots=True, eq=False)
class Volatility:
    """What is known at the end of the last whole bar. n assets, m memories; arrays are never written to again.

    bar: number of the bar that runs now: unix time // BAR_S. memories_s: seconds in which what was seen decays by half.
    closes: log prices at the ends of the last RETURN_BARS + 1 bars, oldest first (17 × n); NaN where unknown.
    moments: decayed sums of r r' / RETURN_BARS (m × n × n, or m × n when there are too many assets).
    short: the same of returns over SHORT_BARS, per bar as well.
    ranges: decayed sums, by asset, of Parkinson's estimate of a bar's variance from the high and the low of the same
        closes (m × n).
    data, blank: decayed bars observed, and decayed bars that are missing to the beginning (m × n).
    """

    memories_s: tuple[int, ...]
    bar: int
    assets: tuple[bytes, ...]
    closes: Floats
    moments: Floats
    short: Floats
    ranges: Floats
    data: Floats
    blank: Floats

    @classmethod
    def empty(cls, memories_s: Sequence[int], timestamp: int) -> Volatility:
        memories = len(memories_s)
        return cls(
            memories_s=tuple(memories_s),
            bar=timestamp // BAR_S,
            assets=(),
            closes=np.empty((RETURN_BARS + 1, 0)),
            moments=np.empty((memories, 0, 0)),
            short=np.empty((memories, 0, 0)),
            ranges=np.empty((memories, 0)),
            data=np.empty((memories, 0)),
            blank=np.empty((memories, 0)),
        )

    @property
    def places(self) -> Mapping[bytes, int]:
        return {asset: place for place, asset in enumerate(self.assets)}

    def ends_before(self, timestamp: int) -> bool:
        """Whether a bar ended by this time that is not folded in."""
        return timestamp // BAR_S > self.bar

    def since(self, prices: Prices, timestamp: int) -> Volatility:
        """The same, or what is known once every bar that ended by this time is folded in.

        prices: those that held until then. A bar that nobody saw (a gap) repeats the prices before it, for a day.
        """
        now = timestamp // BAR_S
        if not self.ends_before(timestamp):
            return self
        whole = min(now - self.bar, LONGEST_GAP_BARS)
        folded = self._with_assets(prices)
        close = folded._close(prices)
        for _ in range(whole):
            folded = folded._folded(close)
        return replace(folded, bar=now)

    def _with_assets(self, prices: Prices) -> Volatility:
        """With places for assets that are new, known to nobody so far."""
        new = tuple(sorted(asset for asset in prices if asset not in set(self.assets)))
        if not new:
            return self
        more, memories = len(new), len(self.memories_s)
        blank = np.array([[equilibrium(memory)] * more for memory in self.memories_s]).reshape(memories, more)
        return replace(
            self,
            assets=self.assets + new,
            closes=np.pad(self.closes, ((0, 0), (0, more)), constant_values=np.nan),
            moments=_widened(self.moments, more),
            short=_widened(self.short, more),
            ranges=np.pad(self.ranges, ((0, 0), (0, more))),
            data=np.pad(self.data, ((0, 0), (0, more))),
            blank=np.concatenate((self.blank, blank), axis=1),
        )

    def _close(self, prices: Prices) -> Floats:
        """Log prices now; an asset without a usable price keeps its last."""
        last = self.closes[-1]
        now = np.array([log_price(prices.get(asset)) for asset in self.assets])
        return np.where(np.isnan(now), last, now)

    def _folded(self, close: Floats) -> Volatility:
        closes = np.concatenate((self.closes[1:], close[np.newaxis]))
        if np.isnan(closes).any():
            known = ~np.isnan(closes)
            span = known.sum(axis=0) - 1  # bars over which each return goes: fewer for a young asset
            returns = _returns(close, closes, span)
            low = np.nan_to_num(np.where(known, closes, np.inf).min(axis=0), posinf=0.0)
            high = np.nan_to_num(np.where(known, closes, -np.inf).max(axis=0), neginf=0.0)
            seen = np.clip(span, 0, RETURN_BARS) / RETURN_BARS
            hours = np.clip(span, 1, SHORT_BARS)
            short = _returns(close, closes, np.minimum(span, SHORT_BARS)) * np.sqrt(seen / hours)
        else:
            returns, low, high = close - closes[0], closes.min(axis=0), closes.max(axis=0)
            seen = np.ones(len(self.assets))
            short = (close - closes[-1 - SHORT_BARS]) / math.sqrt(SHORT_BARS)
        decay = np.array([2.0 ** (-BAR_S / memory) for memory in self.memories_s])
        return replace(
            self,
            closes=closes,
            moments=_decayed(self.moments, decay, returns / math.sqrt(RETURN_BARS)),
            short=_decayed(self.short, decay, short),
            ranges=self.ranges * decay[:, None] + (high - low) ** 2 / (4 * math.log(2)) / RETURN_BARS,
            data=self.data * decay[:, None] + seen,
            blank=self.blank * decay[:, None] + (1 - seen),
        )


def _returns(close: Floats, closes: Floats, bars: NDArray[np.intp]) -> Floats:
    """Over so many bars by asset; 0 where nothing is known."""
    before = closes[np.clip(len(closes) - 1 - bars, 0, len(closes) - 1), np.arange(len(close))]
    return np.nan_to_num(close - before)


def _decayed(moments: Floats, decay: Floats, returns: Floats) -> Floats:
    if moments.ndim == 3:
        return moments * decay[:, None, None] + np.outer(returns, returns)
    return moments * decay[:, None] + returns**2


def _widened(moments: Floats, more: int) -> Floats:
    """With places for further assets; without pairs once they are too many."""
    if moments.ndim == 3 and moments.shape[1] + more > MOST_PAIRED:
        moments = np.ascontiguousarray(np.einsum("mii->mi", moments))
    return np.pad(moments, ((0, 0), (0, more), (0, more))[: moments.ndim])


def equilibrium(memory_s: int) -> float:
    """The decayed number of bars since ever."""
    return 1.0 / (1.0 - math.exp2(-BAR_S / memory_s))


def log_price(price: Price | None) -> float:
    """NaN for no usable price."""
    return math.nan if price is None or price.value <= 0 else math.log(price.value) - price.decimals * math.log(10)

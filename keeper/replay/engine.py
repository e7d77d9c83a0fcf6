"""A replay: the judge of the daemon, at every moment at which anything can change."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Block, BlockRef, Book
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Columns
from keeper.evaluator.exposure import Exposures, Movements
from keeper.evaluator.judge import Judge
from keeper.evaluator.spans import Spans
from keeper.evaluator.volatility import BAR_S, Volatility
from keeper.replay.ahead import Ahead, first_outside, stays
from keeper.replay.follow import Follow
from keeper.replay.history import Floats, History, Report
from keeper.replay.market import Market, WholeUnits
from keeper.replay.outcome import Outcome
from keeper.replay.positions import Balances, Track

_STRETCH = 8_192  # moments looked at together


def replay(history: History, tracks: Sequence[Track], rule: BandRules | Adaptive, report: Report) -> list[Outcome]:
    """What becomes of each position, in their order, under these lines."""
    moments = {at for track in tracks for at in (track.to, *(one.since for one in track.balances))}
    run = _Run(history.with_moments(moments), tracks, rule)
    last = max(follow.end for follow in run.follows)
    for first in range(0, last, _STRETCH):
        report("moments replayed", first, last)
        run.stretch(first, min(first + _STRETCH, last))
    report("moments replayed", last, last)
    return [follow.outcome for follow in run.follows]


class _Run:
    """All positions, one stretch of moments after the other."""

    def __init__(self, history: History, tracks: Sequence[Track], rule: BandRules | Adaptive) -> None:
        self._history, self._rule = history, rule
        self._market = Market.of(history.assets, tracks)
        self._adapter: Any = WholeUnits({track.position.encode(): track.account.encode() for track in tracks})
        self._columns = Columns()
        self.follows = [self._follow(track) for track in tracks]
        self._by_key = {follow.key: follow for follow in self.follows}
        self._book: Book[Market, Balances] = Book(self._market)
        self._judge: Judge[Market, Balances] = Judge(self._adapter, rule, acts=False)
        self._judge.reload(self._book, ())
        self._volatility: Volatility | None = None
        self._first = self._last = 0
        self._bars: NDArray[np.intp] = np.zeros(0, np.intp)  # by place of the stretch, its bar
        self._states: list[Volatility | None] = []  # by bar of the stretch
        self._queue: list[tuple[int, bytes]] = []

    def _follow(self, track: Track) -> Follow:
        history, key = self._history, track.position.encode()
        linears = [self._adapter.linear(self._market, one) for one in track.balances]
        rows = [self._columns.put(b"%d:%s" % (version, key), linear) for version, linear in enumerate(linears)]
        starts = [int(np.searchsorted(history.times, one.since)) for one in track.balances]
        to = max(min(track.to, int(history.times[-1])), track.since)
        outcome = Outcome(track.position, track.since, to)
        end = history.place_at(track.to) + 1
        return Follow(key, track, starts, end, [row or 0 for row in rows], linears, outcome)

    def stretch(self, first: int, last: int) -> None:
        """Replay the places first .. last - 1."""
        self._first, self._last = first, last
        numbers, bars = np.unique(self._history.times[first:last] // BAR_S, return_inverse=True)
        self._bars = bars.astype(np.intp)
        begins = first + np.searchsorted(self._bars, np.arange(len(numbers)))
        active = [one for one in self.follows if one.starts[0] < last and one.end > first]
        self._states = [self._observe(int(place)) for place in begins]
        self._spans = self._draw(active, begins)
        ahead = Ahead(self._market, self._history, first, last)
        for follow in active:
            follow.stretch, follow.healths = first, self._healths(ahead, follow)
            self._look(follow, max(first, follow.starts[0]))
        while self._queue:
            place, due = self._queue[0][0], dict[bytes, Follow]()
            while self._queue and self._queue[0][0] == place:
                key = heapq.heappop(self._queue)[1]
                due[key] = self._by_key[key]
            self._judge_at(place, list(due.values()))
            for follow in due.values():
                self._look(follow, place + 1)
        for follow in active:
            follow.see(min(last, follow.end))

    def _observe(self, place: int) -> Volatility | None:
        """The volatility in force at the first moment of a bar."""
        if isinstance(self._rule, Adaptive):
            now = int(self._history.times[place])
            before = self._volatility or Volatility.empty(self._rule.memories_s, now)
            self._volatility = before.since(self._history.exact(place - 1), now)
        return self._volatility

    def _draw(self, active: Sequence[Follow], begins: NDArray[np.intp]) -> Spans:
        """The lines of each row in each bar of the stretch."""
        if not isinstance(self._rule, Adaptive):
            return Spans.fixed(self._rule, (1, 1))
        rows = np.array(sorted({row for follow in active for row in follow.rows}), np.intp)
        distances = np.zeros((len(self._states), self._columns.rows))
        for bar, (state, place) in enumerate(zip(self._states, begins, strict=True)):
            assert state is not None
            prices, now = self._history.exact(int(place)), int(self._history.times[place])
            factors = self._adapter.factors(self._market, prices, now)
            exposures = Exposures(Movements(self._rule, state, self._adapter, self._market), factors, prices)
            if len(rows):
                drawn = exposures.distances_of_rows(self._columns, rows)
                distances[bar, rows] = np.where(np.isnan(drawn), math.log(self._rule.widest), drawn)
        return Spans.at(distances)

    def _healths(self, ahead: Ahead, follow: Follow) -> Floats:
        """By place of the stretch, with the balances of then."""
        found = ahead.healths(follow.linears[0])
        for start, linear in zip(follow.starts[1:], follow.linears[1:], strict=True):
            if start < self._last:
                begin = max(start - self._first, 0)
                found[begin:] = ahead.healths(linear)[begin:]
        return found

    def _look(self, follow: Follow, place: int) -> None:
        """Queue the next place of the stretch at which the judge must see this position, if there is one."""
        end, change = min(self._last, follow.end), follow.next_start()
        if place >= end:
            return
        if change is not None and change < end:
            end = max(change, place)
            heapq.heappush(self._queue, (end, follow.key))
        part = slice(place - self._first, end - self._first)
        healths = follow.healths[part]
        if follow.band is None:
            known = ~np.isnan(healths) if follow.version >= 0 else np.zeros(len(healths), np.bool_)
            outside = int(known.argmax()) if known.any() else None
        else:
            deeper, leaves = stays(self._spans, follow.band, follow.called, follow.row)
            if len(deeper) > 1:
                deeper, leaves = deeper[self._bars[part]], leaves[self._bars[part]]
            outside = first_outside(healths, (deeper, leaves))
        if outside is not None:
            heapq.heappush(self._queue, (place + outside, follow.key))

    def _judge_at(self, place: int, follows: Sequence[Follow]) -> None:
        now, book = int(self._history.times[place]), self._book
        block = Block(BlockRef(place, place.to_bytes(32, "big")), b"", now)
        book.prices = self._history.exact(place)
        changed = set()
        for follow in follows:
            if (change := follow.balances_at(place)) is not None:
                book.positions[follow.key] = change[0]
                if change[1]:
                    changed.add(follow.key)
        self._judge.observe(self._states[int(self._bars[place - self._first])])
        ruling = self._judge.judge_these(book, block, {follow.key for follow in follows}, changed=changed)
        ended = {step.after.key: step.after for step in ruling.steps if not step.after.is_open}
        self._judge.accept(ruling)
        for follow in follows:
            key = follow.key
            follow.judged(
                ruling.judgements[key],
                self._judge.episodes.get(key),
                ended.get(key),
                key in changed,
                block,
                self._judge.rules_of(book, key, now),
            )

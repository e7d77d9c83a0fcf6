"""One protocol, kept up with the store: exact raw positions, and the health of all of them at once as floats.

Floats are for display and for order. Whatever stands near a line, or below 1, is judged in exact integers, so that the
band that is shown is the band; so is every position that is shown by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.core.encoding import load_prices
from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.records import MARKET_KEY
from keeper.core.types import Band, Book, Health, Linear
from keeper.core.units import WAD
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Columns, Floats, Rows, vector_of
from keeper.evaluator.lines import Lines
from keeper.evaluator.spans import Spans
from keeper.evaluator.volatility_json import load_volatility

Adapter = ProtocolAdapter[Any, Any]
Bands = NDArray[np.int8]

UNKNOWN = len(Band)
"""Where a band would be, of a position that nobody can judge for want of a price."""

NEAR = 2e-3
"""A health within this share of a line is judged exactly: more than floats and the rounding of lines can be off."""

MOST_EXACT = 2_000
"""So many of them in one block at most, the nearest to liquidation first: some hundred milliseconds."""


class _Rows(Columns):
    """As `Columns`, with a row for who owes nothing as well: its owner wants to see it."""

    def put(self, key: bytes, linear: Linear | None) -> int | None:
        row = self._row.get(key)
        if linear is None:
            return None if row is None else self._remove(key, row)
        if row is None:
            row = self._take(key)
        self.collateral.write(row, linear.collateral)
        self.requirement.write(row, linear.requirement)
        return row


@dataclass(frozen=True, slots=True)
class Judged:
    """Every row of a protocol at one block, empty rows included (key None).

    health: collateral over requirement; NaN when nothing is owed or nobody knows. bands: of `Band`, or UNKNOWN.
    collateral, debt: whole units of the base currency, estimated; NaN where unknown. watch, call, urgent: its lines.
    """

    keys: list[bytes | None]
    health: Floats
    bands: Bands
    collateral: Floats
    debt: Floats
    watch: Floats
    call: Floats
    urgent: Floats


class LiveBook:
    def __init__(self, adapter: Adapter, rule: BandRules | Adaptive) -> None:
        self.adapter = adapter
        self.book: Book[Any, Any] = Book()
        self.lines = Lines(rule)
        self._rows = _Rows()
        self._worth: Floats = np.zeros((2, 0))  # collateral and debt, in whole base units, per unit of either sum
        self._names: dict[bytes, str] = {}
        self._volatility: bytes | None = None
        self._payloads: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self.book.positions)

    @property
    def ready(self) -> bool:
        """Whether anything of it was indexed."""
        return self.book.market is not None

    def position_id(self, key: bytes) -> str:
        """As the adapter says, kept: the hash in a checksum is the dearest part of a list."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = self.adapter.position_id(key)
        return name

    # --- following the store

    def load(self, store: Store, now: int) -> None:
        """Become what the store says."""
        self.book.positions = {
            key: self.adapter.load_position(payload) for key, payload in store.facts(self.adapter.name, "position")
        }
        self._names = {}
        self._payloads = {}
        self._read_market(store)
        self._rebuild(now)

    def follow(self, store: Store, changed: Mapping[bytes, bytes | None], now: int) -> None:
        """Take over what changed: positions by key, None for one that closed; the market is read if it is another."""
        market = self.book.market
        self._read_market(store)
        for key, payload in changed.items():
            if payload is None:
                self.book.positions.pop(key, None)
                self._names.pop(key, None)
            else:
                self.book.positions[key] = self.adapter.load_position(payload)
        present = self.book.market
        if present is None:
            return
        if market is None or not self.adapter.same_weights(market, present):
            self._rebuild(now)
        else:
            self._write(changed, now)

    def _read_market(self, store: Store) -> None:
        """Only what is stored anew is loaded anew: what has not changed keeps its identity, on which others rely."""
        name = self.adapter.name
        fresh = {kind: store.fact(name, kind, MARKET_KEY) for kind in ("market", "prices", "volatility")}
        before, self._payloads = self._payloads, fresh
        if fresh["market"] != before.get("market") and (market := fresh["market"]) is not None:
            self.book.market = self.adapter.load_market(market)
        if fresh["prices"] != before.get("prices") or not before:
            self.book.prices = {} if (prices := fresh["prices"]) is None else load_prices(prices)
        if self.lines.adapt and (fresh["volatility"] != before.get("volatility") or not before):
            stored = fresh["volatility"]
            self.lines.observe(None if stored is None else load_volatility(stored))

    def _rebuild(self, now: int) -> None:
        self._rows = _Rows()
        self.lines.restructure()
        self._write(self.book.positions, now)

    def _write(self, keys: Iterable[bytes], now: int) -> None:
        """Write the rows of these positions, and learn what their floats are worth."""
        adapter, book = self.adapter, self.book
        rows: list[int] = []
        values: list[tuple[int, int]] = []
        for key in keys:
            position = book.positions.get(key)
            row = self._rows.put(key, None if position is None else adapter.linear(book.market, position))
            if row is None:
                continue
            self.lines.rewritten(row)
            if position is not None:
                health = adapter.health(book.market, book.prices, position, now)
                rows.append(row)
                values.append((health.collateral_value, health.debt_value))
        missing = self._rows.rows - self._worth.shape[1]
        if missing > 0:
            self._worth = np.pad(self._worth, ((0, 0), (0, missing + 1024)), constant_values=np.nan)
        if not rows:
            return
        at = np.array(rows, np.intp)
        sums = self._rows.totals_of(self.vector(now), at)
        unit = 10.0 ** adapter.base_decimals(book.market)
        with np.errstate(divide="ignore", invalid="ignore"):
            for side in (0, 1):
                worth = np.array([float(pair[side]) for pair in values]) / unit / sums[side]
                self._worth[side, at] = np.where(np.isfinite(worth) & (worth != 0), worth, np.nan)

    # --- judging

    def vector(self, now: int) -> Floats:
        return vector_of(self.adapter.factors(self.book.market, self.book.prices, now))

    def totals(self, vector: Floats) -> tuple[Floats, Floats]:
        """Collateral and requirement of every row; copies, which the next call leaves alone."""
        collateral, requirement = self._rows.totals(vector)
        return collateral.copy(), requirement.copy()

    @property
    def columns(self) -> Columns:
        return self._rows

    def worth(self, side: int) -> Floats:
        return self._worth[side, : self._rows.rows]

    def judged(self, now: int) -> Judged:
        """Every row at this moment."""
        rows = self._rows
        collateral, requirement = self.totals(self.vector(now))
        owes = requirement != 0
        with np.errstate(divide="ignore", invalid="ignore"):
            health = np.where(owes, collateral / requirement, np.nan)
        spans = self._spans(now)
        bands = np.zeros(rows.rows, np.int8)
        for band, line in ((Band.WATCH, spans.watch), (Band.CALL, spans.call), (Band.URGENT, spans.urgent)):
            bands[health < line] = band
        bands[np.isnan(collateral) | np.isnan(requirement)] = UNKNOWN
        self._judge_exactly(bands, health, spans, now)
        return Judged(
            [rows.key(row) for row in range(rows.rows)],
            health,
            bands,
            np.where(collateral != 0, collateral * self.worth(0), 0.0),
            np.where(owes, requirement * self.worth(1), 0.0),
            spans.watch,
            spans.call,
            spans.urgent,
        )

    def _spans(self, now: int) -> Spans:
        rows = np.arange(self._rows.rows)
        nominal = Spans.fixed(self.lines.nominal, rows.shape)
        if not len(rows):
            return nominal
        spans = self.lines.spans(self.adapter, self.book, self._rows, rows, now)
        known = ~np.isnan(spans.call)
        if known.all():
            return spans
        return Spans(
            np.where(known, spans.watch, nominal.watch),
            np.where(known, spans.call, nominal.call),
            np.where(known, spans.urgent, nominal.urgent),
            np.where(known, spans.hysteresis, nominal.hysteresis),
            np.where(known, spans.closes, nominal.closes),
            spans.margin,
        )

    def _judge_exactly(self, bands: Bands, health: Floats, spans: Spans, now: int) -> None:
        """Correct the bands of rows near a line, below 1, or without a known health."""
        with np.errstate(invalid="ignore"):
            doubtful = (health < 1 + NEAR) | (bands == UNKNOWN)
            for line in (spans.watch, spans.call, spans.urgent):
                doubtful |= np.abs(health - line) < NEAR * line
        chosen: Rows = np.flatnonzero(doubtful)
        if len(chosen) > MOST_EXACT:
            chosen = chosen[np.argsort(health[chosen], kind="stable")[:MOST_EXACT]]
        for row in chosen:
            key = self._rows.key(int(row))
            if key is None:
                continue
            found = self.health(key, now)
            if found is not None:
                band = self.rules(key, now).band(found)
                bands[row] = UNKNOWN if band is None else band
                if found.factor_wad is not None:
                    health[row] = found.factor_wad / WAD

    def health(self, key: bytes, now: int) -> Health | None:
        position = self.book.positions.get(key)
        if position is None or self.book.market is None:
            return None
        return self.adapter.health(self.book.market, self.book.prices, position, now)

    def rules(self, key: bytes, now: int) -> BandRules:
        return self.lines.of(self.adapter, self.book, key, now)

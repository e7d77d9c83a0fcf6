"""Can a protocol pay everybody: what is lost already, what would be lost, and what stands ready to cover it.

Losses beyond collateral are spread over lenders or taken from other traders' profits once reserves and insurance are
used up: this says how far that is. Exact where it counts present losses; the share at risk under other prices is the
float screen's, which is off by less than it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keeper.core.ports import ProtocolAdapter, Solvent
from keeper.core.types import Backing, Book, Prices
from keeper.core.units import WAD
from keeper.evaluator.columns import CHUNK, Columns, Floats, vector_of
from keeper.evaluator.metrics import metrics_of

MOVES_BPS = (-500, -1_000, -2_000, -3_000)


@dataclass(frozen=True, slots=True)
class AtRisk:
    """What is open to liquidation once prices moved. collateral_value: at present prices, base currency units."""

    move_bps: int
    positions: int
    collateral_value: int


@dataclass(frozen=True, slots=True)
class Solvency:
    """Values in base currency units. unknown: positions that nobody can judge, for want of a price.

    collateral_value, debt_value: of every position that is known. underwater: positions worth less than they owe;
    shortfall_value: by how much in all. backing: what the protocol itself has lost and holds.
    """

    positions: int
    unknown: int
    collateral_value: int
    debt_value: int
    underwater: int
    shortfall_value: int
    backing: Backing
    at_risk: tuple[AtRisk, ...]

    @property
    def loss_value(self) -> int:
        """Lost already, and lost if every position under water were closed now."""
        return self.backing.deficit_value + self.shortfall_value

    @property
    def coverage_wad(self) -> int | None:
        """Reserves over losses, rounded down; None when there are no losses."""
        if not self.loss_value:
            return None
        return (self.backing.reserve_value or 0) * WAD // self.loss_value

    def share_wad(self, risk: AtRisk) -> int:
        return risk.collateral_value * WAD // self.collateral_value if self.collateral_value else 0


@dataclass(frozen=True, slots=True)
class _Moved:
    """One move of prices: what they are then, and as the vector that rows are judged by."""

    move_bps: int
    prices: Prices
    vector: Floats


@dataclass(slots=True)
class _Rows:
    """Some positions that owe something: all that is held of a book at a time. values: of collateral, by row."""

    columns: Columns = field(default_factory=Columns)
    values: list[int] = field(default_factory=list)


class Assessing:
    """One protocol looked at in small steps, so that whoever shares the thread is not kept waiting, and however large
    the book is, in the same memory.

    book: values that no longer change. now: unix seconds of the block they are from. rows: positions that are held
    together to be judged under other prices; what is found does not depend on it.
    """

    def __init__(
        self,
        adapter: ProtocolAdapter[Any, Any],
        book: Book[Any, Any],
        now: int,
        moves_bps: Sequence[int] = MOVES_BPS,
        *,
        rows: int = CHUNK,
    ) -> None:
        self._adapter = adapter
        self._book = book
        self._now = now
        self._most = rows
        self._moves = self._moved(moves_bps)
        self._rows = _Rows()
        at_risk = tuple(AtRisk(one.move_bps, 0, 0) for one in self._moves)
        self._found = Solvency(0, 0, 0, 0, 0, 0, Backing(0), at_risk)

    def steps(self, at_once: int = 50) -> Iterator[None]:
        """Yields after so many positions, each some twenty microseconds."""
        for number, (key, position) in enumerate(self._book.positions.items(), 1):
            self._take(key, position)
            if len(self._rows.values) >= self._most:
                self._judge_rows()
            if number % at_once == 0:
                yield
        self._judge_rows()

    def result(self, backing: Backing) -> Solvency:
        return replace(self._found, backing=backing)

    def _take(self, key: bytes, position: Any) -> None:
        adapter, book, found = self._adapter, self._book, self._found
        health = adapter.health(book.market, book.prices, position, self._now)
        if health.unpriced_assets:
            self._found = replace(found, positions=found.positions + 1, unknown=found.unknown + 1)
            return
        equity = 0
        if health.factor_wad is not None and health.factor_wad < WAD:
            metrics = metrics_of(adapter.assess(book.market, book.prices, position, self._now))
            equity = 0 if metrics is None else metrics.equity_value
        self._found = replace(
            found,
            positions=found.positions + 1,
            collateral_value=found.collateral_value + health.collateral_value,
            debt_value=found.debt_value + health.debt_value,
            underwater=found.underwater + (equity < 0),
            shortfall_value=found.shortfall_value + max(-equity, 0),
        )
        owes = health.factor_wad is not None
        if owes and self._rows.columns.put(key, adapter.linear(book.market, position)) is not None:
            self._rows.values.append(health.collateral_value)

    def _moved(self, moves_bps: Sequence[int]) -> tuple[_Moved, ...]:
        adapter, book = self._adapter, self._book
        if not isinstance(adapter, Solvent):
            return ()
        moved = [(move_bps, adapter.moved(book.market, book.prices, move_bps)) for move_bps in moves_bps]
        return tuple(
            _Moved(move_bps, prices, vector_of(adapter.factors(book.market, prices, self._now)))
            for move_bps, prices in moved
        )

    def _judge_rows(self) -> None:
        """Count those of the rows at hand that moved prices open, and let go of them."""
        rows, self._rows = self._rows, _Rows()
        if rows.values:
            counted = zip(self._found.at_risk, self._moves, strict=True)
            self._found = replace(self._found, at_risk=tuple(self._with(risk, moved, rows) for risk, moved in counted))

    def _with(self, risk: AtRisk, moved: _Moved, among: _Rows) -> AtRisk:
        """Rows that only integers can judge are judged by them."""
        adapter, book, columns = self._adapter, self._book, among.columns
        collateral, requirement = columns.totals(moved.vector)
        rows = np.flatnonzero(collateral < requirement).tolist()
        for row in np.flatnonzero(np.isnan(collateral) | np.isnan(requirement)).tolist():
            key = columns.key(row)
            if (
                key is not None
                and adapter.health(book.market, moved.prices, book.positions[key], self._now).liquidatable
            ):
                rows.append(row)
        return AtRisk(
            risk.move_bps,
            risk.positions + len(rows),
            risk.collateral_value + sum(map(among.values.__getitem__, rows)),
        )

"""Every position that owes something, as floats in flat arrays: what makes looking at all of them affordable.

A position is a row; each side of it (collateral, requirement) is a sum of weight * factor[slot]. Most positions have
one asset on each side, so the first entry of every row lies in dense arrays, which stream; the others lie in one list
of (row, slot, weight), in segments owned by their row, which `add.at` scatters. Changing a row rewrites its own
entries; a segment that is too small is abandoned, and compacted away later.

Floats only ever select; integers decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Linear, Linears

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Entries = Sequence[tuple[int, float]]
Scalar = TypeVar("Scalar", bound=np.generic)

NOTHING = 0  # a slot whose factor is 0: an entry that is not there
PLENTY = 1  # a slot whose factor is infinite: the collateral of a row that is not there, which is never a candidate
_SHIFT = 2  # an adapter's slot 0 is ours 2
CHUNK = 8_192  # rows whose intermediate results stay in the cache and in small allocations


def vector_of(factors: Iterable[float]) -> Floats:
    """An adapter's factors as the vector that slots index here. What is not finite has no usable price: NaN."""
    values = np.fromiter(factors, np.float64)
    vector = np.empty(len(values) + _SHIFT)
    vector[NOTHING], vector[PLENTY] = 0.0, np.inf
    vector[_SHIFT:] = np.where(np.isfinite(values), values, np.nan)
    return vector


class Side:
    """One side of every row."""

    def __init__(self) -> None:
        self.slot: Rows = np.zeros(0, np.intp)
        self.weight: Floats = np.zeros(0)
        self.more_row: Rows = np.zeros(0, np.intp)
        self.more_slot: Rows = np.zeros(0, np.intp)
        self.more_weight: Floats = np.zeros(0)
        self.used = 0  # entries of the `more` arrays in use, abandoned ones included
        self.abandoned = 0
        self._start: Rows = np.zeros(0, np.intp)
        self._room: Rows = np.zeros(0, np.intp)
        self._sums: Floats = np.zeros(0)
        self._products: Floats = np.zeros(0)

    def grow(self, rows: int) -> None:
        """Make place for this many rows."""
        self.slot, self.weight = _extended(self.slot, rows), _extended(self.weight, rows)
        self._start, self._room = _extended(self._start, rows), _extended(self._room, rows)
        self._sums = np.empty(len(self.slot))

    def write(self, row: int, entries: Entries) -> None:
        """Replace what a row holds."""
        first_slot, first_weight = entries[0] if entries else (NOTHING - _SHIFT, 0.0)
        self.slot[row], self.weight[row] = first_slot + _SHIFT, first_weight
        rest = len(entries) - 1
        room = int(self._room[row])
        if rest <= 0 and not room:
            return
        if rest > room:
            self._clear(row)
            self.abandoned += room
            self._allot(row, rest)
            room = rest
        start = int(self._start[row])
        for at in range(room):
            slot, weight = entries[at + 1] if at < rest else (NOTHING - _SHIFT, 0.0)
            self.more_slot[start + at], self.more_weight[start + at] = slot + _SHIFT, weight
        if self.abandoned > 1024 and self.abandoned * 2 > self.used:
            self._compact()

    def append(self, rows: int, counts: Rows, slots: Rows, weights: Floats) -> None:
        """Fill the rows behind the first `rows`, which hold nothing yet, with so many of these entries each."""
        first = np.cumsum(counts) - counts
        filled = np.flatnonzero(counts)
        self.slot[rows + filled] = slots[first[filled]] + _SHIFT
        self.weight[rows + filled] = weights[first[filled]]
        room = np.maximum(counts - 1, 0)
        end = self.used + int(room.sum())
        if end == self.used:
            return
        self._lengthen(end)
        is_more = np.ones(len(slots), np.bool_)
        is_more[first[filled]] = False
        added = slice(self.used, end)
        self.more_row[added] = rows + np.repeat(np.arange(len(counts)), room)
        self.more_slot[added] = slots[is_more] + _SHIFT
        self.more_weight[added] = weights[is_more]
        behind = slice(rows, rows + len(counts))
        self._room[behind] = room
        self._start[behind] = self.used + np.cumsum(room) - room
        self.used = end

    def totals(self, vector: Floats, rows: int) -> Floats:
        """The sum of each of the first `rows` rows, in a buffer that the next call overwrites.

        Fresh megabytes for every block would cost more in page faults than the sums themselves.
        """
        sums = self._sums[:rows]
        for begin in range(0, rows, CHUNK):
            part = sums[begin : begin + CHUNK]
            vector.take(self.slot[begin : begin + len(part)], out=part, mode="clip")
            part *= self.weight[begin : begin + len(part)]
        if self.used:
            products = self._products[: self.used]
            vector.take(self.more_slot[: self.used], out=products, mode="clip")
            products *= self.more_weight[: self.used]
            np.add.at(sums, self.more_row[: self.used], products)
        return sums

    def totals_of(self, vector: Floats, rows: Rows) -> Floats:
        """The sum of each of these rows."""
        out = vector.take(self.slot[rows], mode="clip") * self.weight[rows]
        position, entry = self.entries_of(rows)
        if len(entry):
            products = vector.take(self.more_slot[entry], mode="clip") * self.more_weight[entry]
            out += np.bincount(position, products, len(rows))
        return out

    def entries_of(self, rows: Rows) -> tuple[Rows, Rows]:
        """The further entries of these rows: for each its position in `rows` and its index in the `more` arrays."""
        room = self._room[rows]
        position = np.repeat(np.arange(len(rows)), room)
        before = np.cumsum(room) - room
        return position, np.arange(len(position)) - before[position] + self._start[rows][position]

    def room_of(self, rows: Rows) -> Rows:
        """How many further entries each of these rows has place for."""
        return self._room[rows]

    def slots_in_use(self, rows: int) -> Rows:
        """Every slot with a factor of the adapter's that some row refers to."""
        slots = np.concatenate((np.unique(self.slot[:rows]), np.unique(self.more_slot[: self.used])))
        return np.unique(slots[slots >= _SHIFT])

    def _clear(self, row: int) -> None:
        segment = slice(int(self._start[row]), int(self._start[row] + self._room[row]))
        self.more_slot[segment], self.more_weight[segment] = NOTHING, 0.0

    def _allot(self, row: int, room: int) -> None:
        end = self.used + room
        self._lengthen(end)
        self.more_row[self.used : end] = row
        self._start[row], self._room[row] = self.used, room
        self.used = end

    def _lengthen(self, end: int) -> None:
        if end > len(self.more_row):
            self.more_row, self.more_slot = _extended(self.more_row, end), _extended(self.more_slot, end)
            self.more_weight = _extended(self.more_weight, end)
            self._products = np.empty(len(self.more_weight))

    def _compact(self) -> None:
        kept = np.flatnonzero(self.more_slot[: self.used] != NOTHING)
        kept = kept[np.argsort(self.more_row[kept], kind="stable")]
        self.more_row, self.more_slot = self.more_row[kept], self.more_slot[kept]
        self.more_weight = self.more_weight[kept]
        self.used, self.abandoned = len(kept), 0
        self._room = np.bincount(self.more_row, minlength=len(self._room)).astype(np.intp)
        self._start = np.cumsum(self._room) - self._room


class Columns:
    """The rows by position key. A position that owes nothing has no row: nothing can be called from it."""

    def __init__(self) -> None:
        self.collateral = Side()
        self.requirement = Side()
        self.rows = 0  # rows ever given out; those given back are empty until reused
        self.signed = False  # some weight is negative, so a side may fall while its factors rise
        self.highest_slot = PLENTY
        self._row: dict[bytes, int] = {}
        self._key: list[bytes | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row)

    def row(self, key: bytes) -> int | None:
        return self._row.get(key)

    def key(self, row: int) -> bytes | None:
        return self._key[row]

    def put(self, key: bytes, linear: Linear | None) -> int | None:
        """Insert or replace a position, or remove it (None, or nothing required). The row that changed, if any did."""
        row = self._row.get(key)
        if linear is None or not linear.requirement:
            return None if row is None else self._remove(key, row)
        if row is None:
            row = self._take(key)
        for slot, weight in (*linear.collateral, *linear.requirement):
            self.highest_slot = max(self.highest_slot, slot + _SHIFT)
            self.signed = self.signed or weight < 0
        self.collateral.write(row, linear.collateral)
        self.requirement.write(row, linear.requirement)
        return row

    def append(self, keys: Sequence[bytes], linears: Linears) -> None:
        """Insert positions that are not there yet, in a fraction of the time that as many `put`s take."""
        collateral = _entries(linears.collateral_counts, linears.collateral_slots, linears.collateral_weights)
        requirement = _entries(linears.requirement_counts, linears.requirement_slots, linears.requirement_weights)
        owing = requirement[0] > 0
        if not owing.all():
            kept = np.repeat(owing, collateral[0])
            collateral = collateral[0][owing], collateral[1][kept], collateral[2][kept]
            requirement = requirement[0][owing], requirement[1], requirement[2]
            keys = [key for key, owes in zip(keys, owing.tolist(), strict=True) if owes]
        for _, slots, weights in (collateral, requirement):
            if len(slots):
                self.highest_slot = max(self.highest_slot, int(slots.max()) + _SHIFT)
                self.signed = self.signed or bool((weights < 0).any())
        if self.rows + len(keys) > len(self.collateral.slot):
            self.collateral.grow(self.rows + len(keys))
            self.requirement.grow(self.rows + len(keys))
        self.collateral.append(self.rows, *collateral)
        self.requirement.append(self.rows, *requirement)
        self._row.update(zip(keys, range(self.rows, self.rows + len(keys)), strict=True))
        self._key.extend(keys)
        self.rows += len(keys)

    def totals(self, vector: Floats) -> tuple[Floats, Floats]:
        """Collateral and requirement of every row, empty ones included (infinite collateral). Overwritten by the next
        call."""
        return self.collateral.totals(vector, self.rows), self.requirement.totals(vector, self.rows)

    def totals_of(self, vector: Floats, rows: Rows) -> tuple[Floats, Floats]:
        """Collateral and requirement of these rows."""
        return self.collateral.totals_of(vector, rows), self.requirement.totals_of(vector, rows)

    def _take(self, key: bytes) -> int:
        if self._free:
            row = self._free.pop()
            self._key[row] = key
        else:
            row = self.rows
            self.rows += 1
            self._key.append(key)
            if row >= len(self.collateral.slot):
                self.collateral.grow(self.rows)
                self.requirement.grow(self.rows)
        self._row[key] = row
        return row

    def _remove(self, key: bytes, row: int) -> int:
        self.collateral.write(row, ((PLENTY - _SHIFT, 1.0),))
        self.requirement.write(row, ())
        del self._row[key]
        self._key[row] = None
        self._free.append(row)
        return row


def _entries(counts: Any, slots: Any, weights: Any) -> tuple[Rows, Rows, Floats]:
    return np.asarray(counts, np.intp), np.asarray(slots, np.intp), np.asarray(weights, np.float64)


def _extended(array: NDArray[Scalar], size: int) -> NDArray[Scalar]:
    """A longer copy with room to spare, zeros at its end."""
    longer = np.zeros(max(size, 2 * len(array), 64), array.dtype)
    longer[: len(array)] = array
    return longer

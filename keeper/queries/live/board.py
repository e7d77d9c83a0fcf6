"""Every position of every protocol at one block, side by side: what lists are made of. Immutable once made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Band, Block
from keeper.evaluator.columns import Floats, Rows
from keeper.queries.live.book import UNKNOWN, LiveBook

BANDS = (*(band.label for band in Band), "unknown")
"""By number: of `Band`, and UNKNOWN."""

SORTS = ("health", "value", "account")
"""What positions can be sorted by; with a minus before it the other way round. value: of the collateral."""


@dataclass(frozen=True, slots=True)
class Board:
    """ids, keys: by place. protocol: index into `protocols`. Others as in `book.Judged`."""

    block: Block
    protocols: tuple[str, ...]
    ids: list[str]
    keys: list[bytes]
    protocol: NDArray[np.int8]
    band: NDArray[np.int8]
    health: Floats
    collateral: Floats
    debt: Floats
    watch: Floats
    call: Floats
    urgent: Floats
    _orders: dict[str, Rows] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)
    _accounts: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, block: Block, books: Sequence[LiveBook]) -> Board:
        ids: list[str] = []
        keys: list[bytes] = []
        parts: dict[str, list[Floats]] = {
            name: [] for name in ("health", "collateral", "debt", "watch", "call", "urgent")
        }
        protocols: list[NDArray[np.int8]] = []
        bands: list[NDArray[np.int8]] = []
        for number, book in enumerate(books):
            judged = book.judged(block.timestamp)
            held = [key for key in judged.keys if key is not None]
            rows = np.array([row for row, key in enumerate(judged.keys) if key is not None], np.intp)
            keys += held
            ids += [book.position_id(key) for key in held]
            protocols.append(np.full(len(held), number, np.int8))
            bands.append(judged.bands[rows])
            for name, part in parts.items():
                part.append(getattr(judged, name)[rows])
        whole = {name: np.concatenate(part) if part else np.zeros(0) for name, part in parts.items()}
        return cls(
            block,
            tuple(book.adapter.name for book in books),
            ids,
            keys,
            np.concatenate(protocols) if protocols else np.zeros(0, np.int8),
            np.concatenate(bands) if bands else np.zeros(0, np.int8),
            whole["health"],
            whole["collateral"],
            whole["debt"],
            whole["watch"],
            whole["call"],
            whole["urgent"],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, position: str) -> int | None:
        """Of a position by its id; the case of its letters says nothing."""
        if not self._places:
            self._places.update((name.lower(), place) for place, name in enumerate(self.ids))
        return self._places.get(position.lower())

    def order(self, sort: str) -> Rows:
        """Places in this order, each position once. Who has no health, or no value, comes last either way."""
        found = self._orders.get(sort)
        if found is None:
            found = self._orders[sort] = self._ordered(sort)
        return found

    def _ordered(self, sort: str) -> Rows:
        name, down = sort.removeprefix("-"), sort.startswith("-")
        by_id = np.argsort(np.array(self.ids, dtype=np.str_), kind="stable") if self.ids else np.zeros(0, np.intp)
        if name == "account":
            accounts = np.array([one.split(":", 2)[1] for one in self.ids], dtype=np.str_)
            found = by_id[np.argsort(accounts[by_id], kind="stable")] if self.ids else by_id
            return found[::-1] if down else found
        values = (self.health if name == "health" else self.collateral)[by_id]
        known = np.flatnonzero(~np.isnan(values))
        ranked = known[np.argsort(-values[known] if down else values[known], kind="stable")]
        return by_id[np.concatenate((ranked, np.flatnonzero(np.isnan(values))))]

    def select(
        self, sort: str, *, protocol: str | None = None, band: str | None = None, account: str | None = None
    ) -> Rows:
        """Places in order, of those that match."""
        order = self.order(sort)
        if protocol is not None:
            number = self.protocols.index(protocol) if protocol in self.protocols else -1
            order = order[self.protocol[order] == number]
        if band is not None:
            order = order[self.band[order] == BANDS.index(band)]
        if account is not None:
            order = order[np.isin(order, self.places_of(account))]
        return order

    def places_of(self, account: str) -> list[int]:
        """Of every position of an account; the case of its letters says nothing."""
        if not self._accounts:
            for place, name in enumerate(self.ids):
                self._accounts.setdefault(name.split(":", 2)[1].lower(), []).append(place)
        return self._accounts.get(account.lower(), [])

    def counts(self) -> dict[str, dict[str, int]]:
        """Positions by protocol and band; every protocol and band is there."""
        return {
            name: {
                label: int(np.count_nonzero((self.protocol == number) & (self.band == band)))
                for band, label in enumerate(BANDS)
            }
            for number, name in enumerate(self.protocols)
        }

    def at_risk(self) -> dict[str, dict[str, float]]:
        """Value of the collateral by protocol and band, in whole base units, as far as it is known."""
        return {
            name: {
                label: float(np.nansum(self.collateral[(self.protocol == number) & (self.band == band)]))
                for band, label in enumerate(BANDS)
            }
            for number, name in enumerate(self.protocols)
        }

    def band_of(self, place: int) -> str:
        return BANDS[int(self.band[place])]


__all__ = ["BANDS", "SORTS", "UNKNOWN", "Board"]

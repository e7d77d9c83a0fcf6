"""The open positions of a protocol as a mapping that leaves most of them where they are: in the store.

A million positions as objects are most of a gigabyte and ten seconds of making them, and of nearly all of them nothing
is wanted but their weights on the screen. So a position becomes an object when somebody asks for it, and those last
asked for stay.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, MutableMapping
from itertools import islice
from typing import Generic, TypeVar

from keeper.core.ports import Store

A = TypeVar("A")

KIND = "position"
_KEPT = 50_000
"""Positions kept as objects, some kilobyte each with all that they refer to."""

_VERSIONS = 16
"""So many more versions than keys are read, of positions that blocks not final yet changed."""


class StoredPositions(MutableMapping[bytes, A], Generic[A]):
    """What is put is not stored yet, and held until `settle` says that it is."""

    def __init__(self, store: Store, protocol: str, load: Callable[[bytes], A], kept: int = _KEPT) -> None:
        self._store = store
        self._protocol = protocol
        self._load = load
        self._most = kept
        self._kept: dict[bytes, A] = {}  # the longest here first
        self._new: dict[bytes, A | None] = {}  # None: gone
        self._count: int | None = None

    # --- one

    def __getitem__(self, key: bytes) -> A:
        position = self._new.get(key, self._kept.get(key))
        if position is not None:
            return position
        payload = None if key in self._new else self._store.fact(self._protocol, KIND, key)
        if payload is None:
            raise KeyError(key)
        position = self._load(payload)
        self._keep(key, position)
        return position

    def __setitem__(self, key: bytes, position: A) -> None:
        if self._count is not None and key not in self:
            self._count += 1
        self._new[key] = position

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        if self._count is not None:
            self._count -= 1
        self._new[key] = None

    def settle(self) -> None:
        """Everything that was put, or deleted, is in the store now."""
        for key, position in self._new.items():
            self._kept.pop(key, None)
            if position is not None:
                self._kept[key] = position
        self._new.clear()
        for key in list(islice(self._kept, max(len(self._kept) - self._most, 0))):
            del self._kept[key]

    # --- all

    def __iter__(self) -> Iterator[bytes]:
        for keys, _ in self.pages():
            yield from keys
        yield from self.unstored()

    def __len__(self) -> int:
        """Counted once, and from then on kept."""
        if self._count is None:
            for _ in self.pages():
                pass
        return self._count or 0

    def items(self) -> ItemsView[bytes, A]:
        """Of one position after the other; it is not kept."""
        return _Items(self)

    def loaded(self) -> Iterator[tuple[bytes, A]]:
        for keys, payloads in self.pages():
            for key, payload in zip(keys, payloads, strict=True):
                position = self._kept.get(key)
                yield key, self._load(payload) if position is None else position
        for key in self.unstored():
            yield key, self[key]

    def pages(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """See `keeper.core.ports.Paged`."""
        new, changes, count = self._new, list(self._new), 0
        for keys, payloads in self._store.fact_pages(self._protocol, KIND):
            if new and not new.keys().isdisjoint(keys):
                kept = [place for place, key in enumerate(keys) if key not in new]
                keys, payloads = [keys[place] for place in kept], [payloads[place] for place in kept]
            count += len(keys)
            yield keys, payloads
        if self._count is None and changes == list(new):  # seen whole: somebody will ask how many there are
            self._count = count + sum(1 for _ in self.unstored())

    def unstored(self) -> Iterator[bytes]:
        return (key for key, position in list(self._new.items()) if position is not None)

    def behind(self, key: bytes, count: int) -> list[bytes]:
        """The next keys in order, of those that are stored; fewer than `count` only at the end. They are kept."""
        found: list[bytes] = []
        for keys, payloads in self._store.fact_pages(self._protocol, KIND, after=key, size=count + _VERSIONS):
            for one, payload in zip(keys, payloads, strict=True):
                if one in self._new and self._new[one] is None:
                    continue
                if one not in self._kept and one not in self._new:
                    self._keep(one, self._load(payload))
                found.append(one)
                if len(found) == count:
                    return found
        return found

    def _keep(self, key: bytes, position: A) -> None:
        self._kept[key] = position
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]


class _Items(ItemsView[bytes, A]):
    def __init__(self, positions: StoredPositions[A]) -> None:
        super().__init__(positions)
        self._positions = positions

    def __iter__(self) -> Iterator[tuple[bytes, A]]:
        return self._positions.loaded()

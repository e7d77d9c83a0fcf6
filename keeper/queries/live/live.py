"""All protocols at the block the store is at, followed commit by commit.

A revert is followed by reading again what was changed above the common ancestor. Where that cannot be known (the store
moved beyond every block we saw), everything is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.types import Block, BlockRef
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.queries.live.board import Board
from keeper.queries.live.book import LiveBook

Adapter = ProtocolAdapter[Any, Any]


class Live:
    """Not for use from several threads. `sync` before reading, inside the store's snapshot."""

    def __init__(self, store: Store, adapters: Sequence[Adapter], rule: BandRules | Adaptive) -> None:
        self._store = store
        self.books = [LiveBook(adapter, rule) for adapter in adapters]
        self._known: set[str] = set()  # protocols that were loaded
        self._changed: dict[int, set[tuple[str, bytes]]] = {}  # by height, positions that changed there
        self._seen: dict[int, bytes] = {}  # hashes of the headers as of the last sync
        self._board: Board | None = None
        self.tip: Block | None = None

    @property
    def board(self) -> Board | None:
        """None while nothing is indexed. Made when first asked for, once for each block."""
        if self.tip is None:
            return None
        if self._board is None or self._board.block.hash != self.tip.hash:
            self._board = Board.of(self.tip, [book for book in self.books if book.ready])
        return self._board

    def book(self, protocol: str) -> LiveBook:
        return next(book for book in self.books if book.adapter.name == protocol)

    def sync(self) -> bool:
        """Arrive at the store's block; whether it is another one. Nothing is indexed: stay at None."""
        cursor = self._store.cursor()
        if cursor is None:  # to be indexed anew: nothing of what was read is to be taken over, however alike
            self._known.clear()
        if cursor is None or (self.tip is not None and cursor == self.tip.ref):
            return False
        blocks = self._store.blocks()
        self._arrive(blocks)
        self._seen = {block.number: block.hash for block in blocks}
        self._changed = {number: keys for number, keys in self._changed.items() if number in self._seen}
        self.tip, self._board = blocks[-1], None
        return True

    def _arrive(self, blocks: Sequence[Block]) -> None:
        tip = blocks[-1]
        ancestor = self._ancestor(blocks)
        for book in self.books:
            name = book.adapter.name
            if ancestor is None or name not in self._known:
                book.load(self._store, tip.timestamp)
                if book.ready:
                    self._known.add(name)
                # What may still be reverted is to be read again when it is, although nobody saw it change.
                for key, _payload, number in self._store.changed(name, "position", blocks[0].number):
                    self._changed.setdefault(number, set()).add((name, key))
                continue
            changed: dict[bytes, bytes | None] = {}
            for key, payload, number in self._store.changed(name, "position", ancestor.number):
                changed[key] = payload
                self._changed.setdefault(number, set()).add((name, key))
            for number, keys in self._changed.items():
                if number > ancestor.number:
                    for protocol, key in keys:
                        if protocol == name and key not in changed:
                            changed[key] = self._store.fact(name, "position", key)
            book.follow(self._store, changed, tip.timestamp)

    def _ancestor(self, blocks: Sequence[Block]) -> BlockRef | None:
        """The newest block that we saw and that is still there; None when there is none."""
        for block in reversed(blocks):
            if self._seen.get(block.number) == block.hash:
                return block.ref
        return None

"""What readers believe about each position: the last notice that was, may have been, or will be delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeper.core.records import Told
from keeper.store.database import Database
from keeper.store.encoding import to_told
from keeper.store.statements import chain, outbox


class Beliefs:
    """Asked at every block, changed at few: kept in memory by the only writer, re-read where deliveries changed."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._told: dict[str, Told] | None = None
        self._closed: set[str] = set()  # positions of which the last that was told is a closing
        self._changed: set[str] = set()

    def changed(self, positions: Iterable[str]) -> None:
        """Deliveries about these positions were added, dropped or settled."""
        self._changed.update(positions)

    def forget(self) -> None:
        """A transaction was rolled back: what was read inside it may never have been."""
        self._told = None
        self._changed.clear()

    def read(self) -> Mapping[str, Told]:
        """By position; closings only while a reorg could undo them."""
        if self._told is None:
            self._told = {told.position: told for told in map(to_told, self._db.rows(outbox.ALL_TOLD))}
            self._closed = {position for position, one in self._told.items() if one.event.closes}
            self._forget_final()
        elif self._changed:
            for position in self._changed:
                row = self._db.row(outbox.TOLD, position)
                if row is None:
                    self._told.pop(position, None)
                    self._closed.discard(position)
                else:
                    one = self._told[position] = to_told(row)
                    (self._closed.add if one.event.closes else self._closed.discard)(position)
            self._forget_final()
        self._changed.clear()
        return dict(self._told)

    def _forget_final(self) -> None:
        (lowest, _tip) = self._db.row(chain.HEADER_RANGE) or (None, None)
        self.finalized(lowest or 0)

    def finalized(self, number: int) -> None:
        """Forget closings below a final height."""
        if self._told is not None:
            for position in [one for one in self._closed if self._told[one].block_number < number]:
                del self._told[position]
                self._closed.discard(position)

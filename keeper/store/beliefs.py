"""What readers believe about each position: the last notice that was, may have been, or will be delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeper.core.records import Told
from keeper.store import statements as sql
from keeper.store.database import Database
from keeper.store.encoding import to_told


class Beliefs:
    """Asked at every block, changed at few: kept in memory by the only writer, re-read where deliveries changed."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._told: dict[str, Told] | None = None
        self._changed: set[str] = set()

    def changed(self, positions: Iterable[str]) -> None:
        """Deliveries about these positions were added, dropped or settled."""
        self._changed.update(positions)

    def forget(self) -> None:
        """A transaction was rolled back: what was read inside it may never have been."""
        self._told = None
        self._changed.clear()

    def read(self) -> Mapping[str, Told]:
        """By position; only those whose last notice does not close."""
        if self._told is None:
            everything = (to_told(row) for row in self._db.rows(sql.ALL_TOLD))
            self._told = {told.position: told for told in everything if not told.event.closes}
        for position in self._changed:
            row = self._db.row(sql.TOLD, position)
            told = None if row is None else to_told(row)
            if told is None or told.event.closes:
                self._told.pop(position, None)
            else:
                self._told[position] = told
        self._changed.clear()
        return dict(self._told)

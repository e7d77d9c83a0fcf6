"""Open episodes as arrays, so that most of them need no exact work in a block that leaves them where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from keeper.evaluator.columns import Columns, Floats, Rows
from keeper.evaluator.episodes import Episode
from keeper.evaluator.screen import Mask
from keeper.evaluator.spans import Spans


class Standing:
    """The rows of open episodes, and the health between which each stays in the band it is in."""

    def __init__(self) -> None:
        self._known = False

    def forget(self) -> None:
        """The episodes, the rows or the lines changed."""
        self._known = False

    def of(self, episodes: Mapping[bytes, Episode], columns: Columns, spans: Callable[[Rows], Spans]) -> Standing:
        """Itself, up to date.

        spans: the lines of some rows, NaN while nobody knows them.
        rowless: keys without a row (nothing required, as far as is known): always judged. holds: by row, whether an
        episode is open. always: by open row, whether it is judged whatever the floats say (its lines are unknown, or it
        was liquidated and is not over yet).
        """
        if self._known and len(self.holds) == columns.rows:
            return self
        rows = {key: columns.row(key) for key in episodes}
        self.rowless = [key for key, row in rows.items() if row is None]
        held = [(row, episodes[key]) for key, row in rows.items() if row is not None]
        self.rows: Rows = np.array([row for row, _ in held], np.intp)
        self.holds: Mask = np.zeros(columns.rows, np.bool_)
        self.holds[self.rows] = True
        lost: Mask = np.array([episode.liquidations > 0 for _, episode in held], np.bool_)
        deeper, leaves = spans(self.rows).of_open(np.array([episode.band for _, episode in held], np.intp))
        unknown = np.isnan(deeper) | np.isnan(leaves)
        self.deeper: Floats = np.where(unknown, 1.0, deeper)
        self.leaves: Floats = np.where(unknown, 1.0, leaves)
        self.always: Mask = np.asarray(lost | unknown, np.bool_)
        self._known = True
        return self

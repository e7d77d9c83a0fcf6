"""Open episodes as arrays, so that most of them need no exact work in a block that leaves them where they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keeper.core.types import Band
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Columns, Rows
from keeper.evaluator.episodes import Episode
from keeper.evaluator.screen import Mask


class Standing:
    """The rows of open episodes, and the health between which each stays in the band it is in."""

    def __init__(self, rules: BandRules) -> None:
        # By band. A liquidatable position keeps 1 and 1, between which nothing is: the protocol's flag decides of it.
        self._deeper, self._leaves = np.ones(len(Band)), np.ones(len(Band))
        self._deeper[Band.WATCH], self._leaves[Band.WATCH] = rules.call_wad / WAD, rules.closes_wad / WAD
        for band, deeper in ((Band.CALL, rules.urgent_wad), (Band.URGENT, WAD)):
            self._deeper[band], self._leaves[band] = deeper / WAD, rules.leaves_at_wad(band) / WAD
        self._known = False

    def forget(self) -> None:
        """The episodes or the rows changed."""
        self._known = False

    def of(self, episodes: Mapping[bytes, Episode], columns: Columns) -> Standing:
        """Itself, up to date.

        rowless: keys without a row (nothing required, as far as is known): always judged. holds: by row, whether an
        episode is open. always: by open row, whether it is judged whatever the floats say (it was liquidated, and is
        not over yet).
        """
        if self._known and len(self.holds) == columns.rows:
            return self
        rows = {key: columns.row(key) for key in episodes}
        self.rowless = [key for key, row in rows.items() if row is None]
        held = [(row, episodes[key]) for key, row in rows.items() if row is not None]
        self.rows: Rows = np.array([row for row, _ in held], np.intp)
        bands = np.array([episode.band for _, episode in held], np.intp)
        self.holds: Mask = np.zeros(columns.rows, np.bool_)
        self.holds[self.rows] = True
        self.deeper, self.leaves = self._deeper[bands], self._leaves[bands]
        self.always: Mask = np.array([episode.liquidations > 0 for _, episode in held], np.bool_)
        self._known = True
        return self

"""Open episodes as arrays, so that most of them need no exact work in a block that leaves them where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from keeper.core.types import Band
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Columns, Floats, Rows
from keeper.evaluator.episodes import Episode
from keeper.evaluator.screen import Mask


class Standing:
    """The rows of open episodes, and the health between which each stays in the band it is in."""

    def __init__(self) -> None:
        self._known = False

    def forget(self) -> None:
        """The episodes, the rows or the lines changed."""
        self._known = False

    def of(
        self,
        episodes: Mapping[bytes, Episode],
        columns: Columns,
        rules: Callable[[bytes], BandRules | None],
        margin: float = 0.0,
    ) -> Standing:
        """Itself, up to date.

        rules: of the position with a key, None while nobody knows them; margin: how far, relatively, its lines may move
        until `forget` is called.
        rowless: keys without a row (nothing required, as far as is known): always judged. holds: by row, whether an
        episode is open. always: by open row, whether it is judged whatever the floats say (its lines are unknown, or it
        was liquidated and is not over yet).
        """
        if self._known and len(self.holds) == columns.rows:
            return self
        rows = {key: columns.row(key) for key in episodes}
        self.rowless = [key for key, row in rows.items() if row is None]
        held = [(row, episodes[key], rules(key)) for key, row in rows.items() if row is not None]
        self.rows: Rows = np.array([row for row, _, _ in held], np.intp)
        self.holds: Mask = np.zeros(columns.rows, np.bool_)
        self.holds[self.rows] = True
        stays = [_stays(episode.band, own) for _, episode, own in held]
        self.deeper: Floats = np.array([deeper for deeper, _ in stays]) * (1 + margin)
        self.leaves: Floats = np.array([leaves for _, leaves in stays]) * (1 - margin)
        self.always: Mask = np.array([own is None or episode.liquidations > 0 for _, episode, own in held], np.bool_)
        self._known = True
        return self


def _stays(band: Band, rules: BandRules | None) -> tuple[float, float]:
    """The health below which an open episode in a band goes deeper, and at which it rises out of it.

    A liquidatable position keeps 1 and 1, between which nothing is: the protocol's flag decides of it.
    """
    if rules is None:
        return 1.0, 1.0
    if band is Band.WATCH:
        return rules.call_wad / WAD, rules.closes_wad / WAD
    if band is Band.CALL:
        return rules.urgent_wad / WAD, rules.leaves_at_wad(band) / WAD
    return (1.0, rules.leaves_at_wad(band) / WAD) if band is Band.URGENT else (1.0, 1.0)

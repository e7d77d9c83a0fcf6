"""The prune: rows sorted by float health at one moment, so that later moments need only look at the worst of them.

Let every collateral factor have changed by at least the ratio `fall` since then, and every requirement factor by at
most `rise`. Then C_new >= fall * C_old and D_new <= rise * D_old, so a row cannot satisfy C_new < k * D_new + a unless

    (C_old - 2a) / D_old < k * rise / fall          provided 2 * fall * a_old >= a_new

The rows are sorted by the left side; one binary search finds how many can be in question. Interest, prices and indices
are all inside the factors, so nothing else moves a row that was not rewritten. Where every row has a line l of its own,
D is l times the requirement: k then says how far below its line a row is sought, and a line may fall, but not rise.
"""

from __future__ import annotations

import numpy as np

from keeper.core.types import Slack
from keeper.evaluator.columns import Columns, Floats, Rows, Side

_DEPTH = 1.1  # rows this far above the highest threshold are kept; a move that reaches deeper takes a full screen
_NOISE = 1e-9  # far above what a few hundred float operations can be wrong by


class Ranking:
    """The worst rows of some columns with these factors, copied out in order of health.

    steepness: the largest k that is usually asked about. usual: how many rows that reaches when nothing moves.
    lines: by row, the health of each that k is relative to, at least 1; None: k is the health itself.
    It goes on describing the rows as they were: the caller looks after those rewritten since.
    """

    def __init__(
        self, columns: Columns, vector: Floats, slack: Slack, steepness: float, lines: Floats | None = None
    ) -> None:
        self.lined = lines is not None
        usable = np.where(vector >= 0, vector, np.nan)  # also empties what the ratios could not bound
        usable[2:][usable[2:] == 0] = np.nan
        collateral, requirement = columns.totals(usable)
        with np.errstate(divide="ignore", invalid="ignore"):
            margin = (collateral - 2 * slack.absolute) / (requirement if lines is None else requirement * lines)
        margin[np.isnan(margin)] = -np.inf  # no price, or nothing to compare: in question until sorted again
        worst = np.flatnonzero(margin < _DEPTH * steepness)
        self.rows: Rows = worst[np.argsort(margin[worst])]
        self._margin = margin[self.rows]
        self.usual = int(self._margin.searchsorted(steepness))
        self._limit = _DEPTH * steepness
        self._absolute = slack.absolute
        self._collateral = _Copy(columns.collateral, self.rows)
        self._requirement = _Copy(columns.requirement, self.rows)
        held, owed = (
            slots[~np.isnan(usable[slots])]
            for slots in (side.slots_in_use(columns.rows) for side in (columns.collateral, columns.requirement))
        )
        self._held = len(held)  # of the slots in use, the first so many are of collateral, the others of requirement
        self._in_use: Rows = np.concatenate((held, owed))
        self._inverse = 1 / usable[self._in_use]

    def reach(self, vector: Floats, slack: Slack, steepness: float) -> int | None:
        """How many of the worst rows can satisfy C < steepness * D + absolute now; None when the bound cannot tell."""
        ratios = vector.take(self._in_use)
        ratios *= self._inverse
        fall = ratios[: self._held].min() if self._held else 1.0
        rise = ratios[self._held :].max() if self._held < len(ratios) else 1.0
        if not (fall > 0 and rise < np.inf and 2 * fall * self._absolute >= slack.absolute):
            return None
        limit = steepness * rise / fall * (1 + _NOISE)
        return int(self._margin.searchsorted(limit)) if limit <= self._limit else None

    def totals(self, vector: Floats, count: int) -> tuple[Floats, Floats]:
        """Collateral and requirement of the `count` worst rows, as they were when sorted, with these factors."""
        return self._collateral.totals(vector, count), self._requirement.totals(vector, count)


class _Copy:
    """One side of the sorted rows, contiguous."""

    def __init__(self, side: Side, rows: Rows) -> None:
        self._slot, self._weight = side.slot[rows], side.weight[rows]
        self._position, entry = side.entries_of(rows)
        self._more_slot, self._more_weight = side.more_slot[entry], side.more_weight[entry]
        self._ends = self._position.searchsorted(np.arange(len(rows) + 1))

    def totals(self, vector: Floats, count: int) -> Floats:
        out = vector.take(self._slot[:count], mode="clip")
        out *= self._weight[:count]
        end = int(self._ends[count])
        if end:
            products = vector.take(self._more_slot[:end], mode="clip")
            products *= self._more_weight[:end]
            out += np.bincount(self._position[:end], products, count)
        return out

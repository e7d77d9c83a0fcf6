"""Which rows may be below a threshold: never one too few, and as few too many as the adapter's slack allows.

The adapter promises how far floats may be from its integers (`Slack`). A row is a candidate unless

    collateral >= threshold * (1 + relative) * requirement + absolute

holds for its float sums; a missing price makes the comparison false, so such a row is always a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Linear, Linears, Slack
from keeper.evaluator.columns import CHUNK, Columns, Floats, Rows, vector_of
from keeper.evaluator.ranking import Ranking

Mask = NDArray[np.bool_]

_NOISE = 1e-12  # what summing and multiplying a few hundred floats can add to the adapter's own slack
_STALE = 512  # rewritten rows, or rows in reach beyond twice the usual, after which sorting again pays for itself


def maybe_below(collateral: Floats, requirement: Floats, threshold: float | Floats, slack: Slack) -> Mask:
    """Rows whose exact health may be below the threshold (a number, or one per row)."""
    bound = requirement * (threshold * _steep(slack))
    bound += slack.absolute
    return ~(collateral >= bound)


def surely_below(collateral: Floats, requirement: Floats, threshold: Floats, vector: Floats, slack: Slack) -> Mask:
    """Rows whose exact health is below their threshold, whatever the slack and the grains of all slots hide."""
    if slack.grains is None:
        return np.zeros(len(collateral), np.bool_)
    grains = vector_of(slack.grains)[: len(vector)]
    hidden = float(np.nansum(grains[2:] * vector[2 : len(grains)]))
    bound = requirement * (threshold * (1 - 3 * slack.relative - _NOISE))
    bound -= 4 * slack.absolute + (1 + threshold) * hidden
    return collateral < bound


class Screen:
    """The columns of one protocol's book, and the ranking that spares most of them."""

    def __init__(self) -> None:
        self.columns = Columns()
        self._ranking: Ranking | None = None
        self._unsorted: dict[int, None] = {}  # rows rewritten since the ranking was made
        self._is_unsorted: Mask = np.zeros(0, np.bool_)
        self._crowded = False

    def put(self, key: bytes, linear: Linear | None) -> int | None:
        """Insert or replace a position, or remove it. The row that changed, if any did."""
        row = self.columns.put(key, linear)
        if row is None or self._ranking is None:
            return row
        self._unsorted[row] = None
        if row < len(self._is_unsorted):
            self._is_unsorted[row] = True
        return row

    def load(self, positions: Iterable[tuple[bytes, Linear]]) -> None:
        """Forget everything and hold these."""
        self.columns, self._ranking = Columns(), None
        for key, linear in positions:
            self.columns.put(key, linear)

    def append(self, keys: Sequence[bytes], linears: Linears) -> None:
        """Hold these as well, none of which may be there yet."""
        self.unsort()
        self.columns.append(keys, linears)

    def nearest(self, vector: Floats) -> Iterator[bytes]:
        """Keys of every row by rising ratio of collateral to requirement; those without a price come last."""
        self._check(vector)
        collateral, requirement = self.columns.totals(vector)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = collateral / requirement
        order = np.argsort(ratio, kind="stable")
        return (key for key in (self.columns.key(int(row)) for row in order) if key is not None)

    def between(self, vector: Floats, low: float, high: float, most: int) -> Rows:
        """The rows with the lowest ratio of collateral to requirement from `low` to below `high`, at most so many, in
        no order. By the floats alone."""
        self._check(vector)
        collateral, requirement = self.columns.totals(vector)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = collateral / requirement
            rows = np.flatnonzero((ratio >= low * (1 - _NOISE)) & (ratio < high))
        return rows if len(rows) <= most else rows[np.argpartition(ratio[rows], most)[:most]]

    def untold(self, vector: Floats, most: int) -> Rows:
        """Rows of which the floats cannot tell a ratio, at most so many, in no order."""
        self._check(vector)
        collateral, requirement = self.columns.totals(vector)
        return np.flatnonzero(np.isnan(collateral) | np.isnan(requirement))[:most]

    def below(self, vector: Floats, slack: Slack, threshold: float | Floats) -> Rows:
        """Every row whose exact health may be below the threshold with these factors, each once, in no order.

        threshold: a number, or a line for each row, none below 1. After a `sort` with lines, a line may have fallen
        since, and a number must not be above 1.
        """
        self._check(vector)
        ranking, reach = self._ranking, None
        if ranking is not None and not self.columns.signed:
            if not isinstance(threshold, np.ndarray):
                reach = ranking.reach(vector, slack, (1.0 if ranking.lined else threshold) * _steep(slack))
            elif ranking.lined:
                reach = ranking.reach(vector, slack, _steep(slack))
        if ranking is None or reach is None:
            self._crowded = True
            return self._all_below(vector, slack, threshold)
        self._crowded = self._crowded or reach > 2 * ranking.usual + _STALE
        rows = ranking.rows[:reach]
        found = rows[maybe_below(*ranking.totals(vector, reach), _of(threshold, rows), slack)]
        if not self._unsorted:
            return found
        unsorted = np.fromiter(self._unsorted, np.intp, len(self._unsorted))
        again = unsorted[maybe_below(*self.columns.totals_of(vector, unsorted), _of(threshold, unsorted), slack)]
        return np.concatenate((found[~self._is_unsorted[found]], again))

    def everything_below(self, vector: Floats, slack: Slack, threshold: float | Floats) -> Rows:
        """The same for any threshold, at the price of looking at every row."""
        self._check(vector)
        return self._all_below(vector, slack, threshold)

    def unsort(self) -> None:
        """Forget the ranking: lines rose, so that it proves nothing any more."""
        self._ranking = None
        self._unsorted.clear()

    def totals_of(self, vector: Floats, rows: Rows) -> tuple[Floats, Floats]:
        """Collateral and requirement of these rows."""
        self._check(vector)
        return self.columns.totals_of(vector, rows)

    @property
    def wants_sorting(self) -> bool:
        """Whether `sort` would make the next blocks cheaper: never sorted, or too much has moved since."""
        if self.columns.signed:
            return False
        return self._ranking is None or self._crowded or len(self._unsorted) > _STALE + self.columns.rows // 64

    def sort(self, vector: Floats, slack: Slack, threshold: float | Floats) -> None:
        """Rank the rows as they are now; the slow part, for when nobody is waiting.

        threshold: the highest that is usually asked about, or a line for each row.
        """
        self._check(vector)
        if isinstance(threshold, np.ndarray):
            self._ranking = Ranking(self.columns, vector, slack, _steep(slack), threshold)
        else:
            self._ranking = Ranking(self.columns, vector, slack, threshold * _steep(slack))
        self._unsorted.clear()
        self._is_unsorted = np.zeros(self.columns.rows, np.bool_)
        self._crowded = False

    def _all_below(self, vector: Floats, slack: Slack, threshold: float | Floats) -> Rows:
        collateral, requirement = self.columns.totals(vector)
        parts = (slice(at, at + CHUNK) for at in range(0, len(collateral), CHUNK))
        found = [
            np.flatnonzero(maybe_below(collateral[part], requirement[part], _of(threshold, part), slack)) + part.start
            for part in parts
        ]
        return np.concatenate(found) if found else np.zeros(0, np.intp)

    def _check(self, vector: Floats) -> None:
        if self.columns.highest_slot >= len(vector):
            raise ValueError(
                f"a position refers to slot {self.columns.highest_slot - 2}, "
                f"but the market has only {len(vector) - 2} factors"
            )


def _of(threshold: float | Floats, rows: Rows | slice) -> float | Floats:
    return threshold[rows] if isinstance(threshold, np.ndarray) else threshold


def _steep(slack: Slack) -> float:
    return (1 + slack.relative) * (1 + _NOISE)

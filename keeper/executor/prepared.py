"""Plans made before their moment: found behind a price update that was not mined yet, used when it is.

A plan is only as good as what it rests on, so it is used where position and prices are exactly what was foreseen, and
within a few blocks; it is simulated again like any other. What it saves is the search, its quotes and round trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keeper.core.types import LiquidationPlan, Prices
from keeper.executor.choose import Chosen
from keeper.executor.ports import Opportunity

KEPT_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class _Kept:
    block: int
    position: Any
    prices: Mapping[bytes, int]
    plan: LiquidationPlan


class Prepared:
    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def keep(self, chosen: Iterable[Chosen], block: int) -> None:
        """Remember plans made on top of this block; older ones are forgotten."""
        self._kept = {cause: kept for cause, kept in self._kept.items() if block - kept.block < KEPT_BLOCKS}
        for one in chosen:
            opportunity = one.opportunity
            venue = opportunity.venue
            position = venue.book.positions[opportunity.key]
            self._kept[opportunity.cause] = _Kept(block, position, _values(venue.prices), one.plan)

    def plan(self, opportunity: Opportunity, block: int) -> LiquidationPlan | None:
        """The plan kept for a position that is now as it was foreseen to be."""
        kept, venue = self._kept.get(opportunity.cause), opportunity.venue
        if kept is None or block - kept.block > KEPT_BLOCKS:
            return None
        as_foreseen = venue.book.positions[opportunity.key] == kept.position and _values(venue.prices) == kept.prices
        return kept.plan if as_foreseen else None


def _values(prices: Prices) -> dict[bytes, int]:
    return {asset: price.value for asset, price in prices.items()}

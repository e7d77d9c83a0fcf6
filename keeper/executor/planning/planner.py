"""Plans for our contract, for every opportunity that is worth looking at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.ports import Reads
from keeper.core.types import LiquidationPair, LiquidationPlan, Price, Skip
from keeper.executor.planning.assemble import assemble
from keeper.executor.planning.keeping import keep_the_rest
from keeper.executor.planning.ports import Counterparty, Funding, Permission, SwapVenue
from keeper.executor.planning.search import Financed, Job, Purse, search
from keeper.executor.planning.sequence import in_sequence
from keeper.executor.ports import Opportunity
from keeper.executor.venues.inventory import Inventory
from keeper.executor.venues.keep import Keep


@dataclass(frozen=True, slots=True)
class Planner:
    """contract: our Liquidator. inventory: how the wallet's own payments count; None when it never pays.
    keep: how collateral counts that is not sold at once; None when all of it is sold.
    least_gain_bps: the part of a plan's expected gain without which its transaction reverts.
    builder_tip_bps: the part of its profit that our contract pays to the block's builder."""

    contract: bytes
    venues: Sequence[SwapVenue]
    fundings: Sequence[Funding]
    inventory: Inventory | None
    keep: Keep | None
    least_gain_bps: int
    builder_tip_bps: int = 0

    @property
    def counterparties(self) -> Sequence[Counterparty]:
        return [*self.venues, *self.fundings]

    def permissions(self) -> Iterator[tuple[str, Permission]]:
        """What our contract must be allowed to call for it, by whose it is."""
        for venue in self.venues:
            yield from ((venue.name, permission) for permission in venue.permissions(buys=self.keep is not None))
        for funding in self.fundings:
            yield from ((funding.name, permission) for permission in funding.permissions())

    def plan(
        self,
        opportunities: Sequence[Opportunity],
        landing_at: int,
        *,
        gas_price_wei: int,
        native_asset: bytes | None,
        decimals: Mapping[bytes, int],
        limit: int,
        in_vain: Mapping[str, int] | None = None,
    ) -> Reads[Mapping[str, LiquidationPlan | Skip]]:
        """By cause. At most `limit` are searched, those first that are worth most at their protocol's prices.

        decimals: by token. gas_price_wei: what a unit of gas is expected to cost. in_vain: by cause, the block at which
        nothing was found, or what was found did not succeed; these come after all others, the longest ago first, so
        that what no pool buys does not keep what one does from being looked at.
        """
        tried = in_vain or {}
        plans: dict[str, LiquidationPlan | Skip] = {}
        worth: list[tuple[int, Opportunity, Job]] = []
        for opportunity in opportunities:
            native = None if native_asset is None else opportunity.venue.prices.get(native_asset)
            found = self.pairs(opportunity, landing_at)
            if isinstance(found, Skip):
                plans[opportunity.cause] = found
            elif native is None:
                plans[opportunity.cause] = Skip("gas_unpriced", "without a price for chain.wrapped_native gas counts")
            else:
                job = Job(found, purse_of(opportunity, decimals, native, gas_price_wei))
                worth.append((opportunity.wad(max(_at_oracle(pair) for pair in found)), opportunity, job))
        worth.sort(key=lambda one: (tried.get(one[1].cause, -1), -one[0], one[1].cause))
        for _, opportunity, _ in worth[limit:]:
            plans[opportunity.cause] = Skip("max_pending", "others are worth more, and as many as allowed are planned")
        searched = worth[:limit]
        jobs = [job for *_, job in searched]
        alone = yield from search(jobs, self.venues, self.fundings, landing_at)
        answers = yield from in_sequence(jobs, alone)
        if self.keep is not None:
            answers = yield from keep_the_rest(jobs, answers, self.keep.haircut_bps)
        for (_, opportunity, job), answer in zip(searched, answers, strict=True):
            plans[opportunity.cause] = answer if isinstance(answer, Skip) else self._assemble(answer, job.purse)
        return plans

    def _assemble(self, financed: Financed, purse: Purse) -> LiquidationPlan:
        return assemble(financed, self.contract, purse, self.least_gain_bps, self.builder_tip_bps)

    def pairs(self, opportunity: Opportunity, landing_at: int) -> Sequence[LiquidationPair] | Skip:
        """What our contract may liquidate of it."""
        venue = opportunity.venue
        position = venue.book.positions[opportunity.key]
        return venue.adapter.pairs(
            venue.book.market, venue.prices, opportunity.key, position, landing_at, self.contract
        )


def purse_of(opportunity: Opportunity, decimals: Mapping[bytes, int], native: Price, gas_price_wei: int) -> Purse:
    venue = opportunity.venue
    return Purse(venue.prices, decimals, venue.adapter.base_decimals(venue.book.market), native, gas_price_wei)


def _at_oracle(pair: LiquidationPair) -> int:
    whole = pair.plan(pair.most_assets)
    return whole.profit_base if isinstance(whole, LiquidationPlan) else 0

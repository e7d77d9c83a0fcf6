"""Plans for our contract, asked of the chain at the judged block."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from keeper.core.errors import KeeperError
from keeper.core.reads import drive
from keeper.core.types import BlockRef, LiquidationPlan, Prices, Skip
from keeper.executor.choose import Offers
from keeper.executor.planning.foreseen import Again, foresee
from keeper.executor.planning.planner import Planner
from keeper.executor.ports import Opportunity, Reader
from keeper.executor.prepared import Prepared
from keeper.executor.value import gas_value, value_down

log = structlog.get_logger(__name__)

_SEARCHED = 2  # for each that can be sent: some turn out to pay too little
_IN_VAIN = frozenset({"price_impact", "no_route", "no_funding", "unpriced"})


@dataclass(frozen=True, slots=True)
class Financier:
    planner: Planner
    reader: Reader
    native_asset: bytes | None
    deadline_s: float
    prepared: Prepared = field(default_factory=Prepared)
    in_vain: dict[str, int] = field(default_factory=dict)

    async def offers(
        self,
        opportunities: Sequence[Opportunity],
        block: BlockRef,
        landing_at: int,
        *,
        gas_price_wei: int,
        decimals: Mapping[bytes, int],
        limit: int,
        turned_down: Mapping[str, int],
    ) -> Offers:
        """Never longer than the deadline, and never an error: what cannot be planned now is planned with a later block.

        gas_price_wei: expected for the next block. decimals: by token. limit: how many of them can be sent.
        turned_down: by cause, the block at which a plan was last tried out in vain.
        """
        ready = {o.cause: plan for o in opportunities if (plan := self.prepared.plan(o, block.number)) is not None}
        if ready:
            log.info("prepared_plans_used", block=block.number, causes=sorted(ready))
        plans: Mapping[str, LiquidationPlan | Skip] = {}
        search = self.planner.plan(
            [opportunity for opportunity in opportunities if opportunity.cause not in ready],
            landing_at,
            gas_price_wei=gas_price_wei,
            native_asset=self.native_asset,
            decimals=decimals,
            limit=_SEARCHED * limit,
            in_vain={**turned_down, **self.in_vain},
        )
        try:
            async with asyncio.timeout(self.deadline_s):
                [plans] = await drive([search], lambda calls: self.reader.call_many(calls, block))
        except TimeoutError:
            log.warning("planning_timed_out", block=block.number, positions=len(opportunities))
        except KeeperError as error:
            log.warning("planning_failed", block=block.number, positions=len(opportunities), error=str(error))
        self._remember(plans, block.number)
        inventory = self.planner.inventory

        def kept(opportunity: Opportunity, plan: LiquidationPlan) -> LiquidationPlan | Skip:
            venue, token = opportunity.venue, plan.collateral_asset
            if inventory is None or token not in decimals or token not in venue.prices:
                return plan
            base = venue.adapter.base_decimals(venue.book.market)
            seized = value_down(plan.expected_seized_assets, decimals[token], venue.prices[token], base)
            return inventory.value(plan, seized)

        def gas_base(opportunity: Opportunity, plan: LiquidationPlan) -> int:
            venue = opportunity.venue
            native = None if self.native_asset is None else venue.prices.get(self.native_asset)
            base = venue.adapter.base_decimals(venue.book.market)
            return 0 if native is None else gas_value(plan.gas_limit_hint * gas_price_wei, native, base)

        return Offers({**plans, **ready}, kept if inventory is not None else None, gas_base)

    async def foresee(
        self,
        attempts: Sequence[tuple[Opportunity, int]],
        edge: Opportunity,
        today: Prices,
        again: Again,
        block: BlockRef,
        *,
        gas_price_wei: int,
        decimals: Mapping[bytes, int],
    ) -> LiquidationPlan | Skip:
        """A plan that is right once its position is open, see `foreseen.foresee`. Raises KeeperError when the node does
        not answer; nobody is waiting, so there is no other deadline than the node's."""
        search = foresee(
            self.planner,
            attempts,
            edge,
            today,
            again,
            gas_price_wei=gas_price_wei,
            native_asset=self.native_asset,
            decimals=decimals,
        )
        [plan] = await drive([search], lambda calls: self.reader.call_many(calls, block))
        return plan

    def _remember(self, plans: Mapping[str, LiquidationPlan | Skip], block: int) -> None:
        """What was searched in vain, as long as it stays open."""
        found = {cause: block for cause, one in plans.items() if isinstance(one, Skip) and one.code in _IN_VAIN}
        waiting = {cause: at for cause, at in self.in_vain.items() if isinstance(plans.get(cause), Skip)}
        self.in_vain.clear()
        self.in_vain.update({**waiting, **found})

"""How a position's plan is made before the block that opens it: at the price that does, and simulated with that price
put in place. Nobody is waiting meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keeper.core.errors import KeeperError
from keeper.core.ports import Stressable
from keeper.core.reads import drive
from keeper.core.stress import CodeSet, Lever, Override, SentAs
from keeper.core.types import Block, LiquidationPlan, Prices, Skip
from keeper.executor import armed as forms
from keeper.executor.ahead import Ahead
from keeper.executor.armed import Ready
from keeper.executor.choose import Chosen
from keeper.executor.financier import Financier
from keeper.executor.ports import Opportunity, Reader, Settings, Venue
from keeper.executor.purse import Purse
from keeper.executor.questions import Answers
from keeper.executor.simulate import Simulator
from keeper.executor.upkeep import Market

_OPENING_GAS = 2_000_000
_NEEDS_MARGIN = "needs_margin"


@dataclass(frozen=True, slots=True)
class Maker:
    """financier: plans for our contract, which then pays for all but what takes margin; without it the wallet does."""

    settings: Settings
    account: bytes
    simulator: Simulator
    reader: Reader
    financier: Financier | None

    async def make(
        self,
        opportunity: Opportunity,
        position: Any,
        block: Block,
        landing_at: int,
        purse: Purse,
        answers: Answers,
        gas: Market,
    ) -> Ready | Skip:
        """For a position that is not open yet. block: the tip. purse, answers: of it. gas: what it costs there."""
        venue, key = opportunity.venue, opportunity.key
        adapter, market, prices = venue.adapter, venue.book.market, venue.prices
        if not isinstance(adapter, Stressable):
            return Skip("not_stressable", "nobody knows how to simulate it before it is open")
        foreseen = forms.scenarios(adapter, market, prices, position, landing_at)
        if not foreseen:
            return Skip("no_edge", "no price alone opens it")
        at_edge = replace(venue, book=replace(venue.book, prices=foreseen[-1]))
        until = landing_at + forms.LASTS_S
        # What an amount follows from interest for is too much a moment earlier: then it is sized for now.
        attempts = ((foreseen[0], until), (foreseen[-1], until), (foreseen[-1], landing_at))
        plan: LiquidationPlan | Skip = Skip(_NEEDS_MARGIN, "")
        if self.financier is not None:
            try:
                plan = await self._borrowing(self.financier, venue, at_edge, key, attempts, block, answers, gas)
            except KeeperError as error:
                return Skip("not_simulated", str(error))
        if isinstance(plan, Skip) and plan.code == _NEEDS_MARGIN:
            plan = self._paying(at_edge, key, attempts, purse.tokens)
        if isinstance(plan, Skip):
            return plan
        if plan.prepare or not purse.allows(plan):
            return Skip("not_prepared", "what it takes is not approved, or prepared, yet")
        state = market, prices, key, position, landing_at
        try:
            for lever in Lever.PRICE, Lever.THRESHOLD:  # a price where one can be put in place
                opening = adapter.stress(*state, lever)
                [changes] = await drive([opening], lambda calls: self.reader.call_many(calls, block.ref))
                if not (isinstance(changes, Skip) and changes.code == "not_by_price"):
                    break
            as_if = changes if isinstance(changes, Skip) else _as_if(changes)
            if isinstance(as_if, Skip):
                return as_if
            [verdict], _ = await self.simulator.run([plan.call], block.ref, landing_at, ahead=as_if)
        except KeeperError as error:
            return Skip("not_simulated", str(error))
        if verdict is None:
            return Skip("not_simulated", "the node did not say whether it would succeed")
        if not verdict.succeeded:
            return Skip("would_revert", adapter.explain_revert(verdict.revert))
        if plan.financing is not None:  # what it brought, on exchanges that the price did not move, says nothing
            verdict = replace(verdict, logs=())
        least = self.settings.min_profit_base(adapter.base_decimals(market))
        chosen = Chosen(Opportunity(at_edge, key), plan, max(least, 0))
        return Ready(chosen, verdict, key, position, landing_at)

    def _paying(
        self, edge: Venue, key: bytes, attempts: Sequence[tuple[Prices, int]], wallet: Mapping[bytes, int]
    ) -> LiquidationPlan | Skip:
        """A plan that the wallet pays for, as it is at the edge. attempts: prices, and the time it is sized for."""
        book, landing_at = edge.book, attempts[-1][1]
        position, plan = book.positions[key], Skip("no_edge", "no price alone opens it")
        for imagined, at in attempts:
            planned = edge.adapter.plan(book.market, imagined, key, position, at, wallet, self.account)
            if isinstance(planned, Skip):
                plan = planned
                continue
            again = forms.rejudge(planned, edge, key, position, landing_at, self.account)
            if not isinstance(again, Skip):
                return again
            plan = again
        return plan

    async def _borrowing(
        self,
        financier: Financier,
        venue: Venue,
        edge: Venue,
        key: bytes,
        attempts: Sequence[tuple[Prices, int]],
        block: Block,
        answers: Answers,
        gas: Market,
    ) -> LiquidationPlan | Skip:
        """A plan for our contract, as it is at the edge."""
        position, contract, landing_at = edge.book.positions[key], financier.planner.contract, attempts[-1][1]
        imagined = [
            (Opportunity(replace(venue, book=replace(venue.book, prices=one)), key), at) for one, at in attempts
        ]
        return await financier.foresee(
            imagined,
            Opportunity(edge, key),
            venue.prices,
            lambda plan: forms.rejudge(plan, edge, key, position, landing_at, contract),
            block.ref,
            gas_price_wei=gas.needed_fee_wei,
            decimals=answers.wallet.decimals,
        )


def _as_if(changes: Sequence[Override]) -> Ahead | Skip:
    """What opens a position, as something to simulate behind: code in place of feeds, or somebody's transaction."""
    stand_ins = {one.account: one.code for one in changes if isinstance(one, CodeSet)}
    if stand_ins and len(stand_ins) == len(changes):
        return Ahead(b"", stand_ins=stand_ins)
    match changes:
        case [SentAs(sender, call)]:
            return Ahead(b"", sender=sender, call=call, gas_limit=_OPENING_GAS)
    return Skip("not_stressable", "what opens it cannot be put in place for a simulation")

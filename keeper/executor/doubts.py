"""What is not acted on in this block because it is not believed: for a while, since what is not believed may be true.

Two reasons: another endpoint sees a position otherwise (`SecondOpinion`), and a price that jumped since the block
before. Whatever is sent by mistake the chain refuses, at the cost of its gas; whatever is held by mistake others
liquidate. So one who contradicts holds a position for some blocks, not for good.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace

import structlog

from keeper.core.types import LiquidationPlan, Price, Prices, Skip
from keeper.core.units import BPS
from keeper.executor.choose import Chosen, Refused
from keeper.executor.ports import Opinions, Opportunity, Venue
from keeper.executor.trial import Outcome, Trial

log = structlog.get_logger(__name__)


class Doubts:
    """hold_blocks: for how many blocks in a row a contradiction holds a position. jump_bps: a price that is more than
    this above or below the one of the block before, relative to the lower of the two, is first to be confirmed, by
    another endpoint or by the next block; None: any price is believed."""

    def __init__(self, hold_blocks: int = 3, jump_bps: int | None = None) -> None:
        self._hold_blocks = hold_blocks
        self._jump_bps = jump_bps
        self._held: dict[str, int] = {}
        self._prices: dict[str, Prices] = {}
        self._jumped: dict[str, frozenset[bytes]] = {}

    def see_prices(self, venues: Sequence[Venue]) -> None:
        """Every block, before anything is considered."""
        limit = self._jump_bps
        for venue in venues if limit is not None else ():
            before, now = self._prices.get(venue.name), venue.prices
            if before is not None and limit is not None and before is not now:
                self._jumped[venue.name] = jumps(before, now, limit)
            else:
                self._jumped.pop(venue.name, None)
            self._prices[venue.name] = now

    async def about(self, chosen: Sequence[Chosen], asked: Awaitable[Opinions] | None) -> list[Refused]:
        """Those of the chosen that are not acted on in this block, and why. asked: what others say; None: nobody."""
        opinions = None if asked is None else await asked
        refused, contradicted = [], set()
        for one in chosen:
            cause = one.opportunity.cause
            opinion = None if opinions is None else opinions(one.opportunity)
            if opinion is not None and opinion.contradicts is not None:
                contradicted.add(cause)
                held = self._held[cause] = self._held.get(cause, 0) + 1
                if held <= self._hold_blocks:
                    refused.append(Refused(one.opportunity, Skip("in_doubt", opinion.contradicts)))
                else:
                    log.warning(
                        "acting_in_doubt", cause=cause, held_blocks=self._hold_blocks, doubt=opinion.contradicts
                    )
            elif (opinion is None or not opinion.confirms) and (
                assets := self._jump(one.opportunity.venue.name, one.plan)
            ):
                detail = f"the price of {', '.join(assets)} jumped since the block before; the next one confirms it"
                refused.append(Refused(one.opportunity, Skip("price_jump", detail)))
        self._held = {cause: count for cause, count in self._held.items() if cause in contradicted}
        return refused

    def _jump(self, venue: str, plan: LiquidationPlan) -> list[str]:
        jumped = self._jumped.get(venue, frozenset())
        return [f"0x{asset.hex()}" for asset in sorted(jumped & {plan.collateral_asset, plan.debt_asset})]

    def believes(self, opportunity: Opportunity, plan: LiquidationPlan, opinions: Opinions | None) -> bool:
        """Whether what was made ready before this block may leave at once: with the book of this block, whose prices
        `see_prices` has not seen yet. What may not is looked at again in the ordinary way."""
        opinion = None if opinions is None else opinions(opportunity)
        if opinion is not None:
            return opinion.contradicts is None
        before, limit = self._prices.get(opportunity.venue.name), self._jump_bps
        if before is None or limit is None:
            return True
        now = {asset: opportunity.venue.prices.get(asset) for asset in (plan.collateral_asset, plan.debt_asset)}
        return not jumps(before, {asset: price for asset, price in now.items() if price is not None}, limit)


def jumps(before: Prices, now: Prices, limit_bps: int) -> frozenset[bytes]:
    """Assets whose price moved by more than this, relative to the lower of the two."""
    return frozenset(asset for asset, price in now.items() if _jumped(before.get(asset), price, limit_bps))


def _jumped(before: Price | None, now: Price, limit_bps: int) -> bool:
    if before is None or before is now or before.decimals != now.decimals:
        return False
    low, high = sorted((before.value, now.value))
    return high * BPS > low * (BPS + limit_bps)


def without(trial: Trial, outcome: Outcome, causes: Collection[str]) -> tuple[Trial, Outcome]:
    """The trial and its outcome as if these had never been chosen."""
    if not causes:
        return trial, outcome
    kept = [index for index, one in enumerate(trial.chosen) if one.opportunity.cause not in causes]
    place = {old: new for new, old in enumerate(kept)}
    whole = [number for number, batch in enumerate(trial.batches) if all(index in place for index in batch)]
    tried = replace(
        trial,
        chosen=[trial.chosen[index] for index in kept],
        batches=[tuple(place[index] for index in trial.batches[number]) for number in whole],
    )
    found = replace(
        outcome,
        chosen=[outcome.chosen[index] for index in kept],
        batches=[outcome.batches[number] for number in whole if number < len(outcome.batches)],
    )
    return tried, found

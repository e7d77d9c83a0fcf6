"""Which opportunities are acted on: what the breakers and limits allow, what pays, and why the rest is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from keeper.core.records import Intent
from keeper.core.types import Block, Skip
from keeper.executor.accept import accept
from keeper.executor.choose import (
    WALLET_ONLY,
    Chosen,
    First,
    Refused,
    approvals_for,
    approved_pair,
    choose,
    preparations_for,
)
from keeper.executor.compose import Draft
from keeper.executor.fees import Fees
from keeper.executor.financier import Financier
from keeper.executor.guard import Guard
from keeper.executor.journal import Journal
from keeper.executor.ports import Mode, Opportunity, Settings, Venue
from keeper.executor.questions import Answers
from keeper.executor.transaction import decode_signed
from keeper.executor.trial import Outcome, Trial
from keeper.executor.upkeep import Market

log = structlog.get_logger(__name__)

_PASSING = frozenset({"awaiting_approval", "not_simulated", "insufficient_gas_money", "price_jump"})
"""Reasons against a liquidation that was tried out which say nothing of the next block."""


class Selection:
    """Remembers what it said about each opportunity, so that it says it once, when it last looked at it, and when it
    last tried it out in vain."""

    def __init__(
        self,
        settings: Settings,
        account: bytes,
        journal: Journal,
        guard: Guard | None,
        financier: Financier | None,
        clock: Callable[[], float],
        unexplained: Callable[[], Collection[str]],
    ) -> None:
        """unexplained: ids of intents that failed for a reason that is still to be asked for."""
        self._clock = clock
        self._unexplained = unexplained
        self._settings = settings
        self._account = account
        self._journal = journal
        self._guard = guard
        self._financier = financier
        self._told: dict[str, Skip] = {}
        self._planned_at: dict[str, int] = {}
        self._turned_down: dict[str, int] = {}

    def may_send(self, block: Block, venues: Sequence[Venue], answers: Answers) -> bool:
        """Whether the breakers let anything new through; what is on its way is tended all the same."""
        if self._guard is None:
            return True
        native, balance_wei = self._settings.native_asset, answers.wallet.native_wei
        return self._guard.review(venues, native, block.number, balance_wei, self._unexplained())

    def room(self, more_wei: int) -> Skip | None:
        """Why what is on its way may not cost so much more at the most."""
        return None if self._guard is None else self._guard.room(more_wei, self._journal.committed_wei())

    def admit(
        self, drafts: list[Draft], fees: Fees | None, block: Block, changed: Sequence[Intent] = ()
    ) -> list[Draft]:
        """The drafts, from the first, that the spend limits have room for at the most they can cost. changed: of what
        is on its way, what will be journalled with them."""
        if self._guard is None or fees is None or not drafts:
            return drafts
        drafts = self._without_losses(self._guard, drafts, block)
        costs_wei = [draft.most_wei(fees) for draft in drafts]
        return drafts[: self._guard.admit(costs_wei, self._journal.committed_wei(changed), block.number)]

    def _without_losses(self, guard: Guard, drafts: list[Draft], block: Block) -> list[Draft]:
        """The drafts but for those that lose more on purpose than the loss limits have room for."""
        losing = [draft for draft in drafts if draft.loss_wad]
        allowed = guard.admit_losses([d.loss_wad for d in losing], self._journal.committed_loss_wad(), block.number)
        held = losing[allowed:]
        return [draft for draft in drafts if draft not in held]

    def _objections(self, candidates: Sequence[Opportunity]) -> list[Refused]:
        """Of what protocols the operator does not want acted on."""
        if self._guard is None:
            return []
        objections = [(candidate, self._guard.objection(candidate.venue)) for candidate in candidates]
        return [Refused(candidate, skip) for candidate, skip in objections if skip is not None]

    def _unbelieved(self, chosen: Sequence[Chosen], decimals: Mapping[bytes, int]) -> list[Refused]:
        """Plans whose sale brings a price too far from the protocol's."""
        if self._guard is None:
            return []
        objections = [(c.opportunity, self._guard.deviation(c.opportunity.venue, c.plan, decimals)) for c in chosen]
        return [Refused(opportunity, skip) for opportunity, skip in objections if skip is not None]

    async def choose(
        self, block: Block, opportunities: Sequence[Opportunity], answers: Answers, landing_at: int, market: Market
    ) -> tuple[list[First], list[Chosen]]:
        """What to try out of the opportunities, with what it needs approved or prepared first."""
        causes = {opportunity.cause: opportunity for opportunity in opportunities}
        self._told = {cause: told for cause, told in self._told.items() if cause in causes}
        self._planned_at = {cause: number for cause, number in self._planned_at.items() if cause in causes}
        self._turned_down = {cause: number for cause, number in self._turned_down.items() if cause in causes}
        denied = self._objections(opportunities)
        self._tell(denied)
        for refusal in denied:
            del causes[refusal.opportunity.cause]
        settings, wallet, unspent = self._settings, answers.wallet, self._journal.unspent()
        if market.fresh is None:
            detail = f"gas costs {market.needed_fee_wei} wei, above max_fee_gwei ({market.cap_wei} wei)"
            self._tell([Refused(candidate, Skip("fee_above_cap", detail)) for candidate in causes.values()])
        if market.fresh is None or settings.max_pending <= len(unspent):
            return [], []
        blocked = self._journal.blocked_causes(block.number, self._clock())
        # Far more positions can be open to liquidation than are worth it: those refused longest ago come first.
        free = sorted((c for c in causes if c not in blocked), key=lambda c: (self._planned_at.get(c, -1), c))
        looked_at = [causes[cause] for cause in free[: settings.max_planned]]
        self._planned_at.update((opportunity.cause, block.number) for opportunity in looked_at)
        committed = {token: self._journal.committed(token) for token in wallet.tokens}
        offers = WALLET_ONLY
        if self._financier is not None and looked_at:
            offers = await self._financier.offers(
                looked_at,
                block.ref,
                landing_at,
                gas_price_wei=market.needed_fee_wei,
                decimals=wallet.decimals,
                limit=settings.max_pending - len(unspent),
                turned_down=self._turned_down,
            )
        chosen, refused = choose(
            looked_at,
            {token: max(held - committed[token], 0) for token, held in wallet.tokens.items()},
            self._account,
            landing_at,
            limit=settings.max_pending - len(unspent),
            least_base={one.cause: least_base(one, landing_at, settings) for one in looked_at},
            offers=offers,
            turned_down=self._turned_down,
        )
        unbelieved = self._unbelieved(chosen, wallet.decimals)
        self._tell(refused)
        self._turn_down(unbelieved, block)
        doubted = {refusal.opportunity.cause for refusal in unbelieved}
        chosen = [c for c in chosen if c.opportunity.cause not in doubted]
        in_flight = frozenset(
            approved_pair(decode_signed(i.attempts[-1].raw).call) for i in unspent if i.kind == "approval"
        )
        plans = [c.plan for c in chosen]
        exactly = settings.approve_exactly
        approvals = approvals_for(plans, wallet.allowances, committed, in_flight, exactly=exactly)
        return [*approvals, *preparations_for(chosen, frozenset(i.cause for i in unspent))], chosen

    def accept(self, trial: Trial, outcome: Outcome, market: Market, answers: Answers, block: Block) -> list[Draft]:
        if market.fresh is None or not trial.chosen:
            return []
        native_wei = max((answers.wallet.native_wei or 0) - self._journal.committed_wei(), 0)
        drafts, refused = accept(trial, outcome, market, market.fresh, answers.wallet, native_wei, self._settings)
        self._turn_down(refused, block)
        for draft in drafts if self._settings.mode is Mode.DRY_RUN else ():
            causes = [leg.cause for leg in draft.legs] or [draft.cause]
            if all((told := self._told.get(cause)) is not None and told.code == "simulated" for cause in causes):
                continue
            self._told.update(dict.fromkeys(causes, Skip("simulated", "a dry run sends nothing")))
            log.info(f"{draft.kind}_simulated", cause=draft.cause, profit=draft.profit_expected, block=block.number)
        return drafts

    def refusal(self, cause: str) -> Skip | None:
        """Why nothing is done about it; None when it was not refused."""
        return self._told.get(cause)

    def doubt(self, refused: Sequence[Refused], block: Block) -> frozenset[str]:
        """Say why nothing is done about these, of what was chosen at this block; their causes."""
        self._turn_down(refused, block)
        return frozenset(refusal.opportunity.cause for refusal in refused)

    def _turn_down(self, refused: Sequence[Refused], block: Block) -> None:
        """What was chosen, and is not done: the next block tries others first."""
        self._tell(refused)
        self._turned_down.update(
            (refusal.opportunity.cause, block.number) for refusal in refused if refusal.skip.code not in _PASSING
        )

    def _tell(self, refused: Sequence[Refused]) -> None:
        """Say why nothing is done about a position, once until the reason changes."""
        for refusal in refused:
            cause, skip = refusal.opportunity.cause, refusal.skip
            told = self._told.get(cause)
            self._told[cause] = skip
            if told is None or told.code != skip.code:
                log.info("liquidation_skipped", cause=cause, code=skip.code, detail=skip.detail)


def least_base(opportunity: Opportunity, landing_at: int, settings: Settings) -> int:
    """The profit after gas, in base units, below which it is left alone. Bad debt may be realized at a loss."""
    venue = opportunity.venue
    adapter, book = venue.adapter, venue.book
    base = adapter.base_decimals(book.market)
    loss = settings.bad_debt_loss_base(base)
    if loss is not None:
        health = adapter.health(book.market, book.prices, book.positions[opportunity.key], landing_at)
        if health.collateral_value < health.debt_value:
            return -loss
    return settings.min_profit_base(base)

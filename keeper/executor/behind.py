"""Acting right behind a price update that is not mined yet: its block is the only one in which nobody was faster.

    update ─▶ judged as if mined ─▶ act: plan, simulate [update, ours], journal, send [update, ours]
    next block ─▶ mined with it · lapsed, or cancelled, without it

By a route that takes bundles where there is one: all or nothing, so that an update which never comes costs nothing.
Else through the mempool, at a fee that puts ours behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from keeper.core.errors import KeeperError
from keeper.core.records import Intent
from keeper.core.types import Block, BlockRef, Skip
from keeper.executor.ahead import Ahead, distinct_gas, fees_behind, marked, update_of
from keeper.executor.compose import Draft
from keeper.executor.dispatch import Dispatch
from keeper.executor.fees import REPLACEMENT, Fees, below
from keeper.executor.financier import Financier
from keeper.executor.journal import Journal
from keeper.executor.ports import BehindRoute, Mode, Opportunity, PendingPrices, RawSender, Settings, Venue
from keeper.executor.questions import Answers
from keeper.executor.selection import Selection
from keeper.executor.simulate import Simulator
from keeper.executor.submitters.everywhere import Everywhere
from keeper.executor.trial import Trial, judge_waiting, try_out
from keeper.executor.upkeep import Judgement, Market

log = structlog.get_logger(__name__)

_OFFERS = 64  # of which a slow route may still owe an answer

Compose = Callable[[list[Draft], int, Fees, BlockRef, Sequence[Venue]], list[Intent]]
"""Signed intents for drafts, from the account's nonce in the block they were judged at."""


class Ways:
    """How ours can come right behind an update. private: offered with it, all or nothing. public: into the mempool,
    where fees order; None where nothing goes there."""

    def __init__(self, private: Sequence[BehindRoute] = (), public: RawSender | None = None) -> None:
        self.private = tuple(private)
        self.public = public
        self._offers: deque[Everywhere] = deque(maxlen=_OFFERS)

    def behind(self, ahead: Ahead, block: int) -> tuple[RawSender | None, bool]:
        """How to send behind this update in this block, and whether privately; None where there is no way."""
        routes = [_Offer(route, ahead, block) for route in self.private if route.takes(ahead)]
        if routes:
            self._offers.append(Everywhere("behind", routes))
            return self._offers[-1], True
        return (None if ahead.fees is None else self.public), False

    async def close(self) -> None:
        """End what some route has not answered yet; the routes themselves are not ours."""
        while self._offers:
            await self._offers.popleft().close()


class _Offer:
    """A route that takes bundles, as one way toward a block behind one update. Opened and closed by who owns it."""

    def __init__(self, route: BehindRoute, ahead: Ahead, block: int) -> None:
        self.name = route.name
        self.ordered_by_fee = route.ordered_by_fee
        self._route = route
        self._ahead = ahead
        self._block = block

    async def submit_many(self, raws: Sequence[bytes]) -> Sequence[KeeperError | None]:
        return await self._route.submit_behind(self._ahead, raws, self._block)

    async def check(self) -> str:
        return await self._route.check()

    async def close(self) -> None: ...


class Behind:
    """selections: of its own, so that what is said of a foreseen price is not taken for what is said of a real one; for
    what is offered privately, and for what fees put in order, which must not bid."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        selections: tuple[Selection, Selection],
        simulator: Simulator,
        dispatch: Dispatch,
        financier: Financier | None,
        ways: Ways,
        compose: Compose | None,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._private, self._public = selections
        self._simulator = simulator
        self._dispatch = dispatch
        self._financier = financier
        self._ways = ways
        self._compose = compose
        self._clock = clock

    async def act(
        self,
        ahead: Ahead,
        block: Block,
        opportunities: Sequence[Opportunity],
        venues: Sequence[Venue],
        landing_at: int,
        answers: Answers,
        market: Market,
    ) -> None:
        """Send, or prepare, what is worth it behind an update. opportunities, venues: as they will be once it is mined.

        May be cancelled at any await: nothing is journalled before the last, and what is journalled is on its way.
        """
        blocked = self._journal.blocked_causes(block.number, self._clock())
        opportunities = [opportunity for opportunity in opportunities if opportunity.cause not in blocked]
        if not opportunities:
            return
        sender, private = self._ways.behind(ahead, block.number + 1)
        sends = self._settings.pending_prices is PendingPrices.SEND
        if sends and sender is None:
            log.info("update_not_followed", update=ahead.name, reason="no configured way leads right behind it")
            sends = False
        if sends and not private and not self._simulator.in_sequence:
            log.info("update_not_followed", update=ahead.name, reason="the node cannot say whether it will succeed")
            sends = False
        if sends and not private:
            in_order = self._in_order(ahead, market)
            if isinstance(in_order, Skip):
                log.info("update_not_followed", update=ahead.name, reason=in_order.detail)
                return
            market = in_order
        selection = self._private if private else self._public
        if not selection.may_send(block, venues, answers):
            return
        trial = Trial([], *await selection.choose(block, opportunities, answers, landing_at, market))
        if not trial.chosen:
            return
        if self._financier is not None:
            self._financier.prepared.keep([c for c in trial.chosen if c.plan.financing is not None], block.number)
        deadline_s = self._settings.deadline_s
        outcome = await try_out(self._simulator, trial, block.ref, landing_at, deadline_s, ahead)
        drafts = selection.accept(trial, outcome, market, answers, block)
        if not drafts or not sends:
            causes = [draft.cause for draft in drafts]
            log.info("update_prepared_for", update=ahead.name, block=block.number, causes=causes)
            return
        if self._settings.mode is not Mode.LIVE or self._compose is None or market.fresh is None or sender is None:
            return
        drafts = selection.admit(drafts, market.fresh, block)
        nonce = answers.sight.nonce
        if not drafts or nonce is None:
            return
        drafts = [replace(draft, gas_limit=distinct_gas(draft.gas_limit, block.number)) for draft in drafts]
        composed = self._compose(drafts, nonce, market.fresh, block.ref, venues)
        for_block = block.number + 1 if private else None
        intents = [marked(intent, ahead, for_block=for_block) for intent in composed]
        self._journal.record(intents)
        log.info(
            "update_followed",
            update=ahead.name,
            block=block.number,
            privately=private,
            causes=[intent.cause for intent in intents],
        )
        await self._dispatch.send([intent.attempts[-1] for intent in intents], sender)

    async def judge_following(
        self,
        following: Sequence[Intent],
        answers: Answers,
        block: BlockRef,
        landing_at: int,
        venues: Mapping[str, Venue],
    ) -> Mapping[str, Judgement]:
        """Of intents in the mempool whose update still waits. Those not wanted are to be given up; the others wait with
        it, at the fee that keeps them behind it."""
        judgements: dict[str, Judgement] = {}
        for update in dict.fromkeys(map(update_of, following)):
            group = [intent for intent in following if update_of(intent) == update]
            trial = Trial(group, [], [])
            ahead = None if update is None else answers.ahead.get(update)
            outcome = await try_out(self._simulator, trial, block, landing_at, self._settings.deadline_s, ahead)
            judgements |= judge_waiting(trial, outcome, venues, self._settings.native_asset)
            for intent in group:
                age = block.number - intent.judged_number
                if age >= self._settings.replace_after_blocks:
                    reason = f"the price update it follows was not mined for {age} blocks"
                    judgements[intent.id] = Judgement(wanted=False, reason=reason)
        return judgements

    def _in_order(self, ahead: Ahead, market: Market) -> Market | Skip:
        """What gas costs where ours is to be ordered behind the update by its fee."""
        assert ahead.fees is not None
        base_fee, settings = market.base_fee_wei, self._settings
        fees = fees_behind(
            ahead.fees,
            base_fee,
            forecast_blocks=settings.forecast_blocks,
            max_tip_wei=settings.first_tip_wei,
            cap_wei=below(settings.max_fee_wei, REPLACEMENT),  # it can be given up
        )
        if isinstance(fees, Skip):
            return fees
        most_wei = fees.max_fee_wei
        return Market(
            needed_fee_wei=base_fee + fees.tip_wei,
            fresh=fees,
            cap_wei=most_wei,
            first_cap_wei=most_wei,
            tip_cap_wei=settings.tip_cap_wei,
            base_fee_wei=base_fee,
            typical_tip_wei=fees.tip_wei,
        )

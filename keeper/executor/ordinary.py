"""The ordinary way: what is on its way is tended to, and what is worth it is sent, once a block was observed.

waiting, chosen ─▶ tried out on the node ─▶ the block is durable ─▶ doubts, accounts ─▶ signed ─▶ journal ─▶ sent
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from keeper.core.records import Intent
from keeper.core.types import Block
from keeper.executor.ahead import offered_until, update_of
from keeper.executor.batch import group
from keeper.executor.behind import Behind
from keeper.executor.compose import Draft
from keeper.executor.doubts import without
from keeper.executor.explain import Explainer
from keeper.executor.firing import Firing
from keeper.executor.kit import Kit
from keeper.executor.lifecycle import is_uncertain, nonce_of
from keeper.executor.ports import Mode, Opportunity, Venue
from keeper.executor.postings import Postings
from keeper.executor.questions import Answers
from keeper.executor.selection import Selection
from keeper.executor.signatory import Signatory
from keeper.executor.trial import Trial, judge_waiting, try_out
from keeper.executor.upkeep import market_of, tend

log = structlog.get_logger(__name__)


class Ordinary:
    """signatory: None in a dry run, which sends nothing."""

    def __init__(
        self,
        kit: Kit,
        firing: Firing,
        selection: Selection,
        behind: Behind,
        postings: Postings,
        explainer: Explainer,
        signatory: Signatory | None,
    ) -> None:
        self._kit = kit
        self._firing = firing
        self._selection = selection
        self._behind = behind
        self._postings = postings
        self._explainer = explainer
        self._signatory = signatory
        self._sent_at: dict[bytes, int] = {}
        self._uncertain_since: dict[str, int] = {}  # block numbers, by intent
        self.finalized = -1
        """Number of the newest final block."""

    async def act(
        self,
        block: Block,
        opportunities: Sequence[Opportunity],
        venues: Sequence[Venue],
        landing_at: int,
        stored: asyncio.Event | None = None,
        *,
        orders: Sequence[Draft] = (),
    ) -> None:
        """Tend to what is on its way and send what is worth it. Only at the tip, after the block was observed.

        landing_at: unix seconds of the block that new transactions can be in; opportunities were judged for it.
        stored: set once the block is durable. Until then the node is only asked to simulate, nothing is journalled or
        sent: the node and the disk work at the same time.
        orders: what a person asked for; sent before everything else, whatever it brings. Whoever gives one sees to it
        that none of its cause is on its way.
        """
        if self._kit.settings.mode is Mode.OFF:
            return
        answers = self._kit.watch.answers
        if answers is None or answers.sight.block != block.ref or answers.sight.nonce is None:
            log.warning("block_not_acted_on", block=block.number, reason="our nonce in it is not known")
            return
        if block.base_fee_wei is None:
            log.warning("block_not_acted_on", block=block.number, reason="it has no base fee (EIP-1559)")
            return
        market = market_of(block, block.base_fee_wei, answers, self._kit.settings)
        busy = self._kit.dispatch.busy()
        unspent = self._kit.journal.unspent() if self._signatory else []
        just_sent = self._firing.just_sent
        left_alone = just_sent | self._to_be_told(unspent, block.number)
        exposed = [intent for intent in unspent if offered_until(intent) is None and intent.id not in left_alone]
        following = [intent for intent in exposed if update_of(intent) in answers.ahead]
        held = {intent.id for intent in following}
        waiting = [intent for intent in exposed if intent.id not in held]
        self._postings.begin(block.number)
        self._kit.doubts.see_prices(venues)
        if not self._kit.foreign.look(answers.sight, list(self._kit.journal), block.number, self.finalized):
            self._kit.watch.answers = replace(answers, sight=replace(answers.sight, nonce=None))  # for all who use it
            if just_sent:
                await self._kit.dispatch.settle()
            return
        may_send = self._selection.may_send(block, venues, answers)
        if not (may_send and self._kit.settings.liquidates):
            opportunities = ()
        said = self._postings.due(market.fresh) if may_send else []
        approvals, chosen = await self._selection.choose(block, opportunities, answers, landing_at, market)
        trial = Trial(waiting, approvals, chosen, group(chosen, market, self._kit.settings))
        if chosen:
            self._kit.latency.reached("planned")
        last = [intent.attempts[-1].tx_hash for intent in exposed]
        self._sent_at = {tx_hash: self._sent_at.get(tx_hash, block.number) for tx_hash in last}
        failed = self._kit.watch.take_unexplained()
        if not (exposed or trial.chosen or failed or orders or said):
            if just_sent:
                await self._kit.dispatch.settle()
            return
        asked = None if self._kit.second is None else self._kit.second.ask(block, [one.opportunity for one in chosen])
        outcome = await try_out(self._kit.simulator, trial, block.ref, landing_at, self._kit.settings.deadline_s)
        by_name = {venue.name: venue for venue in venues}
        followed = await self._behind.judge_following(following, answers, block.ref, landing_at, by_name)
        given_up = {intent_id: judgement for intent_id, judgement in followed.items() if judgement.wanted is False}
        if stored is not None:
            await stored.wait()
        doubted = self._selection.doubt(await self._kit.doubts.about(chosen, asked), block)
        believed, outcome = without(trial, outcome, doubted)
        drafts = self._selection.accept(believed, outcome, market, answers, block)
        if self._kit.settings.mode is not Mode.LIVE or self._signatory is None:
            return
        composer = self._signatory.composer(venues, orders)
        changed, outgoing = tend(
            [
                i
                for i in exposed
                if i.id not in busy
                and (i.id not in held or i.id in given_up)
                and nonce_of(i) not in self._kit.foreign.waiting  # left to whoever has it: bidding would be a fight
            ],
            {
                **judge_waiting(believed, outcome, by_name, self._kit.settings.native_asset),
                **given_up,
                **self._postings.judge(exposed),
            },
            answers.sight,
            self._sent_at,
            market,
            composer,
            replace_after_blocks=self._kit.settings.replace_after_blocks,
            room=self._selection.room,
            now=self._kit.clock(),
        )
        said = self._postings.payable(said, drafts, market.fresh, answers.wallet.native_wei)
        drafts = [*orders, *self._selection.admit([*drafts, *said], market.fresh, block, changed)]
        new = self._signatory.compose(composer, drafts, answers.sight.nonce, market.fresh, block.ref)
        swallowed = [i for i in following if i.id not in busy and followed[i.id].wanted and _is_gone(i, answers)]
        leaving = [*outgoing, *(intent.attempts[-1] for intent in (*new, *swallowed))]
        outgoing = sorted(leaving, key=lambda attempt: attempt.nonce)
        if changed or new:
            self._kit.journal.record([*changed, *new])
            self._postings.learned()
            if new:
                self._kit.latency.reached("journalled")
                self._kit.latency.sent(intent.id for intent in new)
        if outgoing:
            self._sent_at.update((attempt.tx_hash, block.number) for attempt in outgoing)
            await self._kit.dispatch.send(outgoing)
        explained = await self._explainer.explain(failed, by_name)
        if self._kit.guard is not None:
            self._kit.guard.note(explained)

    def _to_be_told(self, unspent: Sequence[Intent], block: int) -> frozenset[str]:
        """Intents that may never have left, left alone until the node says whether they did. Where it does not, for
        some blocks only: each holds a nonce, and nothing behind it can be mined."""
        unsure = [intent.id for intent in unspent if is_uncertain(intent)]
        self._uncertain_since = {one: self._uncertain_since.get(one, block) for one in unsure}
        patience = self._kit.settings.replace_after_blocks
        return frozenset(one for one, since in self._uncertain_since.items() if block - since < patience)


def _is_gone(intent: Intent, answers: Answers) -> bool:
    """Whether the node says that it does not have the intent's last transaction."""
    return answers.sight.known.get(intent.attempts[-1].tx_hash) is False

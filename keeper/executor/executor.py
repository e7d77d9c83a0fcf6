"""One block at a time: what became of our transactions, what to do about them, and which new ones to send.

    questions ─▶ asked with the block's other reads ─▶ observe ─▶ act, once the block is stored

The journal is durable before a byte leaves, and what we did is learned from blocks, like everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from keeper.core.errors import ConfigError
from keeper.core.latency import Latency
from keeper.core.policy import SigningPolicy
from keeper.core.ports import Signer, Store, Transaction
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import Block, BlockRef, Call, CallResult, Skip, TxCall
from keeper.executor.ahead import Ahead, offered_until, update_of
from keeper.executor.armed import Armed, Fired, View, documented, is_financed
from keeper.executor.armory import Armory, Signing, Verdicts, recover
from keeper.executor.batch import group
from keeper.executor.behind import Behind, Ways
from keeper.executor.compose import Composer, Draft, draft_filler
from keeper.executor.dispatch import Dispatch
from keeper.executor.doubts import Doubts, without
from keeper.executor.explain import Explainer
from keeper.executor.fees import Fees, choose_fees, next_base_fee, tip_from_history
from keeper.executor.financier import Financier
from keeper.executor.foreign import Foreign
from keeper.executor.guard import Guard
from keeper.executor.halt import Halt
from keeper.executor.journal import Journal
from keeper.executor.lifecycle import is_uncertain, nonce_of
from keeper.executor.nonces import allocate, gaps
from keeper.executor.policy import policy_of
from keeper.executor.ports import (
    Mode,
    Opinions,
    Opportunity,
    RawSender,
    Reader,
    Request,
    Rpc,
    SecondOpinion,
    Settings,
    Venue,
)
from keeper.executor.postings import Postings
from keeper.executor.questions import Answers, Questions, Wallet
from keeper.executor.selection import Selection
from keeper.executor.simulate import Simulator
from keeper.executor.trial import Trial, judge_waiting, try_out
from keeper.executor.upkeep import Market, tend
from keeper.executor.watch import Watch

log = structlog.get_logger(__name__)

NEARBY_S = 0.001
"""How soon a node on this machine, or beside it, answers."""


class Executor:
    """The only part that holds a key. All but `act` and `close` is synchronous and does no I/O but the store's."""

    def __init__(
        self,
        store: Store,
        rpc: Rpc,
        sender: RawSender,
        settings: Settings,
        clock: Callable[[], float],
        *,
        signer: Signer | None = None,
        account: bytes | None = None,
        guard: Guard | None = None,
        release: Callable[[], Awaitable[None]] | None = None,
        financier: Financier | None = None,
        ways: Ways | None = None,
        reader: Reader | None = None,
        second: SecondOpinion | None = None,
        doubts: Doubts | None = None,
        foreign: Foreign | None = None,
    ) -> None:
        """signer: needed when live. account: whose wallet a dry run without a signer looks at. guard: the breakers;
        without them nothing but the settings limits what is sent. financier: plans for our contract; without them only
        the wallet pays. release: frees the sender once nothing is being sent. ways: how to send right behind a price
        update that is not mined yet. reader: of view calls, without which nothing is armed. second: who confirms
        positions about to be acted on. doubts: for how long what is not confirmed is held. foreign: notices whoever
        else sends with our key.

        Raises ConfigError when the mode needs what is not given.
        """
        if settings.mode is Mode.LIVE and signer is None:
            raise ConfigError('executor mode is "live" but there is no key; give executor.private_key or a keystore')
        who = signer.address if signer is not None else account
        if settings.mode is not Mode.OFF and who is None:
            raise ConfigError(f'executor mode is "{settings.mode}" but no wallet is known; give a key or an account')
        self._store = store
        self._settings = settings
        self._clock = clock
        self._account = who or b""
        self._journal = Journal(store, settings.cooldown_blocks, settings.lasting_cooldown_s)
        self._foreign = foreign or Foreign(store, Halt(), clock, yield_s=0)
        self._finalized = -1
        self._watch = Watch(self._journal, self._account, settings, clock, lambda nonce: self._foreign.is_far(nonce))
        self._explainer = Explainer(rpc, self._account, self._journal, clock, settings.deadline_s)
        self._simulator = Simulator(rpc, self._account)
        self._dispatch = Dispatch(sender, self._journal, clock, settings.deadline_s, self._awaited)
        self._signer = signer
        self._guard = guard
        self._armory: Armory | None = None
        live = settings.mode is Mode.LIVE and settings.liquidates
        if signer is not None and reader is not None and settings.armed and live:
            sign = Signing(signer.address, partial(self._composer, signer), self._permitted)
            self._armory = Armory(
                store,
                self._journal,
                settings,
                sign,
                self._simulator,
                reader,
                guard,
                clock,
                lambda: self._foreign.waiting,
                financier,
            )
        self.latency = Latency()
        self._fired: list[Fired] = []
        self._just_sent: frozenset[str] = frozenset()
        self._release = release
        self._second = second
        self._doubts = doubts or Doubts()
        self._sent_at: dict[bytes, int] = {}
        self._uncertain_since: dict[str, int] = {}  # block numbers, by intent
        self.postings = Postings(store, self._journal, rpc, self._account, settings, clock)

        def selection(of: Settings) -> Selection:
            unexplained = self._watch.unexplained
            return Selection(of, self._account, self._journal, guard, financier, clock, unexplained)

        self._selection = selection(settings)
        self.ways = ways or Ways()
        self._behind = Behind(
            settings,
            self._journal,
            (selection(settings), selection(replace(settings, tip_share_bps=0))),
            self._simulator,
            self._dispatch,
            financier,
            self.ways,
            None if signer is None else self._compose_behind,
        )

    @property
    def account(self) -> bytes:
        """The wallet; empty when there is none."""
        return self._account

    @property
    def active(self) -> bool:
        return self._settings.mode is not Mode.OFF

    @property
    def liquidates(self) -> bool:
        """Whether positions are acted on, be it in a dry run; a wallet may also do nothing but post notices."""
        return self.active and self._settings.liquidates

    # --- what it tells of itself

    @property
    def mode(self) -> Mode:
        return self._settings.mode

    @property
    def guard(self) -> Guard | None:
        """The breakers."""
        return self._guard

    @property
    def intents(self) -> Iterator[Intent]:
        """Those that blocks can still change."""
        return iter(self._journal)

    @property
    def pending(self) -> int:
        """How many are on their way: no block has used their nonce."""
        return len(self._journal.unspent()) if self.active else 0

    @property
    def wallet(self) -> Wallet | None:
        """What our account held at the last block observed; None before the first, and when the executor is off."""
        answers = self._watch.answers
        return None if answers is None else answers.wallet

    # --- every block

    def adopt(self, blocks: Sequence[Block], finalized: int) -> None:
        """Take over the journal, at the start and whenever blocks were skipped. blocks: the stored headers.

        What crashed half-way needs no more: the next block tells what was mined, the one judging after it decides
        whether the rest is sent again or given up.
        """
        if self.active:
            self._watch.answers = None
            self._fired = []
            self._finalized = finalized
            self._journal.load(blocks, finalized, self._clock())
            if self._armory is not None:
                self._armory.recover()
            else:  # this one keeps nothing ready; the one before it may have
                recover(self._store, self._journal, self._account)
            self._foreign.load()
            self.postings.adopt()
            if self._guard is not None:
                self._guard.load()

    def questions(self, block: BlockRef, venues: Sequence[Venue]) -> Questions:
        """What to ask at this block; nothing when the executor is off."""
        if not self.active:
            return Questions(block, (), ())
        return self._watch.questions(block, venues if self.liquidates else ())

    def observe(
        self,
        questions: Questions,
        results: Sequence[CallResult],
        answers: Sequence[Any],
        venues: Sequence[Venue],
        finalized: int,
    ) -> Sequence[Intent]:
        """Learn from a block. results and answers: to the questions, in order.

        Returns the intents that changed, to be stored in the transaction that commits the block; if that fails, `adopt`
        makes this the executor that knows nothing of it.
        """
        if not self.active:
            return ()
        self._dispatch.collect()
        self._finalized = finalized
        changed = self._watch.observe(questions, results, answers, venues, finalized)
        for intent in changed:
            if intent.status is IntentStatus.INCLUDED:
                self.latency.included(intent.id)
        if self._guard is not None:
            self._guard.note(changed)
        self.postings.learned()
        return [*changed, *self._fired_documented()]

    def reverted(self, transaction: Transaction, ancestor: BlockRef) -> None:
        """Unlearn what blocks above the ancestor said, in the transaction that reverts them."""
        if self.active:
            self._watch.reverted(transaction, ancestor)
            self.postings.reverted()
            if self._guard is not None:
                self._guard.note(self._journal)

    @property
    def armed(self) -> frozenset[str]:
        """Protocols of which a position's transaction is ready to be sent."""
        return frozenset() if self._armory is None else self._armory.names

    @property
    def ready(self) -> Sequence[Armed]:
        """What may be sent as soon as the next block's prices are known, where nobody else has to be asked."""
        if self._armory is None or self._second is not None:
            return ()
        return [one for one in self._armory.armed if not is_financed(one.ready)]

    @property
    def arms(self) -> int:
        """Of how many positions a transaction is kept ready; 0 where none is."""
        return 0 if self._armory is None else self._settings.armed

    def ask_others(self, block: Block) -> Awaitable[Opinions] | None:
        """Ask other endpoints about what is armed, while the block is read. None where nothing is, or nobody there."""
        if self._second is None or self._armory is None or not self._armory.armed:
            return None
        return self._second.ask(block, [one.ready.chosen.opportunity for one in self._armory.armed])

    def try_ready(self, block: Block, landing_at: int) -> Awaitable[Verdicts] | None:
        """Ask the node what the calls of our contract that are ready do on this block, while it is read; None where
        none are. It leaves with the event loop's next turn."""
        return None if self._armory is None else self._armory.ask(block, landing_at)

    def survey(self, block: Block) -> None:
        """Before `fire`, while the block is still being asked about: what does not depend on the answer."""
        if self._armory is not None:
            self._armory.survey(block, self._watch.answers)

    def awaits(self, views: Mapping[str, View], landing_at: int) -> bool:
        """Whether it is worth waiting for the answer to `try_ready`."""
        return self._armory is not None and self._armory.awaits(views, landing_at)

    def would_fire(self, block: Block, views: Mapping[str, View], landing_at: int, verdicts: Verdicts) -> bool:
        """Whether it is worth waiting for what others say."""
        answers = self._watch.answers
        return self._armory is not None and self._armory.would_fire(block, views, landing_at, answers, verdicts)

    def fire(
        self,
        block: Block,
        views: Mapping[str, View],
        landing_at: int,
        opinions: Opinions | None = None,
        verdicts: Verdicts | None = None,
    ) -> bool:
        """Send what is ready and what this block opens, before anything else is done about the block; whether there was
        any. opinions: of other endpoints. verdicts: of `try_ready`. It leaves before this returns where the way it goes
        allows it, else with the event loop's next turn. To be followed by `observe`, and by `fired` in the transaction
        that stores a block, this or another one; where either fails, by `adopt`."""
        if self._armory is None:
            return False
        believed = partial(self._doubts.believes, opinions=opinions)
        fired = self._armory.fire(block, views, landing_at, self._watch.answers, believed, verdicts or {})
        durable = [one.intent for one in fired if one.is_durable]
        signed_again = [one.intent for one in fired if not one.is_durable]
        self._fired += fired
        if durable:
            self._journal.hold(durable)
            self._dispatch.launch([intent.attempts[-1] for intent in durable])
        for stage in ("judged", "planned", "journalled") if durable else ():
            self.latency.reached(stage)
        self.latency.sent(one.intent.id for one in fired)
        if signed_again:
            self._journal.record(signed_again)
            self._dispatch.launch([intent.attempts[-1] for intent in signed_again])
        return bool(fired)

    @property
    def leaving(self) -> Sequence[asyncio.Future[Any]]:
        """Each done when a submission is answered."""
        return self._dispatch.leaving

    async def leave(self) -> None:
        """Let what was fired go, and hear at once what a node nearby says to it; none is waited for."""
        await self._dispatch.leave(NEARBY_S)

    def fired(self, transaction: Transaction) -> None:
        """The intents of `fire` are stored with this transaction; what was armed of them no longer is. Those that no
        block was observed since are not documented yet."""
        if self._armory is not None:
            held = (self._journal.get(one.intent.id) for one in self._fired)
            self._journal.put(transaction, [intent for intent in held if intent is not None])
            self._armory.disarm(transaction)

    async def arm(
        self, block: Block, edge: Sequence[tuple[Venue, bytes]], landing_at: int, still: Callable[[], bool]
    ) -> None:
        """Make transactions ready for positions that are not open yet, nearest first. block: the tip, acted on."""
        answers = self._watch.answers
        if self._armory is None or answers is None or answers.sight.block != block.ref or block.base_fee_wei is None:
            return
        if self._fired:  # for a block that is not taken yet: what was ready before it is over
            return
        market = self._market(block, block.base_fee_wei, answers)
        await self._armory.arm(block, edge, answers, market, landing_at, lambda: still() and not self._fired)

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
        if not self.active:
            return
        answers = self._watch.answers
        if answers is None or answers.sight.block != block.ref or answers.sight.nonce is None:
            log.warning("block_not_acted_on", block=block.number, reason="our nonce in it is not known")
            return
        if block.base_fee_wei is None:
            log.warning("block_not_acted_on", block=block.number, reason="it has no base fee (EIP-1559)")
            return
        market = self._market(block, block.base_fee_wei, answers)
        busy = self._dispatch.busy()
        unspent = self._journal.unspent() if self._signer else []
        just_sent = self._just_sent
        left_alone = just_sent | self._to_be_told(unspent, block.number)
        exposed = [intent for intent in unspent if offered_until(intent) is None and intent.id not in left_alone]
        following = [intent for intent in exposed if update_of(intent) in answers.ahead]
        held = {intent.id for intent in following}
        waiting = [intent for intent in exposed if intent.id not in held]
        self.postings.begin(block.number)
        self._doubts.see_prices(venues)
        if not self._foreign.look(answers.sight, list(self._journal), block.number, self._finalized):
            self._watch.answers = replace(answers, sight=replace(answers.sight, nonce=None))  # for all who use it
            if just_sent:
                await self._dispatch.settle()
            return
        may_send = self._selection.may_send(block, venues, answers)
        if not (may_send and self.liquidates):
            opportunities = ()
        said = self.postings.due(market.fresh) if may_send else []
        approvals, chosen = await self._selection.choose(block, opportunities, answers, landing_at, market)
        trial = Trial(waiting, approvals, chosen, group(chosen, market, self._settings))
        if chosen:
            self.latency.reached("planned")
        last = [intent.attempts[-1].tx_hash for intent in exposed]
        self._sent_at = {tx_hash: self._sent_at.get(tx_hash, block.number) for tx_hash in last}
        failed = self._watch.take_unexplained()
        if not (exposed or trial.chosen or failed or orders or said):
            if just_sent:
                await self._dispatch.settle()
            return
        asked = None if self._second is None else self._second.ask(block, [one.opportunity for one in chosen])
        outcome = await try_out(self._simulator, trial, block.ref, landing_at, self._settings.deadline_s)
        by_name = {venue.name: venue for venue in venues}
        followed = await self._behind.judge_following(following, answers, block.ref, landing_at, by_name)
        given_up = {intent_id: judgement for intent_id, judgement in followed.items() if judgement.wanted is False}
        if stored is not None:
            await stored.wait()
        doubted = self._selection.tell(await self._doubts.about(chosen, asked))
        believed, outcome = without(trial, outcome, doubted)
        drafts = self._selection.accept(believed, outcome, market, answers, block)
        if self._settings.mode is not Mode.LIVE or self._signer is None:
            return
        composer = self._composer(self._signer, venues, orders)
        changed, outgoing = tend(
            [
                i
                for i in exposed
                if i.id not in busy
                and (i.id not in held or i.id in given_up)
                and nonce_of(i) not in self._foreign.waiting  # left to whoever has it: bidding would be a fight
            ],
            {
                **judge_waiting(believed, outcome, by_name, self._settings.native_asset),
                **given_up,
                **self.postings.judge(exposed),
            },
            answers.sight,
            self._sent_at,
            market,
            composer,
            replace_after_blocks=self._settings.replace_after_blocks,
            now=self._clock(),
        )
        said = self.postings.payable(said, drafts, market.fresh, answers.wallet.native_wei)
        drafts = [*orders, *self._selection.admit([*drafts, *said], market.fresh, block)]
        new = self._compose(composer, drafts, answers.sight.nonce, market.fresh, block.ref)
        swallowed = [i for i in following if i.id not in busy and followed[i.id].wanted and _is_gone(i, answers)]
        leaving = [*outgoing, *(intent.attempts[-1] for intent in (*new, *swallowed))]
        outgoing = sorted(leaving, key=lambda attempt: attempt.nonce)
        if changed or new:
            self._journal.record([*changed, *new])
            self.postings.learned()
            if new:
                self.latency.reached("journalled")
                self.latency.sent(intent.id for intent in new)
        if outgoing:
            self._sent_at.update((attempt.tx_hash, block.number) for attempt in outgoing)
            await self._dispatch.send(outgoing)
        explained = await self._explainer.explain(failed, by_name)
        if self._guard is not None:
            self._guard.note(explained)

    def refusal(self, cause: str) -> Skip | None:
        """Why nothing is being done about what acts on this cause; None when it was not refused."""
        return self._selection.refusal(cause)

    async def foresee(
        self, ahead: Ahead, calls: Sequence[Call], block: BlockRef, landing_at: int, extra: Sequence[Request] = ()
    ) -> tuple[Sequence[CallResult] | None, Sequence[Any]]:
        """What calls will return once a price update is mined on top of a block, and the answers to `extra`.

        None where the node cannot say, or where the update would fail.
        """
        asked = [TxCall(call.target, call.data) for call in calls]
        verdicts, answers = await self._simulator.run(asked, block, landing_at, extra, ahead)
        if any(verdict is None for verdict in verdicts):
            return None, answers
        return [v.output if v is not None and v.succeeded else None for v in verdicts], answers

    async def act_behind(
        self, ahead: Ahead, block: Block, opportunities: Sequence[Opportunity], venues: Sequence[Venue], landing_at: int
    ) -> None:
        """Send, or prepare, what is worth it right behind a price update that is not mined yet. block: the tip, already
        acted on. opportunities, venues: as they will be once the update is mined."""
        answers = self._watch.answers
        if not self.active or answers is None or answers.sight.block != block.ref or block.base_fee_wei is None:
            return
        market = self._market(block, block.base_fee_wei, answers)
        await self._behind.act(ahead, block, opportunities, venues, landing_at, answers, market)

    async def close(self) -> None:
        """Wait for answers to what was just sent, as long as the deadline; what only was armed is put away."""
        await self._dispatch.close()
        if self._armory is not None:
            self._armory.put_away()
        await self.ways.close()
        if self._release is not None:
            await self._release()

    # --- steps of acting

    def _to_be_told(self, unspent: Sequence[Intent], block: int) -> frozenset[str]:
        """Intents that may never have left, left alone until the node says whether they did. Where it does not, for
        some blocks only: each holds a nonce, and nothing behind it can be mined."""
        unsure = [intent.id for intent in unspent if is_uncertain(intent)]
        self._uncertain_since = {one: self._uncertain_since.get(one, block) for one in unsure}
        patience = self._settings.replace_after_blocks
        return frozenset(one for one, since in self._uncertain_since.items() if block - since < patience)

    def _awaited(self) -> Callable[[], None]:
        return self.latency.later("accepted")

    def _fired_documented(self) -> list[Intent]:
        """What was fired because of the block just observed, with what it was judged to do, as it is to be stored."""
        fired, self._fired = self._fired, []
        self._just_sent = frozenset(one.intent.id for one in fired)
        answers = self._watch.answers
        if not fired or answers is None:
            return []
        decimals = answers.wallet.decimals
        told = []
        for one in fired:
            now = self._journal.get(one.intent.id)
            if now is not None:  # else it was sent because of a block that was never taken, and is final by now
                told.append(documented(replace(one, intent=now), decimals, self._settings))
        self._journal.hold(told)
        return told

    def _market(self, block: Block, base_fee_wei: int, answers: Answers) -> Market:
        settings = self._settings
        base_fee = next_base_fee(base_fee_wei, block.gas_used, block.gas_limit)
        tip = tip_from_history(answers.tips_wei, settings.min_tip_wei, settings.max_tip_wei)
        fresh = choose_fees(base_fee, tip, forecast_blocks=settings.forecast_blocks, cap_wei=settings.max_fee_wei)
        if isinstance(fresh, Skip):
            log.warning("gas_too_expensive", block=block.number, reason=fresh.detail)
        affordable = None if isinstance(fresh, Skip) else fresh
        return Market(base_fee + tip, affordable, settings.max_fee_wei, base_fee, tip)

    def _composer(self, signer: Signer, venues: Sequence[Venue], orders: Sequence[Draft] = ()) -> Composer:
        """Signs what is ours to sign at this block."""
        ordered = [draft.call for draft in orders]
        return Composer(signer, policy_of(self._settings, self._account, venues, ordered))

    def _compose_behind(
        self, drafts: list[Draft], nonce: int, fees: Fees, judged: BlockRef, venues: Sequence[Venue]
    ) -> list[Intent]:
        assert self._signer is not None
        return self._compose(self._composer(self._signer, venues), drafts, nonce, fees, judged)

    def _permitted(self, policy: SigningPolicy, drafts: list[Draft], block: int) -> list[Draft]:
        """The drafts; none when one of them is outside the policy: what else was decided is not to be trusted either,
        and what comes behind it may need it."""
        objections = [(draft, policy.objection(draft.call)) for draft in drafts]
        refused = [(draft, reason) for draft, reason in objections if reason is not None]
        for draft, reason in refused:
            log.error("signature_refused", cause=draft.cause, reason=reason, block=block)
            if self._guard is not None:
                self._guard.stop("signing_policy", f"{draft.cause}: {reason}", block)
        return [] if refused else drafts

    def _compose(
        self, composer: Composer, drafts: list[Draft], nonce: int, fees: Fees | None, judged: BlockRef
    ) -> list[Intent]:
        """Drafts on the lowest free nonces; what then still misses below a waiting nonce becomes an empty transfer."""
        if fees is None:
            return []
        drafts = self._permitted(composer.policy, drafts, judged.number)
        owned = [nonce_of(intent) for intent in self._journal.unspent()]
        most = len(drafts) + self._settings.max_pending
        missing = gaps(nonce, owned, self._foreign.waiting, most=most)[len(drafts) :]
        if missing:
            log.error("nonces_missing", nonces=missing, remedy="filling them; let nobody else use this key")
        drafts = [*drafts, *(draft_filler(self._account, n) for n in missing)]
        nonces = allocate(nonce, owned, len(drafts), self._foreign.waiting)
        now = self._clock()
        known = self._journal.hashes()
        return [
            composer.intent(draft, number, draft.fees or fees, judged, now, known=known)
            for draft, number in zip(drafts, nonces, strict=True)
        ]


def _is_gone(intent: Intent, answers: Answers) -> bool:
    """Whether the node says that it does not have the intent's last transaction."""
    return answers.sight.known.get(intent.attempts[-1].tx_hash) is False

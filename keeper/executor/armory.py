"""Transactions for the positions nearest to liquidation, signed and durable before the block that opens them.

    between blocks   edge ─▶ plan ─▶ simulate as if its price had fallen ─▶ sign ─▶ store
    a block          read ─▶ what of it is open, exactly ─▶ send ─▶ everything else

On the head path nothing of a liquidation is left but to judge it and to send it. What was armed is sent only where all
that it rests on holds at that very block: the position is as it was, its call does exactly what pays there (`rejudge`),
its fees suffice, its nonce is the next, and breakers and limits allow it. Whatever fails any of these is left to the
ordinary way, which plans and simulates anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.core.errors import KeeperError, StoreInUse
from keeper.core.policy import SigningPolicy
from keeper.core.ports import Store, Transaction
from keeper.core.records import Intent
from keeper.core.types import Block, BlockRef, LiquidationPlan, Skip
from keeper.executor import armed as forms
from keeper.executor.accept import draft_of
from keeper.executor.armed import Armed, Fired, Ready, View
from keeper.executor.compose import Composer, Draft
from keeper.executor.fees import next_base_fee
from keeper.executor.financier import Financier
from keeper.executor.guard import Guard
from keeper.executor.journal import Journal
from keeper.executor.lifecycle import is_spent, nonce_of
from keeper.executor.making import Maker
from keeper.executor.nonces import allocate
from keeper.executor.ports import Opportunity, Reader, Settings, Venue
from keeper.executor.purse import Purse, purse_of
from keeper.executor.questions import Answers
from keeper.executor.simulate import Simulator, Verdict
from keeper.executor.upkeep import Market

log = structlog.get_logger(__name__)

META = "armed"
_RETRY_BLOCKS = 32
"""How long a position is left alone of which no transaction could be made ready, unless for a reason that passes."""

_PATIENCE = 16
"""So many positions are looked at, at most, for each that is to be ready."""

_FEW = 4
_GROUNDS_LAST_S = 0.01

ASKED = 8
"""Of so many calls of our contract, the nearest, the node is asked at every block what they would do on it."""

Verdicts = Mapping[str, Verdict]
"""By intent."""

_NONE: Verdicts = {}
_PASSING = frozenset({"not_prepared", "not_simulated", "no_balance"})


@dataclass(frozen=True, slots=True)
class Signing:
    """Whose transactions these are, and how they are signed. composer: with the policy of some protocols. permitted: of
    drafts, all or none; what the policy objects to stops everything, as it does elsewhere."""

    account: bytes
    composer: Callable[[Sequence[Venue]], Composer]
    permitted: Callable[[SigningPolicy, list[Draft], int], list[Draft]]


@dataclass(frozen=True, slots=True)
class _Grounds:
    """What decides about all that is armed at a block, whatever the block does to positions. answers: of its parent.
    at, version: when it was so, and of the journal. owned: nonces that are taken. base_fee_wei: of the next block."""

    block: BlockRef
    answers: Answers
    at: float
    version: int
    nonce: int
    owned: Sequence[int]
    blocked: frozenset[str]
    committed_wei: int
    base_fee_wei: int
    purse: Purse

    def holds(self, block: Block, answers: Answers, version: int, now: float) -> bool:
        same = self.block == block.ref and self.answers is answers and self.version == version
        return same and 0 <= now - self.at < _GROUNDS_LAST_S


class Armory:
    """Between blocks `arm`; at a block `fire`, and `disarm` in the transaction that stores it."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        settings: Settings,
        signing: Signing,
        simulator: Simulator,
        reader: Reader,
        guard: Guard | None,
        clock: Callable[[], float],
        foreign: Callable[[], Collection[int]] = frozenset,
        financier: Financier | None = None,
    ) -> None:
        """foreign: nonces for which somebody else has a transaction waiting. financier: plans for our contract, which
        then pays; without it the wallet does."""
        self._store = store
        self._journal = journal
        self._settings = settings
        self._signing = signing
        self._account = signing.account
        self._simulator = simulator
        self._maker = Maker(settings, signing.account, simulator, reader, financier)
        self._guard = guard
        self._clock = clock
        self._foreign = foreign
        self._asked: asyncio.Task[Verdicts] | None = None
        self._armed: tuple[Armed, ...] = ()
        self._made: dict[str, Ready] = {}  # by cause, until armed: the next head may come before all of them are made
        self._in_vain: dict[str, tuple[Any, int]] = {}
        self._passed_over = 0  # of those nearest to liquidation at the last block
        self._grounds: _Grounds | None = None
        self._stored = ""  # what the store holds of `_armed`
        self._unstored = False  # whether the store still holds what was fired

    @property
    def armed(self) -> Sequence[Armed]:
        """By nonce."""
        return self._armed

    @property
    def names(self) -> frozenset[str]:
        """Protocols of which anything is armed."""
        return frozenset(one.draft.protocol for one in self._armed)

    @property
    def looks_at(self) -> int:
        """How many of the nearest positions to choose from. Of some nothing can be made ready, as of what is not worth
        its gas, and anybody can put some of these nearest: one more is looked at for each that was passed over."""
        most = self._settings.armed
        return min(most + self._passed_over, _PATIENCE * most)

    def recover(self) -> None:
        """What a daemon had ready when it ended may have left. What this very daemon has ready, because it skipped
        blocks and did not end, is known to have stayed."""
        self._made = {}
        if self._armed:
            self.put_away()
            return
        self._unstored = False
        recover(self._store, self._journal, self._account)

    def put_away(self) -> None:
        """None of what is armed has left, and none will."""
        self._give_up()
        if self._armed:
            self._keep(())

    # --- at a block

    def ask(self, block: Block, landing_at: int) -> Awaitable[Verdicts] | None:
        """Ask the node at once, while the block is read, what the calls of our contract that are ready would do on it:
        of the few nearest, in one message. None where there are none. Awaited, it gives verdicts by intent, those that
        came within the deadline."""
        asked = [one for one in self._armed if forms.is_financed(one.ready)][:ASKED]
        self._give_up()
        if not asked:
            return None
        self._asked = asyncio.create_task(self._try_out(asked, block, landing_at), name="try_ready")
        return self._asked

    def _give_up(self) -> None:
        """Whatever is still being asked is of a block that others have followed."""
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None

    async def _try_out(self, asked: Sequence[Armed], block: Block, landing_at: int) -> Verdicts:
        calls = [one.ready.chosen.plan.call for one in asked]
        try:
            async with asyncio.timeout(self._settings.deadline_s):
                verdicts, _ = await self._simulator.run(calls, block.ref, landing_at)
        except TimeoutError:
            log.warning("simulation_timed_out", block=block.number, calls=len(calls))
            return {}
        except KeeperError as error:
            log.warning("simulation_failed", block=block.number, calls=len(calls), error=str(error))
            return {}
        return {one.intent.id: said for one, said in zip(asked, verdicts, strict=True) if said is not None}

    def awaits(self, views: Mapping[str, View], landing_at: int) -> bool:
        """Whether this block opens anything of which the node's word is needed."""
        return any(
            forms.is_open(one.ready, view, landing_at)
            for one in self._armed
            if forms.is_financed(one.ready) and (view := views.get(one.draft.protocol)) is not None
        )

    def would_fire(
        self,
        block: Block,
        views: Mapping[str, View],
        landing_at: int,
        answers: Answers | None,
        verdicts: Verdicts,
    ) -> bool:
        """Whether this block opens anything that is armed, be it believed or not."""
        grounds = self._grounds_of(block, answers)
        if grounds is None:
            return False
        return bool(self._hits(block, views, landing_at, lambda one, plan: True, verdicts, grounds))

    def fire(
        self,
        block: Block,
        views: Mapping[str, View],
        landing_at: int,
        answers: Answers | None,
        believed: Callable[[Opportunity, LiquidationPlan], bool] = lambda one, plan: True,
        verdicts: Verdicts = _NONE,
    ) -> list[Fired]:
        """What is to be sent at once because of this block, by nonce.

        views: by protocol. answers: of the block's parent, whose nonce and wallet all of it was made for. believed:
        whether a position, and the prices of what its plan repays and seizes, are. verdicts: of `ask`.

        Raises StoreInUse where the store no longer holds what is armed: another daemon took over.
        """
        grounds = self._grounds_of(block, answers)
        if grounds is None:
            return []
        decimals = grounds.answers.wallet.decimals

        def sane(one: Opportunity, plan: LiquidationPlan) -> bool:
            objection = None if self._guard is None else self._guard.deviation(one.venue, plan, decimals)
            return objection is None and believed(one, plan)

        hits = self._payable(self._hits(block, views, landing_at, sane, verdicts, grounds), grounds)
        if self._guard is not None and hits:
            costs = [one.draft.most_wei(one.draft.fees) for one in hits if one.draft.fees is not None]
            hits = hits[: self._guard.admit(costs, grounds.committed_wei, block.number)]
        fired = []
        nonces = allocate(grounds.nonce, grounds.owned, len(hits), self._foreign())
        for one, nonce in zip(hits, nonces, strict=True):
            if nonce_of(one.intent) != nonce:
                composer = self._signing.composer([one.venue])
                one = replace(one, intent=self._signed(composer, one.draft, nonce, block, salt=""), is_durable=False)
            fired.append(one)
        if fired:  # what is left was made for nonces and a wallet that are no longer so; it is made again
            self._armed, self._made, self._unstored = (), {}, True
        return fired

    def survey(self, block: Block, answers: Answers | None) -> None:
        """Have ready what `fire` looks at besides the block's state, while that is still being asked for. Raises as
        `fire` does."""
        self._grounds_of(block, answers)

    def _grounds_of(self, block: Block, answers: Answers | None) -> _Grounds | None:
        """None where nothing can leave because of this block. Kept for a moment, while the journal stays as it is."""
        if not self._armed or answers is None or answers.sight.nonce is None or block.base_fee_wei is None:
            return None
        if answers.sight.block.hash != block.parent_hash:
            return None
        now, known = self._clock(), self._grounds
        if known is not None and known.holds(block, answers, self._journal.version, now):
            return known
        if self._store.meta(META) != self._stored:  # nothing else is asked of the store before anything leaves
            self._armed = ()
            raise StoreInUse(
                "what is armed is no longer in the store: another daemon took over, and nothing is sent; "
                "see to it that only one daemon runs on a store"
            )
        self._grounds = _Grounds(
            block.ref,
            answers,
            now,
            self._journal.version,
            answers.sight.nonce,
            tuple(nonce_of(intent) for intent in self._journal.unspent()),
            self._journal.blocked_causes(block.number, now),
            self._journal.committed_wei(),
            next_base_fee(block.base_fee_wei, block.gas_used, block.gas_limit),
            self._purse(answers),
        )
        return self._grounds

    def _payable(self, hits: Sequence[Fired], grounds: _Grounds) -> list[Fired]:
        """Those that the wallet still pays for, the first ones first: what is armed may be older than the parent block,
        where the next one came before it could be made again, and what else was sent meanwhile takes of the same."""
        purse = grounds.purse.copy()
        return [
            one
            for one in hits[: max(self._settings.max_pending - len(grounds.owned), 0)]
            if (plan := one.draft.plan) is not None
            and (fees := one.draft.fees) is not None
            and purse.pay(plan, one.draft.most_wei(fees))
        ]

    def _purse(self, answers: Answers) -> Purse:
        """What the wallet holds and nothing on its way may take."""
        return purse_of(answers.wallet, self._journal.committed, self._journal.committed_wei())

    def disarm(self, transaction: Transaction) -> None:
        """Forget what was fired, in the transaction that stores it as sent."""
        if self._unstored:
            transaction.set_meta(META, "")
            self._unstored = False

    def _hits(
        self,
        block: Block,
        views: Mapping[str, View],
        landing_at: int,
        believed: Callable[[Opportunity, LiquidationPlan], bool],
        verdicts: Verdicts,
        grounds: _Grounds,
    ) -> list[Fired]:
        """What is armed, open to liquidation, and worth it at this block, with what its call does there."""
        # To judge a few exactly takes less than to screen everything.
        screened = {} if len(self._armed) <= _FEW else {name: view.may_open() for name, view in views.items()}
        found: list[Fired] = []
        for one in self._armed:
            ready, view, fees = one.ready, views.get(one.draft.protocol), one.draft.fees
            if view is None or fees is None or ready.key in view.changed:
                continue
            if screened and ready.key not in screened[one.draft.protocol]:
                continue
            position, fee_wei = view.venue.book.positions.get(ready.key), grounds.base_fee_wei + fees.tip_wei
            if not forms.lasts(ready, position, landing_at) or fee_wei > fees.max_fee_wei:
                continue
            if one.intent.cause in grounds.blocked:
                continue
            verdict, gas = verdicts.get(one.intent.id), _gas(ready)
            if forms.is_financed(ready):
                plan = forms.tried(ready, view, landing_at, verdict, self._settings)
                gas = gas if verdict is None or verdict.gas_used is None else verdict.gas_used
            else:
                plan = forms.rejudge(ready.chosen.plan, view.venue, ready.key, position, landing_at, self._account)
            if isinstance(plan, Skip) or not believed(Opportunity(view.venue, ready.key), plan):
                continue
            profit = forms.profit_at(plan, gas, fee_wei, view.venue, self._settings)
            if profit is not None and profit >= ready.chosen.least_base:
                draft = replace(one.draft, plan=plan, profit_expected=profit)
                found.append(Fired(block.ref, one.intent, draft, view.venue, gas, fee_wei, is_durable=True))
        return found

    # --- between blocks

    async def arm(
        self,
        block: Block,
        edge: Sequence[tuple[Venue, bytes]],
        answers: Answers,
        market: Market,
        landing_at: int,
        still: Callable[[], bool],
    ) -> None:
        """Be ready for as many of these positions as are to be, nearest first. still: whether the block is still the
        tip, and the books as they were. May be cancelled at any await."""
        if answers.sight.nonce is None or market.fresh is None:
            self.put_away()
            return
        unspent = self._journal.unspent()
        owned, blocked = [nonce_of(i) for i in unspent], self._journal.blocked_causes(block.number, self._clock())
        purse = self._purse(answers)
        known = {one.intent.cause: one for one in self._armed}
        near = {Opportunity(venue, key).cause for venue, key in edge}
        self._made = {cause: ready for cause, ready in self._made.items() if cause in near}
        drafts: list[tuple[Ready, Draft]] = []
        most, left_to_make = min(self._settings.armed, self._settings.max_pending - len(owned)), self._settings.armed
        looked_at = 0
        for venue, key in edge:
            if len(drafts) >= most:
                break
            looked_at += 1
            opportunity = Opportunity(venue, key)
            if opportunity.cause in blocked:
                continue
            if self._guard is not None and self._guard.objection(venue) is not None:
                continue
            had, position = known.get(opportunity.cause), venue.book.positions[key]
            before = (None if had is None else had.ready, self._made.get(opportunity.cause))
            ready = next((r for r in before if r is not None and forms.lasts(r, position, landing_at)), None)
            if ready is None and left_to_make and not self._is_in_vain(opportunity.cause, position, block):
                left_to_make -= 1
                ready = await self._ready(opportunity, position, block, landing_at, purse, answers, market)
                if ready is not None:
                    self._made[opportunity.cause] = ready
                if not still():
                    return
            if ready is None:
                continue
            if had is not None and had.ready is ready and forms.is_well_paid(had.draft, market):
                draft: Draft | Skip = had.draft
            else:
                draft = draft_of(ready.chosen, ready.verdict, market, answers.wallet.decimals, self._settings)
            if isinstance(draft, Skip) or not purse.pay(ready.chosen.plan, draft.most_wei(market.fresh)):
                continue
            drafts.append((ready, draft))
        self._passed_over = looked_at - len(drafts)
        composer = self._signing.composer([venue for venue, _ in edge])
        permitted = self._signing.permitted(composer.policy, [draft for _, draft in drafts], block.number)
        drafts = drafts if permitted else []
        nonces = allocate(answers.sight.nonce, owned, len(drafts), self._foreign())
        armed = tuple(
            had
            if (had := known.get(draft.cause)) is not None and had.draft is draft and had.nonce == nonce
            else Armed(ready, draft, self._signed(composer, draft, nonce, block, salt="|armed"))
            for (ready, draft), nonce in zip(drafts, nonces, strict=True)
        )
        if armed != self._armed:
            self._keep(armed)
        self._made = {}

    async def _ready(
        self,
        opportunity: Opportunity,
        position: Any,
        block: Block,
        landing_at: int,
        purse: Purse,
        answers: Answers,
        gas: Market,
    ) -> Ready | None:
        """A plan that succeeds once its position is open; None where there is none, which is remembered for a while."""
        cause = opportunity.cause
        found = await self._maker.make(opportunity, position, block, landing_at, purse, answers, gas)
        if isinstance(found, Ready):
            self._in_vain.pop(cause, None)
            return found
        if found.code not in _PASSING:
            self._in_vain = {c: k for c, k in self._in_vain.items() if block.number - k[1] < _RETRY_BLOCKS}
            self._in_vain[cause] = position, block.number
        log.debug("position_not_armed", cause=cause, code=found.code, detail=found.detail)
        return None

    def _is_in_vain(self, cause: str, position: Any, block: Block) -> bool:
        """Whether nothing could be made ready for it lately, as it is now."""
        known = self._in_vain.get(cause)
        return known is not None and known[0] == position and block.number - known[1] < _RETRY_BLOCKS

    def _signed(self, composer: Composer, draft: Draft, nonce: int, block: Block, *, salt: str) -> Intent:
        assert draft.fees is not None  # of everything done for profit
        now, known = self._clock(), self._journal.hashes()
        return composer.intent(draft, nonce, draft.fees, block.ref, now, known=known, salt=salt)

    def _keep(self, armed: tuple[Armed, ...]) -> None:
        """Durable first; only then may any of it be fired."""
        self._armed = ()
        stored = forms.dump(self._account, armed)
        with self._store.transaction() as transaction:
            transaction.set_meta(META, stored)
        self._armed, self._stored = armed, stored
        log.debug("transactions_armed", causes=[one.intent.cause for one in armed])


def recover(store: Store, journal: Journal, account: bytes) -> None:
    """Hold what a daemon had ready when it ended as intents that may have left: the next block tells.

    One whose nonce or cause the journal gave to something else stayed: had it left, it would be in the journal. So
    would be one whose very transaction the journal knows as another's.
    """
    left = forms.load(store.meta(META), account)
    if not left:
        return
    held = [intent for intent in journal if not is_spent(intent) or intent.tx_hash is not None]
    nonces, causes = {nonce_of(intent) for intent in held}, {i.cause for i in held if not is_spent(i)}
    known = journal.hashes()
    lost = [
        intent
        for intent in left
        if nonce_of(intent) not in nonces
        and intent.cause not in causes
        and all(attempt.tx_hash not in known for attempt in intent.attempts)
    ]
    with store.transaction() as transaction:
        journal.put(transaction, lost)
        transaction.set_meta(META, "")
    log.info("armed_transactions_recovered", count=len(lost), nonces=[nonce_of(intent) for intent in lost])


def _gas(ready: Ready) -> int:
    return ready.chosen.plan.gas_limit_hint if ready.verdict.gas_used is None else ready.verdict.gas_used

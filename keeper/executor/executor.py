"""One block at a time: what became of our transactions, what to do about them, and which new ones to send.

    questions ─▶ asked with the block's other reads ─▶ observe ─▶ act, once the block is stored
                                              └▶ firing: what is ready leaves before that, as the head comes

The journal is durable before a byte leaves, and what we did is learned from blocks, like everything else. This is where
the parts are put together; `ordinary` acts, `firing` sends what is ready, `signatory` signs, `watch` learns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

from keeper.core.errors import ConfigError
from keeper.core.latency import Latency
from keeper.core.ports import Signer, Store, Transaction
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import Block, BlockRef, Call, CallResult, Skip, TxCall
from keeper.executor.ahead import Ahead
from keeper.executor.armory import Armory, Signing
from keeper.executor.behind import Behind, Ways
from keeper.executor.compose import Draft
from keeper.executor.dispatch import Dispatch
from keeper.executor.doubts import Doubts
from keeper.executor.explain import Explainer
from keeper.executor.financier import Financier
from keeper.executor.firing import Firing
from keeper.executor.foreign import Foreign
from keeper.executor.guard import Guard
from keeper.executor.halt import Halt
from keeper.executor.journal import Journal
from keeper.executor.kit import Kit
from keeper.executor.ordinary import Ordinary
from keeper.executor.ports import Mode, Opportunity, RawSender, Reader, Request, Rpc, SecondOpinion, Settings, Venue
from keeper.executor.postings import Postings
from keeper.executor.questions import Questions, Wallet
from keeper.executor.selection import Selection
from keeper.executor.signatory import Signatory
from keeper.executor.simulate import Simulator
from keeper.executor.upkeep import market_of
from keeper.executor.watch import Watch


class Executor:
    """All but `act`, `act_behind`, `foresee` and `close` is synchronous and does no I/O but the store's. firing: what
    is kept ready, and leaves as the head comes."""

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
        self._settings = settings
        self._clock = clock
        self._account = who or b""
        self._guard = guard
        self._release = release
        self.latency = Latency()
        self._journal = Journal(store, settings.cooldown_blocks, settings.lasting_cooldown_s)
        self._foreign = foreign or Foreign(store, Halt(), clock, yield_s=0)
        signed = (lambda raw: False) if signer is None else signer.has_signed
        self._watch = Watch(self._journal, self._account, settings, clock, self._foreign.is_far, signed)
        self._simulator = Simulator(rpc, self._account)
        self._dispatch = Dispatch(sender, self._journal, clock, settings.deadline_s, self._awaited)
        self.postings = Postings(store, self._journal, rpc, self._account, settings, clock)
        kit = Kit(
            store=store,
            account=self._account,
            settings=settings,
            clock=clock,
            journal=self._journal,
            watch=self._watch,
            simulator=self._simulator,
            dispatch=self._dispatch,
            latency=self.latency,
            foreign=self._foreign,
            guard=guard,
            second=second,
            doubts=doubts or Doubts(),
        )
        signatory = None
        if signer is not None:
            signatory = Signatory(signer, settings, self._journal, self._foreign, guard, clock)
        self.firing = Firing(kit, None if reader is None else _armory(kit, signatory, reader, financier))

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
            None if signatory is None else signatory.compose_behind,
            clock,
        )
        explainer = Explainer(rpc, self._account, self._journal, clock, settings.deadline_s)
        self._ordinary = Ordinary(kit, self.firing, self._selection, self._behind, self.postings, explainer, signatory)

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
            self.firing.forget()
            self._ordinary.finalized = finalized
            self._journal.load(blocks, finalized, self._clock())
            self.firing.recover()
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
        self._ordinary.finalized = finalized
        changed = self._watch.observe(questions, results, answers, venues, finalized)
        for intent in changed:
            if intent.status is IntentStatus.INCLUDED:
                self.latency.included(intent.id)
        if self._guard is not None:
            self._guard.note(changed)
        self.postings.learned()
        return [*changed, *self.firing.documented()]

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
        return self.firing.armed

    def act(
        self,
        block: Block,
        opportunities: Sequence[Opportunity],
        venues: Sequence[Venue],
        landing_at: int,
        stored: asyncio.Event | None = None,
        *,
        orders: Sequence[Draft] = (),
    ) -> Coroutine[Any, Any, None]:
        """Tend to what is on its way and send what is worth it: see `Ordinary.act`, whose coroutine this is."""
        return self._ordinary.act(block, opportunities, venues, landing_at, stored, orders=orders)

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
        market = market_of(block, block.base_fee_wei, answers, self._settings)
        await self._behind.act(ahead, block, opportunities, venues, landing_at, answers, market)

    async def close(self) -> None:
        """Wait for answers to what was just sent, as long as the deadline; what only was armed is put away."""
        await self._dispatch.close()
        self.firing.put_away()
        await self.ways.close()
        if self._release is not None:
            await self._release()

    def _awaited(self) -> Callable[[], None]:
        return self.latency.later("accepted")


def _armory(kit: Kit, signatory: Signatory | None, reader: Reader, financier: Financier | None) -> Armory | None:
    """None where nothing is kept ready."""
    settings = kit.settings
    if signatory is None or not settings.armed or not (settings.mode is Mode.LIVE and settings.liquidates):
        return None
    return Armory(
        kit.store,
        kit.journal,
        settings,
        Signing(signatory.account, signatory.composer, signatory.permitted),
        kit.simulator,
        reader,
        kit.guard,
        kit.clock,
        lambda: kit.foreign.waiting,
        financier,
    )

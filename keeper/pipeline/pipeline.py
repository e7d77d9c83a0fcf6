"""One step of the chain, from reading it to telling of it: what is done in which order, and what if it fails.

Everything that can fail for the chain's sake happens before anything in memory changes. If something fails after that,
memory is thrown away and read back from the store (`load`), which never holds half a step.

Notices come after the executor, in a transaction of their own: computing demands takes far longer than judging, and a
liquidation need not wait for it. Nothing is lost by a crash in between, since what is due is always the difference
between what readers were told and what is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from keeper.core.chain import Committed, Reverted, Samples, Step, Window
from keeper.core.latency import Latency
from keeper.core.ports import Store
from keeper.core.records import CommittedBlock, Notice
from keeper.core.types import Block, Call, CallResult, RawLog, Update
from keeper.evaluator.judge import Ruling
from keeper.executor.executor import Executor
from keeper.executor.ports import Venue
from keeper.indexer.reads import drive
from keeper.pipeline.acting import Acting
from keeper.pipeline.confirming import Confirming
from keeper.pipeline.memory import Memory
from keeper.pipeline.ports import Chain
from keeper.pipeline.reading import Reading
from keeper.pipeline.telling import Telling
from keeper.track import Track

log = structlog.get_logger(__name__)

AT_ONCE = 50
"""Notices, or records of what a block did, that are made in one go: each takes a millisecond or two, and a block waits
for no more than these."""


class Pipeline:
    """Takes steps one at a time. finality: a block tag, or a number of confirmations. invite: adds to a notice how to
    acknowledge it. samples: blocks are looked at now and then (`sample`) instead of followed. at_once: notices, and
    records of what a block did, made in one go. confirming: whom a block calls, where others can be asked."""

    def __init__(
        self,
        chain: Chain,
        store: Store,
        tracks: Sequence[Track],
        executor: Executor,
        *,
        finality: str | int,
        clock: Callable[[], float],
        wake: Callable[[], None],
        invite: Callable[[Notice, float], Notice] = lambda notice, _: notice,
        samples: bool = False,
        at_once: int = AT_ONCE,
        confirming: Confirming | None = None,
    ) -> None:
        self._chain = chain
        self._store = store
        self._executor = executor
        self._memory = Memory(store, tracks, executor, samples=samples)
        self._reading = Reading(chain, self._memory, finality)
        self._acting = Acting(self._memory)
        self._confirming = confirming
        self._telling = Telling(self._memory, invite, clock, wake, self.load, at_once)
        self._heard: tuple[bytes, int] | None = None
        self._begun = b""

    # --- what is held

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self._memory.tracks

    @property
    def window(self) -> Window:
        return self._memory.window

    @property
    def finalized(self) -> int:
        """Height that can no longer be reorganized."""
        return self._memory.finalized

    @property
    def venues(self) -> Sequence[Venue]:
        """Every protocol with its book at the tip."""
        return self._memory.venues

    @property
    def executor(self) -> Executor:
        return self._executor

    def landing_at(self, block: Block) -> int:
        """See `Memory.landing_at`."""
        return self._memory.landing_at(block)

    def load(self) -> None:
        """Become what the store says."""
        self._memory.load()
        self._telling.recall()

    # --- latency

    @property
    def latency(self) -> Latency:
        """From heads to what followed from them."""
        return self._executor.latency

    def heard(self, block: Block, at_ns: int) -> None:
        """This head came at a moment of the latency's clock."""
        self._heard = block.hash, at_ns

    def begin(self, block: Block, at_ns: int | None) -> None:
        """Count from the moment at which this head came; once, whoever begins with it."""
        if self._begun != block.hash:
            self.latency.begin(at_ns)
        self._begun = block.hash

    def _received(self, block: Block) -> int | None:
        heard, self._heard = self._heard, None
        return heard[1] if heard is not None and heard[0] == block.hash else None

    # --- steps

    async def apply(self, step: Step) -> None:
        """Take one step. Raises RetryableError when the chain could not be read: nothing has changed then."""
        if isinstance(step, Reverted):
            self._revert(step)
        else:
            await self._commit(step)

    async def _commit(self, step: Committed) -> None:
        block, stored, acting = step.block, asyncio.Event(), None
        self.begin(block, self._received(block))
        asked = self._executor.firing.ask_others(block) if step.tip else None
        tried = self._executor.firing.try_ready(block, self.landing_at(block)) if step.tip else None
        read = await self._reading.read(block)
        try:
            if step.tip and await self._acting.fire(block, read.updates, asked, tried):
                await self._executor.firing.leave()  # everything else about the block comes after it
            facts, rulings = self._memory.judge(block, read.updates, turn=False)
            self.latency.reached("judged")
            intents = self._executor.observe(
                read.questions, read.results, read.answers, self._memory.venues, read.finalized
            )
            if step.tip:
                opportunities, landing_at = self._acting.opportunities(rulings), self.landing_at(block)
                acting = asyncio.create_task(
                    self._executor.act(block, opportunities, self._memory.venues, landing_at, stored), name="act"
                )
                await asyncio.sleep(0)  # its question to the node leaves now; the node and our disk then work together
            self._memory.keep(block, facts, rulings, intents, read.finalized)
        except BaseException:
            if acting is not None:
                acting.cancel()
            self.load()
            raise
        stored.set()
        try:
            rulings = await self._confirmed(block, rulings, acting)
        finally:  # whatever becomes of our transactions, owners hear
            turned = [track for track in self._memory.tracks if track.turn()]
            self._telling.tell(rulings, present=step.tip)
            for track in turned:
                if track.judge.wants_sorting:
                    track.judge.sort(track.book, block.timestamp)

    async def _confirmed(self, block: Block, rulings: list[Ruling], acting: asyncio.Task[None] | None) -> list[Ruling]:
        """The rulings with whom others see otherwise, once what the block has us do has left. They are asked behind
        that, and answer while it is on its way. acting: None while a gap is gone through, of which nobody is told."""
        confirming = self._confirming
        if acting is None:
            if confirming is not None:
                confirming.owe(rulings)
            return rulings
        if confirming is None:
            await acting
            return rulings
        asked = confirming.ask(block, self._memory.venues, rulings)
        await acting
        return await confirming.weigh(block, rulings, asked)

    def skip_to(self, block: Block, updates: Sequence[Update[Any, Any]], *, present: bool) -> None:
        """Arrive at a block over a gap that a backfill scanned. What was liquidated before anything was followed is
        history, and told nobody."""
        if not len(self._memory.window):
            updates = [replace(update, liquidations=()) for update in updates]
        try:
            self._memory.join(self._memory.tracks)
            facts, rulings = self._memory.judge(block, updates)
            self._memory.keep(block, facts, rulings, (), block.number, gap=True)
        except BaseException:
            self.load()
            raise
        self._executor.adopt(self._memory.window.blocks, self._memory.finalized)
        self._telling.tell(rulings, present=present)

    def sample(self, block: Block, updates: Sequence[Update[Any, Any]], *, final: int) -> None:
        """Arrive at a block that was looked at by itself. final: height of the newest final block, as the node says;
        the newest sample up to there is kept, to be reverted to."""
        window = self._memory.window
        assert isinstance(window, Samples)
        anchor = window.newest_at_most(final)
        try:
            facts, rulings = self._memory.judge(block, updates)
            self._memory.keep(block, facts, rulings, (), anchor)
        except BaseException:
            self.load()
            raise
        self._telling.tell(rulings, present=True)

    def _revert(self, step: Reverted) -> None:
        """Back to an ancestor: facts rewind, what was told and sent stays and is judged again on the new branch."""
        try:
            with self._store.transaction() as tx:
                changed = tx.revert_to(step.ancestor)
                self._executor.reverted(tx, step.ancestor)
            self._memory.window.revert_to(step.ancestor)
            self._memory.forget_missed()
            for track in filter(self._memory.follows, self._memory.tracks):
                track.rewind(self._store, {(kind, key) for protocol, kind, key in changed if protocol == track.name})
            self._telling.recall()
        except BaseException:
            self.load()
            raise
        log.warning("chain_reorganized", ancestor=step.ancestor.number, depth=len(step.reverted))

    @property
    def newcomers(self) -> list[Track]:
        """Protocols that are new, or were not configured for a while, although others have been followed."""
        window, tracks = self._memory.window, self._memory.tracks
        return [track for track in tracks if not self._memory.follows(track)] if len(window) else []

    def admit(self, tracks: Sequence[Track], updates: Sequence[Update[Any, Any]]) -> None:
        """Hold what a backfill found of newcomers at the tip. What follows from it is told with the next block."""
        try:
            self._memory.admit(tracks, updates)
        finally:
            self.load()

    def missed(self, logs: Sequence[RawLog]) -> None:
        """See `Memory.missed`."""
        self._memory.missed(logs)

    async def repair(self, track: Track, keys: Sequence[bytes], *, touches: Sequence[bytes] = ()) -> None:
        """Read these positions, what these touches concern, and the market, afresh at the tip, and hold what the chain
        says."""
        tip, adapter = self._memory.window.tip, track.adapter

        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            return await self._chain.call_many(calls, tip.ref)

        market = (await drive([adapter.bootstrap(track.book.market)], execute))[0]
        head = await execute(adapter.head_calls(market))
        whole = [*touches, *(touch for key in keys for touch in adapter.whole(market, key))]
        held = track.book.positions if touches else {}
        update = (await drive([adapter.snapshot(market, whole, tip, head, held)], execute))[0]
        facts = track.facts(update)
        try:
            with self._store.transaction() as tx:
                tx.amend(CommittedBlock(tip, tuple(facts)))
            track.rewind(self._store, {(fact.kind, fact.key) for fact in facts})
        except BaseException:
            self.load()
            raise
        if self._confirming is not None:
            self._confirming.read_again(self._memory.tracks.index(track), update.positions.keys())

    async def close(self) -> None:
        await self._executor.close()

    # --- between blocks

    async def arm(self) -> None:
        """Have transactions ready for the positions nearest to liquidation. May be cancelled."""
        await self._acting.arm()

    @property
    def has_more_to_tell(self) -> bool:
        """Whether something was left to `tell_more`."""
        return self._telling.has_more

    def tell_more(self) -> None:
        """Tell some of what is due, and document some of what blocks did, so that the next block waits for neither."""
        self._telling.more()

"""One step of the chain through the whole house.

    step ─▶ read (logs, prices, receipts: one round trip; what they touched: one more)
         ─▶ book ─▶ judge ─┬▶ one store transaction ─┬▶ sign, journal, send ─▶ demands and notices ─▶ outbox
                           └▶ plan, ask to simulate ─┘

Everything that can fail for the chain's sake happens before anything in memory changes. If something fails after that,
memory is thrown away and read back from the store (`load`), which never holds half a step.

Notices come after the executor, in a transaction of their own: computing demands takes far longer than judging, and a
liquidation need not wait for it. Nothing is lost by a crash in between, since what is due is always the difference
between what readers were told and what is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, Protocol

import structlog

from keeper.core.chain import Committed, Reverted, Samples, Step, Window
from keeper.core.errors import KeeperError, RpcMalformed
from keeper.core.latency import Latency
from keeper.core.ports import Store, Transaction
from keeper.core.records import CommittedBlock, Fact, Intent, Notice
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Health, LogFilter, RawLog, Update
from keeper.documenting import Documenting, facts_of
from keeper.evaluator.episodes import Episode
from keeper.evaluator.judge import Ruling
from keeper.executor.armed import View
from keeper.executor.armory import Verdicts
from keeper.executor.executor import Executor
from keeper.executor.ports import Opinions, Opportunity, Venue
from keeper.executor.questions import Questions
from keeper.executor.simulate import Verdict
from keeper.indexer.reads import drive
from keeper.past import Past
from keeper.telling import Outgoing, Part
from keeper.track import Track, episode_fact

log = structlog.get_logger(__name__)

ARMED_BELOW = 1.1
"""Health up to which a position is near enough to liquidation for its transaction to be kept ready."""

AT_ONCE = 50
"""Notices, or records of what a block did, that are made in one go: each takes a millisecond or two, and a block waits
for no more than these."""

_WIDENINGS = 4  # a filter that grows more often than this within one block is a defect of its adapter

Request = tuple[str, Sequence[Any]]


class HeadRead(Protocol):
    """What one round trip says about a block, in the order it was asked."""

    @property
    def logs(self) -> Sequence[RawLog]: ...
    @property
    def results(self) -> Sequence[CallResult]: ...
    @property
    def extra(self) -> Sequence[Any]: ...


class Chain(Protocol):
    """What the pipeline asks of the node: always about one block, by its hash."""

    async def read_head(
        self, block: Block, filter_: LogFilter, calls: Sequence[Call], extra: Sequence[Request]
    ) -> HeadRead: ...

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """A block as read: each protocol's update, and the answers to the executor's questions and about finality."""

    updates: list[Update[Any, Any]]
    questions: Questions
    results: Sequence[CallResult]
    answers: Sequence[Any]
    finalized: int


class Pipeline:
    """Takes steps one at a time. finality: a block tag, or a number of confirmations. invite: adds to a notice how to
    acknowledge it. samples: blocks are looked at now and then (`sample`) instead of followed. at_once: notices, and
    records of what a block did, made in one go."""

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
    ) -> None:
        self._at_once = at_once
        self._headers = Samples if samples else Window
        self._chain = chain
        self._store = store
        self.tracks = tuple(tracks)
        self._executor = executor
        self._finality = finality
        self._clock = clock
        self._wake = wake
        self._invite = invite
        self._venues: list[Venue] = []
        self._documenting = Documenting(store)
        self._rulings: list[Ruling] | None = None  # of the tip, while there is more to tell of it
        self._heard: tuple[bytes, int] | None = None
        self._begun = b""
        self.window = self._headers(())
        self.finalized = 0

    @property
    def executor(self) -> Executor:
        return self._executor

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

    @property
    def venues(self) -> Sequence[Venue]:
        """Every protocol with its book at the tip."""
        return self._venues

    # --- memory

    def load(self) -> None:
        """Become what the store says."""
        self.window = self._headers(self._store.blocks())
        self.finalized = self.window.oldest.number if len(self.window) else 0
        for track in self.tracks:
            track.load(self._store)
        self._documenting.recall(self.tracks, self.window)
        self._rulings = None
        self._venues = [Venue(track.adapter, track.book) for track in self.tracks]
        self._executor.adopt(self.window.blocks, self.finalized)

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
        read = await self._read(block)
        try:
            if step.tip and await self._fire(block, read.updates, asked, tried):
                await self._executor.firing.leave()  # everything else about the block comes after it
            facts, rulings = self._judge_all(block, read, turn=False)
            self.latency.reached("judged")
            intents = self._executor.observe(read.questions, read.results, read.answers, self._venues, read.finalized)
            if step.tip:
                opportunities, landing_at = self._opportunities(rulings), self.landing_at(block)
                acting = asyncio.create_task(
                    self._executor.act(block, opportunities, self._venues, landing_at, stored), name="act"
                )
                await asyncio.sleep(0)  # its question to the node leaves now; the node and our disk then work together
            self._keep(block, facts, rulings, intents, read.finalized)
        except BaseException:
            if acting is not None:
                acting.cancel()
            self.load()
            raise
        stored.set()
        try:
            if acting is not None:
                await acting
        finally:  # whatever becomes of our transactions, owners hear
            turned = [track for track in self.tracks if track.turn()]
            self._tell(rulings, present=step.tip)
            for track in turned:
                if track.judge.wants_sorting:
                    track.judge.sort(track.book, block.timestamp)

    def skip_to(self, block: Block, updates: Sequence[Update[Any, Any]], *, present: bool) -> None:
        """Arrive at a block over a gap that a backfill scanned. What was liquidated before anything was followed is
        history, and told nobody."""
        nothing = Questions(block.ref, (), ())
        if not len(self.window):
            updates = [replace(update, liquidations=()) for update in updates]
        try:
            facts, rulings = self._judge_all(block, _Read(list(updates), nothing, (), (), block.number))
            self._keep(block, facts, rulings, (), block.number, gap=True)
        except BaseException:
            self.load()
            raise
        self._executor.adopt(self.window.blocks, self.finalized)
        self._tell(rulings, present=present)

    def sample(self, block: Block, updates: Sequence[Update[Any, Any]], *, final: int) -> None:
        """Arrive at a block that was looked at by itself. final: height of the newest final block, as the node says;
        the newest sample up to there is kept, to be reverted to."""
        assert isinstance(self.window, Samples)
        anchor, nothing = self.window.newest_at_most(final), Questions(block.ref, (), ())
        try:
            facts, rulings = self._judge_all(block, _Read(list(updates), nothing, (), (), anchor))
            self._keep(block, facts, rulings, (), anchor)
        except BaseException:
            self.load()
            raise
        self._tell(rulings, present=True)

    def _revert(self, step: Reverted) -> None:
        """Back to an ancestor: facts rewind, what was told and sent stays and is judged again on the new branch."""
        try:
            with self._store.transaction() as tx:
                changed = tx.revert_to(step.ancestor)
                self._executor.reverted(tx, step.ancestor)
            self.window.revert_to(step.ancestor)
            self._rulings = None
            for track in self.tracks:
                track.rewind(self._store, {(kind, key) for protocol, kind, key in changed if protocol == track.name})
            self._documenting.recall(self.tracks, self.window)
        except BaseException:
            self.load()
            raise
        log.warning("chain_reorganized", ancestor=step.ancestor.number, depth=len(step.reverted))

    @property
    def newcomers(self) -> list[Track]:
        """Protocols that nothing is stored of yet, although others have been followed."""
        return [track for track in self.tracks if track.book.market is None] if len(self.window) else []

    def admit(self, tracks: Sequence[Track], updates: Sequence[Update[Any, Any]]) -> None:
        """Hold what a backfill found of newcomers at the tip. They are judged with the next block."""
        facts = [fact for track, update in zip(tracks, updates, strict=True) for fact in track.facts(update)]
        try:
            with self._store.transaction() as tx:
                tx.amend(CommittedBlock(self.window.tip, tuple(facts)))
                for track in tracks:
                    tx.clear_touches(track.name)
        finally:
            self.load()

    async def repair(self, track: Track, keys: Sequence[bytes], *, touches: Sequence[bytes] = ()) -> None:
        """Read these positions, what these touches concern, and the market, afresh at the tip, and hold what the chain
        says."""
        tip, adapter = self.window.tip, track.adapter

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

    async def close(self) -> None:
        await self._executor.close()

    # --- reading

    async def _read(self, block: Block) -> _Read:
        """Everything about a block, in one round trip and, if it touched anything of ours, a second one."""
        questions = self._executor.questions(block.ref, self._venues)
        extra: list[Request] = list(questions.requests)
        by_tag = isinstance(self._finality, str)
        if by_tag:
            extra.append(("eth_getBlockByNumber", [self._finality, False]))
        head_calls = [track.adapter.head_calls(track.book.market) for track in self.tracks]
        calls = [call for group in (*head_calls, questions.calls) for call in group]
        filters = [track.filter for track in self.tracks]
        for _ in range(_WIDENINGS):
            read = await self._chain.read_head(block, _union(filters), calls, extra)
            results = _split(read.results, [len(group) for group in (*head_calls, questions.calls)])
            syncs = [
                track.adapter.sync(track.book, block, read.logs, head)
                for track, head in zip(self.tracks, results, strict=False)
            ]
            updates = await drive(syncs, lambda wanted: self._chain.call_many(wanted, block.ref))
            wider = [
                known if update.market is None else track.adapter.filter(update.market)
                for track, known, update in zip(self.tracks, filters, updates, strict=True)
            ]
            if _union(wider).addresses <= _union(filters).addresses:
                answers = read.extra[: len(questions.requests)]
                finalized = self._finalized(block, read.extra[-1] if by_tag else None)
                return _Read(updates, questions, results[-1], answers, finalized)
            filters = wider  # the block itself listed a market: its logs are to be read as well
        raise RpcMalformed(f"block {block.number} keeps naming new contracts after {_WIDENINGS} reads of its logs")

    def _finalized(self, block: Block, header: Any) -> int:
        """Height that can no longer be reorganized. Never falls; unchanged unless the node names a block of our chain.

        A height alone is not believed: one beyond the truth would make the next reorg unrecoverable.
        """
        if isinstance(self._finality, int):
            return max(self.finalized, block.number - self._finality)
        if isinstance(header, KeeperError) or header is None:
            return self.finalized
        try:
            number, said = int(header["number"], 16), bytes.fromhex(header["hash"][2:])
        except (KeyError, TypeError, ValueError):
            log.warning("finality_malformed", block=block.number, tag=self._finality, answer=str(header)[:120])
            return self.finalized
        held = block if number == block.number else self.window.at(number)
        return max(self.finalized, number) if held is not None and held.hash == said else self.finalized

    # --- concluding

    def _judge_all(self, block: Block, read: _Read, *, turn: bool = True) -> tuple[list[Fact], list[Ruling]]:
        """Take over what a block changed, and judge it; the facts are to be stored. turn: else the lines of a bar that
        ended are left for the caller to draw."""
        facts: list[Fact] = []
        rulings: list[Ruling] = []
        for track, update in zip(self.tracks, read.updates, strict=True):
            facts += track.advance(block.timestamp)
            if turn:
                track.turn()
            facts += track.facts(update)
            track.update(update)
            rulings.append(self._judge(track, block, update))
            facts += [episode_fact(step.after) for step in rulings[-1].steps]
        return facts, rulings

    def _keep(
        self,
        block: Block,
        facts: Sequence[Fact],
        rulings: Sequence[Ruling],
        intents: Sequence[Intent],
        finalized: int,
        *,
        gap: bool = False,
    ) -> None:
        """Store all that a block changed at once, and be at that block."""
        committed = CommittedBlock(block, tuple(facts))
        with self._store.transaction() as tx:
            if gap:
                tx.advance(committed)
                for track in self.tracks:
                    tx.clear_touches(track.name)
            elif isinstance(self.window, Samples):
                tx.sample(committed)
            else:
                tx.commit_block(committed)
            for intent in intents:
                tx.put_intent(intent)
            self._executor.firing.fired(tx)
            if finalized > self.finalized:
                tx.finalize(finalized)
        if gap:
            self.window = Window([block])
        else:
            self.window.extend(block)
        if finalized > self.finalized:
            self.finalized = finalized
            self.window.forget_below(finalized)
        for track, ruling in zip(self.tracks, rulings, strict=True):
            track.judge.accept(ruling)

    async def _fire(
        self,
        block: Block,
        updates: Sequence[Update[Any, Any]],
        asked: Awaitable[Opinions] | None,
        tried: Awaitable[Verdicts] | None,
    ) -> bool:
        """Send what is ready of the positions that this block opens. asked: what others say of these, where there are
        others; tried: what the calls of our contract do on it. Only waited for where there is something to send."""
        names = self._executor.firing.armed
        if not names:
            return False
        landing_at = self.landing_at(block)
        views: dict[str, View] = {}
        for track, update in zip(self.tracks, updates, strict=True):
            if track.name in names:
                market = track.book.market if update.market is None else update.market
                book = Book(market, update.prices, track.book.positions)
                screen = partial(track.judge.may_open, book, landing_at)
                views[track.name] = View(Venue(track.adapter, book), update.positions, screen)
        opinions, verdicts = None, dict[str, Verdict]()
        if tried is not None and self._executor.firing.awaits(views, landing_at):
            verdicts.update(await tried)
        if asked is not None and self._executor.firing.would_fire(block, views, landing_at, verdicts):
            opinions = await asked
        return self._executor.firing.fire(block, views, landing_at, opinions, verdicts)

    async def arm(self) -> None:
        """Between blocks: have transactions ready for the positions nearest to liquidation. May be cancelled."""
        if not len(self.window) or not self._executor.firing.arms:
            return
        tip = self.window.tip
        landing_at, edge = self.landing_at(tip), list[tuple[Health, Venue, bytes]]()
        for track, venue in zip(self.tracks, self._venues, strict=True):
            near = track.judge.edge(track.book, landing_at, self._executor.firing.arms, ARMED_BELOW)
            edge += [(health, venue, key) for key, health in near]
        edge.sort(key=lambda one: one[0].factor_wad or 0)
        books = [(track.book.market, track.book.prices) for track in self.tracks]

        def still() -> bool:
            now = [(track.book.market, track.book.prices) for track in self.tracks]
            return self.window.tip is tip and all(a is c and b is d for (a, b), (c, d) in zip(books, now, strict=True))

        nearest = [(venue, key) for _, venue, key in edge[: self._executor.firing.arms]]
        await self._executor.firing.arm(tip, nearest, landing_at, still)

    def _opportunities(self, rulings: Sequence[Ruling]) -> list[Opportunity]:
        return [
            Opportunity(venue, judgement.key)
            for venue, ruling in zip(self._venues, rulings, strict=True)
            for judgement in ruling.breached
        ]

    # --- telling

    @property
    def has_more_to_tell(self) -> bool:
        """Whether something was left to `tell_more`."""
        return self._rulings is not None or len(self._documenting) > 0

    def tell_more(self) -> None:
        """Between blocks: tell some of what is due, and document some of what blocks did, so that the next block waits
        for neither."""
        rulings = self._rulings
        if rulings is not None:
            self._tell([replace(ruling, steps=()) for ruling in rulings], present=True)
        elif len(self._documenting):
            self._document()

    def _tell(self, rulings: Sequence[Ruling], *, present: bool) -> None:
        """If the block is the present, put what is due in the outbox; document what it did to episodes. Of either no
        more than a little at once: the rest is for `tell_more`, or the next block."""
        try:
            told = self._store.told()
            facts: list[Fact] = []
            parts: list[Part] = []
            most = self._at_once
            for track, ruling in zip(self.tracks, rulings, strict=True):
                earlier = Past(self._store, track.adapter, self.window)
                part = track.teller.tell(told, track.book, ruling, present=present, earlier=earlier, most=most)
                most = max(most - len(part.outgoing), 0)
                facts += [episode_fact(one) for one in _said(part)]
                facts += [episode_fact(one.record) for one in part.outgoing if one.record is not None]
                parts.append(part)
            outgoing = [one for part in parts for one in part.outgoing]
            if facts or outgoing:
                with self._store.transaction() as tx:
                    tx.amend(CommittedBlock(self.window.tip, tuple(facts)))
                    self._put_in_outbox(tx, outgoing)
        except BaseException:
            self.load()
            raise
        for track, ruling, part in zip(self.tracks, rulings, parts, strict=True):
            for episode in _said(part):
                track.judge.amend(episode)
            self._documenting.note(track, ruling, frozenset(step.after.id for step in part.documented))
            track.teller.stored(ruling, part, present=present)
        self._rulings = list(rulings) if any(part.more for part in parts) else None
        if outgoing:
            self._wake()
        if 0 < len(self._documenting) <= most:
            self._document()

    def _document(self) -> None:
        """Some of what blocks did to episodes, the oldest first."""
        try:
            done = self._documenting.some(self._at_once)
            with self._store.transaction() as tx:
                tx.amend(CommittedBlock(self.window.tip, tuple(facts_of(done))))
        except BaseException:
            self.load()
            raise
        for track, episode in done:
            track.judge.amend(episode)
        self._documenting.finished(self._at_once)

    def _judge(self, track: Track, block: Block, update: Update[Any, Any]) -> Ruling:
        return track.judge.judge(
            track.book,
            block,
            changed=update.positions,
            liquidations=update.liquidations,
            suspects=track.teller.suspects(self._store.told()),
            also_at=self.landing_at(block),
        )

    def _put_in_outbox(self, tx: Transaction, outgoing: Sequence[Outgoing]) -> None:
        now = self._clock()
        for one in outgoing:
            if one.channels:
                tx.add_notice(self._invite(one.notice, now), one.channels, now)

    def landing_at(self, block: Block) -> int:
        """Timestamp of the block that a transaction sent now can be in: one usual block interval later."""
        recent = self.window.blocks[-8:]
        if recent and recent[-1].hash == block.hash:
            recent = recent[:-1]
        if not recent:
            return block.timestamp + 1
        return block.timestamp + max(1, round((block.timestamp - recent[0].timestamp) / len(recent)))


def _said(part: Part) -> list[Episode]:
    return [*(step.after for step in part.documented), *part.demanded]


def _union(filters: Sequence[LogFilter]) -> LogFilter:
    return reduce(LogFilter.union, filters) if filters else LogFilter(frozenset(), frozenset())


def _split(results: Sequence[CallResult], sizes: Sequence[int]) -> list[Sequence[CallResult]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(results[start : start + size])
        start += size
    return parts

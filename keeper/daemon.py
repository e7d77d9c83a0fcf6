"""The daemon: catch up, follow heads one block at a time, and keep the parts that run beside that alive.

Crash-only: everything it needs to go on is in the store, so a start is always a recovery, and any error that is not
known to pass ends the process loudly for its supervisor to start it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import structlog

from keeper.core.chain import Reverted, Step
from keeper.core.errors import ConfigError, HeadRefused, RetryableError, StateUnavailable, UnrecoverableReorg
from keeper.core.ports import Store
from keeper.core.types import Block, BlockRef, Call, CallResult
from keeper.executor.halt import Halt
from keeper.executor.switch import Switch
from keeper.fastlane import FastLane
from keeper.indexer.backfill import Progress, Report, backfill
from keeper.indexer.follow import MOST_MISSED, canonical_ancestor, steps_to
from keeper.indexer.reads import drive
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.witness import Witness
from keeper.mode.crosscheck import CrossCheck
from keeper.mode.standby import open_when_free
from keeper.mode.vitals import endpoints, register_modes
from keeper.mode.watch import ModeWatch
from keeper.notifier.outbox import Deliverer
from keeper.patience import Patience
from keeper.pipeline import Pipeline
from keeper.pulse import Board, HeadTally, JobTally, PulseWriter
from keeper.remembering import remember
from keeper.supervisor import Supervisor
from keeper.upkeep.jobs import Jobs
from keeper.upkeep.vitals import register_vitals
from keeper.wire import House

if TYPE_CHECKING:
    from keeper.foresight import Foresight
    from keeper.upkeep.webchild import WebChild

log = structlog.get_logger(__name__)

CATCH_UP_BLOCKS = 48
"""A gap larger than this is scanned by ranges up to finality instead of followed block by block."""

BRANCH_GROWS_S = 0.25
"""How soon the next block of a new branch is announced while the node is still switching to it."""

DRAIN_S = 5.0
BACKFILL_ATTEMPTS = 12
"""A backfill that fails this often in a row, over a minute and a half, ends; the daemon never gives up."""


class Daemon:
    """One chain, one process. `follow` runs until told to stop."""

    def __init__(
        self,
        house: House,
        rpc: RpcClient,
        store: Store,
        pipeline: Pipeline,
        report: Report,
        *,
        stop: asyncio.Event | None = None,
        attempts: int | None = None,
        supervisor: Supervisor | None = None,
        modes: ModeWatch | None = None,
        tally: HeadTally | None = None,
    ) -> None:
        """stop: when set, the block in hand is finished, and that is the end. attempts: see Patience. supervisor: hears
        when the daemon has caught up. modes: hears of every block. tally: counts them."""
        self._house = house
        self._rpc = rpc
        self._store = store
        self._pipeline = pipeline
        self._report = report
        self._stop = asyncio.Event() if stop is None else stop
        self._patience = Patience(self._stop, attempts)
        self._turn = asyncio.Lock()  # held while a block or a job reads and changes the books
        self._modes = modes
        self._tally = HeadTally() if tally is None else tally
        self._supervisor = Supervisor({}) if supervisor is None else supervisor
        self.foresight: Foresight | None = None
        self._arming: asyncio.Task[None] | None = None
        self._lane = FastLane(pipeline, rpc, house.config.chain.wrapped_native)
        self._telling: asyncio.Task[None] | None = None

    @property
    def turn(self) -> asyncio.Lock:
        return self._turn

    # --- following

    async def follow(self, until_block: int | None = None) -> None:
        """Start from the store, wherever the chain is by now, and follow it."""
        self._pipeline.load()
        head = await self._patience("start", self._newest)
        if head is None:
            return
        await self._remember()
        await self._arrive(head, until_block)
        # What was loaded stays. Walking it, the collector would stop a block for 50 ms per 100,000 positions.
        gc.collect()
        gc.freeze()
        self._supervisor.ready(f"following chain {self._house.config.chain.id} from block {head.number}")
        try:
            async for block in self._heads():
                if self._done(until_block):
                    break
                await self._arrive(block, until_block)
                if self._done(until_block):
                    break
        finally:
            self._stop_arming()
            if self._telling is not None:
                self._telling.cancel()
            self._stop_telling()

    async def _remember(self) -> None:
        """An index that was made before lines followed volatility has observed nothing yet."""
        for track in self._pipeline.tracks if len(self._pipeline.window) else ():
            if track.book.market is not None:
                await remember(self._rpc, track, track.book.market, track.book.prices, self._pipeline.window.tip)

    async def _heads(self) -> AsyncIterator[Block]:
        """Heads until told to stop, without ever leaving a head half taken."""
        heads, following, waiting = self._rpc.heads(), asyncio.current_task(), False

        def interrupt(_: asyncio.Task[object]) -> None:
            if waiting and following is not None and self._stop.is_set():
                following.cancel()

        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(interrupt)
        try:
            while not self._stop.is_set():
                waiting = True  # a task for each head would take longer than anything else between it and its read
                try:
                    head = await anext(heads)
                except asyncio.CancelledError:
                    if following is None or not self._stop.is_set():
                        raise
                    following.uncancel()
                    return
                finally:
                    waiting = False
                yield head
        finally:
            stopped.cancel()

    def _done(self, until_block: int | None) -> bool:
        window = self._pipeline.window
        reached = until_block is not None and len(window) > 0 and window.tip.number >= until_block
        return reached or self._stop.is_set()

    async def _arrive(self, head: Block, until_block: int | None) -> None:
        """Take every step to a head. Where reading fails, try again for as long as it takes, from the newest head."""
        first = True

        async def attempt() -> None:
            nonlocal first, head
            if not first:
                head = await self._newest()
            elif self._rpc.head_at_ns:
                self._pipeline.heard(head, self._rpc.head_at_ns)
            first = False
            self._tally.announced(head)
            if self._modes is not None:
                self._modes.announced(head)
            if self.foresight is not None:
                self.foresight.head_comes()
            self._stop_arming()
            self._lane.look()
            self._stop_telling()
            async with self._turn:
                await self._step_to(head, until_block)
            if self.foresight is not None:
                self.foresight.head_taken()
            self._arming = asyncio.create_task(self._arm(), name="arm")
            if self._telling is None and self._pipeline.has_more_to_tell:
                self._telling = asyncio.create_task(self._tell_more(), name="tell more")

        await self._patience("follow", attempt)

    async def _arm(self) -> None:
        """Have transactions ready for the next block, until it comes."""
        async with self._turn:
            self._lane.prepare()  # what is ready since earlier; the next head may not leave the time for more
            await self._pipeline.arm()
            self._lane.prepare()

    async def _tell_more(self) -> None:
        """What was too much to tell at once, some at a time, blocks coming first."""
        while self._pipeline.has_more_to_tell:
            async with self._turn:
                self._pipeline.tell_more()
            await asyncio.sleep(0)

    def _stop_telling(self) -> None:
        """Raises what went wrong meanwhile."""
        if self._telling is not None and self._telling.done():
            telling, self._telling = self._telling, None
            if not telling.cancelled():
                telling.result()

    def _stop_arming(self) -> None:
        """A head comes first. Raises what went wrong meanwhile: a store that cannot be written to."""
        arming, self._arming = self._arming, None
        if arming is not None and not arming.cancel() and not arming.cancelled():
            arming.result()

    async def _newest(self) -> Block:
        head = await self._rpc.block_by_number("latest")
        if head is None:
            raise StateUnavailable("the node has no latest block; it may still be starting")
        return head

    async def _steps_to(self, head: Block) -> Sequence[Step]:
        """A fork is followed to its newest block at once: nodes announce the blocks of a new branch one after another,
        and what is true at the first of them may be over at the last, so nobody should hear of it."""
        window = self._pipeline.window
        steps = await steps_to(window, head, self._rpc)
        if not steps or not isinstance(steps[0], Reverted):
            return steps
        newest = await self._newest()
        while newest.number < window.tip.number:  # lower than what it replaces: perhaps only announced in part
            await asyncio.sleep(BRANCH_GROWS_S)
            before, newest = newest, await self._newest()
            if newest.hash == before.hash:
                break
        return steps if newest.number < head.number else await steps_to(window, newest, self._rpc)

    async def _step_to(self, head: Block, until_block: int | None) -> None:
        pipeline = self._pipeline
        async with self._doubting(head):
            gap = head.number - pipeline.window.tip.number if len(pipeline.window) else None
            if gap is None or gap > CATCH_UP_BLOCKS or pipeline.newcomers:
                await self.catch_up(head)
            steps = await self._steps_to(head)
        for step in steps:
            await pipeline.apply(step)
            self._tally.took(step)
            self._patience.progressed()
            if self._modes is not None:
                self._modes.saw_block(pipeline.window.tip)
            if self._done(until_block):
                return

    @contextlib.asynccontextmanager
    async def _doubting(self, head: Block) -> AsyncIterator[None]:
        """While the way to a head is looked for. A head that cannot be is held against whoever told of it; one to
        which no way is found, against the other endpoints' heads."""
        try:
            try:
                yield
            except StateUnavailable:
                await self._rpc.hold_against_others(head, self._rpc.settings.max_lag_blocks, moving=True)
                raise
        except HeadRefused as error:
            self._rpc.disbelieve(error)
            raise

    # --- catching up

    async def index(self, to: int | None) -> None:
        """Arrive at one block, without following."""
        self._pipeline.load()

        async def attempt() -> None:
            head = await self._newest()
            async with self._doubting(head):
                await self.catch_up(head, to)

        await self._patience("index", attempt)

    async def catch_up(self, head: Block, to: int | None = None) -> None:
        """Scan what was missed, up to a final block, or `to`, and arrive there."""
        await self._rpc.hold_against_others(head, MOST_MISSED)
        await self._leave_orphaned_branch(head)
        target = await self._target(head, to)
        window = self._pipeline.window
        if len(window) and target.number <= window.tip.number:
            await self._admit_newcomers()
            return
        books = [(track.adapter, track.book) for track in self._pipeline.tracks]
        log.info("catching_up", to_block=target.number, head=head.number)
        updates = await backfill(self._rpc, self._store, books, target, self._progressed)
        for track, update in zip(self._pipeline.tracks, updates, strict=True):
            await remember(self._rpc, track, update.market or track.book.market, update.prices, target)
        self._pipeline.skip_to(target, updates, present=target.number >= head.number)
        self._tally.arrived(target)
        if self._modes is not None:
            self._modes.saw_block(target)
        log.info("caught_up", block=target.number, positions=sum(len(u.positions) for u in updates))

    async def _admit_newcomers(self) -> None:
        """Index protocols that were configured after the others, at the last final block, and follow all from there."""
        pipeline, newcomers = self._pipeline, self._pipeline.newcomers
        if not newcomers:
            return
        window = pipeline.window
        if window.oldest.number < window.tip.number:
            await pipeline.apply(Reverted(window.oldest.ref, window.above(window.oldest.number)))
        tip = pipeline.window.tip
        log.info("admitting_protocols", protocols=[track.name for track in newcomers], at_block=tip.number)
        books = [(track.adapter, track.book) for track in newcomers]
        updates = await backfill(self._rpc, self._store, books, tip, self._progressed)
        pipeline.admit(newcomers, updates)

    def _progressed(self, step: Progress) -> None:
        self._patience.progressed()
        if self._modes is not None:
            self._modes.progressed()
        self._report(step)

    async def _leave_orphaned_branch(self, head: Block) -> None:
        """A cursor on an orphaned block is reverted before anything else: what it said is no longer true."""
        window = self._pipeline.window
        if not len(window):
            return
        ancestor = await canonical_ancestor(window, self._rpc)
        if ancestor is None:
            raise UnrecoverableReorg(
                f"none of the kept blocks {window.oldest.number}-{window.tip.number} is on the chain whose head is "
                f"{head.number} (0x{head.hash.hex()}); check the node, and if it is right, "
                "re-index with `keeper repair`, which keeps the journal"
            )
        if ancestor.number < window.tip.number:
            step = Reverted(ancestor, window.above(ancestor.number))
            await self._pipeline.apply(step)
            self._tally.took(step)

    async def _target(self, head: Block, to: int | None) -> Block:
        """The block to read everything at: final if the protocols were whole by then, else the first where they are.

        The first, not the head: on a young chain nothing of ours is final yet, and only what is above can be reverted.
        """
        began = max(plugin.settings["start_block"] for plugin in self._house.config.protocols)
        finality = self._house.config.chain.finality
        wanted: int | str = to if to is not None else finality if isinstance(finality, str) else head.number - finality
        if isinstance(wanted, int):
            wanted = max(0, min(wanted, head.number))
        block = await self._block(wanted)
        if to is not None or (block.number >= began and await self._complete(block.ref)):
            return block
        low, found = max(block.number, min(began, head.number)), head
        while low < found.number:
            middle = await self._block((low + found.number) // 2)
            if await self._complete(middle.ref):
                found = middle
            else:
                low = middle.number + 1
        log.info("chain_is_young", final_block=block.number, protocols_whole_at=found.number)
        return found

    async def _block(self, wanted: int | str) -> Block:
        block = await self._rpc.block_by_number(wanted)
        if block is None:
            raise StateUnavailable(f"the node has no block {wanted!r}; it may still be syncing")
        return block

    async def _complete(self, at: BlockRef) -> bool:
        """Whether every configured market was whole at this block (on a young chain, finality is before it was)."""

        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            return await self._rpc.call_many(calls, at)

        try:
            await drive([track.adapter.bootstrap() for track in self._pipeline.tracks], execute)
        except ConfigError as error:
            log.debug("market_not_complete", block=at.number, reason=str(error))
            return False
        return True


async def run_daemon(
    house: House, report: Report, until_block: int | None, web: WebChild | None = None, *, standby: bool = False
) -> int:
    """Run until SIGTERM, SIGINT or the given block. Returns the exit code. web: a server to keep alive meanwhile.
    standby: wait for a store that another daemon writes, instead of refusing."""
    async with contextlib.AsyncExitStack() as stack:
        stop = _stop_on_signals()
        _pause_on_signals(house.acting.switch(), stop)
        opened = await open_when_free(house.open_store, stop) if standby else house.open_store()
        if opened is None:
            return 0
        store = stack.enter_context(contextlib.closing(opened))
        channels = house.telling.notifiers()
        for channel in channels:
            stack.push_async_callback(channel.close)
        deliverer = house.telling.deliverer(store, channels)
        conditions = house.telling.conditions(store, channels, deliverer.wake)
        halt = Halt()
        modes = house.keeping.mode_watch(store, conditions, halt)
        tally, jobs_tally, board = HeadTally(), JobTally(), Board()
        pulse = PulseWriter(board, house.files.pulse, house.config.chain.id, time.time)
        # Before there is a node: somebody must hear, and see, when there is none.
        stack.push_async_callback(pulse.stop)
        pulse.start()
        heartbeat = house.keeping.heartbeat(modes)
        beating = None if heartbeat is None else asyncio.create_task(heartbeat.run(), name="beat")
        register_modes(board, modes, halt, house.acting.switch(), heartbeat, opened.lease())
        if web is not None:
            stack.push_async_callback(web.stop)
            web.start()
        delivering = asyncio.create_task(deliverer.run(), name="deliver notices")
        watching = asyncio.create_task(modes.run(), name="watch the mode")
        stack.push_async_callback(_end_delivery, deliverer, delivering, watching)
        rpc = await Patience(stop)("connect", house.connect)
        if rpc is None:
            return 0
        stack.push_async_callback(rpc.close)
        witness = Witness(rpc)
        pipeline = house.pipeline(rpc, store, channels, deliverer.wake, halt=halt, witness=witness)
        modes.connect(rpc.status, pipeline.executor.guard)
        supervisor = Supervisor()
        daemon = Daemon(house, rpc, store, pipeline, report, stop=stop, supervisor=supervisor, modes=modes, tally=tally)
        board.register("endpoints", lambda: endpoints(rpc))
        register_vitals(board, tally, jobs_tally, rpc, deliverer, pipeline.executor, pipeline.tracks)
        log.info("started", chain_id=house.config.chain.id, mode=house.config.executor.mode, store_at=_place(store))
        living = asyncio.create_task(supervisor.keep_alive(), name="tell the supervisor")
        housekeeping = house.keeping.housekeeping(rpc, store, pipeline, daemon.turn, conditions)
        jobs = Jobs(house, rpc, store, pipeline, daemon.turn, conditions, housekeeping, jobs_tally)
        jobs.start()
        foreseeing = await _foresee(stack, house, pipeline, daemon)
        comparing = _compare(house, witness, pipeline, daemon, halt, board)
        following = asyncio.create_task(daemon.follow(until_block), name="follow the chain")
        beside = [task for task in (foreseeing, beating, comparing) if task is not None]
        try:
            running = [following, delivering, watching, *beside]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
        finally:
            supervisor.stopping()
            jobs.stop()
            ending = [following, watching, living, *beside]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await _end_delivery(deliverer, delivering, watching)
            await pipeline.close()
        log.info("stopped", block=_height(store))
    return 0


async def _end_delivery(deliverer: Deliverer, *tasks: asyncio.Task[None]) -> None:
    """Deliver what is due, and no more. A second time it does nothing."""
    await deliverer.drain(DRAIN_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _foresee(
    stack: contextlib.AsyncExitStack, house: House, pipeline: Pipeline, daemon: Daemon
) -> asyncio.Task[None] | None:
    """Act on price updates before they are mined, where that is configured; the daemon goes on without it."""
    try:
        foresight = await house.acting.foresight(pipeline, daemon.turn)
    except RetryableError as error:
        log.warning("foresight_unavailable", error=str(error), remedy="price updates are acted on once they are mined")
        return None
    if foresight is None:
        return None
    stack.push_async_callback(foresight.close)
    daemon.foresight = foresight
    return asyncio.create_task(foresight.run(), name="foresee prices")


def _compare(
    house: House, witness: Witness, pipeline: Pipeline, daemon: Daemon, halt: Halt, board: Board
) -> asyncio.Task[None] | None:
    """Hold what one endpoint says against what another does, where there are several."""
    defences = house.config.defences
    if not defences.second_opinion or len(house.config.chain.rpc) < 2:
        return None
    check = CrossCheck(witness, pipeline, daemon.turn, halt, hold_blocks=defences.hold_blocks)
    board.register("crosscheck", check.read)
    return asyncio.create_task(check.run(), name="compare endpoints")


async def run_backfill(house: House, report: Report, to: int | None) -> int:
    """Index up to a block and end. Alerts and transactions wait for the daemon.

    Raises the last error when it gets no further; what it has scanned is kept, and the next one resumes there.
    """
    async with contextlib.AsyncExitStack() as stack:
        stop = _stop_on_signals()
        store = stack.enter_context(contextlib.closing(house.open_store()))
        rpc = await house.connect()
        stack.push_async_callback(rpc.close)
        pipeline = house.pipeline(rpc, store, (), lambda: None)
        daemon = Daemon(house, rpc, store, pipeline, report, stop=stop, attempts=BACKFILL_ATTEMPTS)
        await daemon.index(to)
        log.info("indexed", block=_height(store))
    return 0


def _height(store: Store) -> int | None:
    cursor = store.cursor()
    return None if cursor is None else cursor.number


def _place(store: Store) -> str:
    cursor = store.cursor()
    return "nothing" if cursor is None else f"{cursor.number} 0x{cursor.hash.hex()}"


def _stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _pause_on_signals(switch: Switch, stop: asyncio.Event) -> None:
    """SIGUSR1 is `keeper pause`, SIGUSR2 is `keeper resume`. Where a pause cannot be written down, the daemon ends: it
    was asked to send nothing more."""

    def pause() -> None:
        try:
            switch.pause()
        except ConfigError as error:
            log.error("pause_failed", error=str(error), remedy="stopping instead")
            stop.set()

    def resume() -> None:
        try:
            switch.resume()
        except ConfigError as error:
            log.error("resume_failed", error=str(error))

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, pause)
    loop.add_signal_handler(signal.SIGUSR2, resume)

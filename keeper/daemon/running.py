"""Running: everything a daemon consists of, started in order and ended in order; and indexing alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog

from keeper.core.errors import ConfigError, RetryableError
from keeper.core.ports import Store
from keeper.daemon.following import Daemon
from keeper.daemon.signals import pause_on_signals, stop_on_signals
from keeper.executor.halt import Halt
from keeper.indexer.backfill import Report
from keeper.indexer.witness import Witness
from keeper.mode.crosscheck import CrossCheck
from keeper.mode.standby import open_when_free
from keeper.mode.vitals import endpoints, register_modes
from keeper.notifier.outbox import Deliverer
from keeper.patience import Patience
from keeper.pipeline import Pipeline
from keeper.pulse import Board, HeadTally, JobTally, PulseWriter
from keeper.supervisor import Supervisor
from keeper.upkeep.jobs import Jobs
from keeper.upkeep.vitals import register_vitals
from keeper.wire import House

if TYPE_CHECKING:
    from keeper.upkeep.webchild import WebChild

log = structlog.get_logger(__name__)

DRAIN_S = 5.0
BACKFILL_ATTEMPTS = 12
"""A backfill that fails this often in a row, over a minute and a half, ends; the daemon never gives up."""


async def run_daemon(
    house: House, report: Report, until_block: int | None, web: WebChild | None = None, *, standby: bool = False
) -> int:
    """Run until SIGTERM, SIGINT or the given block. Returns the exit code. web: a server to keep alive meanwhile.
    standby: wait for a store that another daemon writes, instead of refusing."""
    async with contextlib.AsyncExitStack() as stack:
        stop = stop_on_signals()
        pause_on_signals(house.acting.switch(), stop)
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
        witness = Witness(rpc, asks_others=house.config.defences.second_opinion)
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


async def run_backfill(house: House, report: Report, to: int | None) -> int:
    """Index up to a block and end. Alerts and transactions wait for the daemon.

    Raises the last error when it gets no further, ConfigError when the chain has no such block yet; what it has scanned
    is kept, and the next one resumes there.
    """
    async with contextlib.AsyncExitStack() as stack:
        stop = stop_on_signals()
        store = stack.enter_context(contextlib.closing(house.open_store()))
        rpc = await house.connect()
        stack.push_async_callback(rpc.close)
        pipeline = house.pipeline(rpc, store, (), lambda: None)
        daemon = Daemon(house, rpc, store, pipeline, report, stop=stop, attempts=BACKFILL_ATTEMPTS)
        await daemon.index(to)
        height = _height(store)
        log.info("indexed", block=height)
        if to is not None and height is not None and height < to and not stop.is_set():
            raise ConfigError(
                f"block {to} was not reached: the newest one is {height}; all up to there is indexed and kept"
            )
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
    """Hold what one endpoint says against what another does where there are several, else logs against receipts."""
    defences = house.config.defences
    asks_others = defences.second_opinion and len(house.config.chain.rpc) > 1
    if not asks_others and not defences.prove_logs:
        return None
    check = CrossCheck(
        witness, pipeline, daemon.turn, halt, hold_blocks=defences.hold_blocks, proves=defences.prove_logs
    )
    board.register("crosscheck", check.read)
    return asyncio.create_task(check.run(), name="compare endpoints")


def _height(store: Store) -> int | None:
    cursor = store.cursor()
    return None if cursor is None else cursor.number


def _place(store: Store) -> str:
    cursor = store.cursor()
    return "nothing" if cursor is None else f"{cursor.number} 0x{cursor.hash.hex()}"

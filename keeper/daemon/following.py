"""Following heads: every step from where the store is to where the chain is, one block at a time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keeper.core.chain import Reverted, Step
from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.daemon.between import Between
from keeper.daemon.catching_up import CatchUp
from keeper.daemon.heads import Heads
from keeper.fastlane import FastLane
from keeper.indexer.backfill import Report
from keeper.indexer.follow import steps_to
from keeper.indexer.rpc.client import RpcClient
from keeper.mode.watch import ModeWatch
from keeper.patience import Patience
from keeper.pipeline import Pipeline
from keeper.pulse import HeadTally
from keeper.remembering import remember
from keeper.supervisor import Supervisor
from keeper.wire import House

if TYPE_CHECKING:
    from keeper.foresight import Foresight

CATCH_UP_BLOCKS = 48
"""A gap larger than this is scanned by ranges up to finality instead of followed block by block."""

BRANCH_GROWS_S = 0.25
"""How soon the next block of a new branch is announced while the node is still switching to it."""


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
        self._pipeline = pipeline
        self._stop = asyncio.Event() if stop is None else stop
        self._patience = Patience(self._stop, attempts)
        self._heads = Heads(rpc, self._stop)
        self._turn = asyncio.Lock()  # held while a block or a job reads and changes the books
        self._modes = modes
        self._tally = HeadTally() if tally is None else tally
        self._supervisor = Supervisor({}) if supervisor is None else supervisor
        self.foresight: Foresight | None = None
        self._between = Between(pipeline, FastLane(pipeline, rpc, house.config.chain.wrapped_native), self._turn)
        self._catch_up = CatchUp(
            house.config, rpc, self._heads, store, pipeline, report, self._patience, self._tally, modes
        )

    @property
    def turn(self) -> asyncio.Lock:
        return self._turn

    async def index(self, to: int | None) -> None:
        """Arrive at one block, without following."""
        await self._catch_up.index(to)

    async def follow(self, until_block: int | None = None) -> None:
        """Start from the store, wherever the chain is by now, and follow it."""
        self._pipeline.load()
        head = await self._patience("start", self._heads.newest)
        if head is None:
            return
        await self._remember()
        await self._arrive(head, until_block)
        # What was loaded stays. Walking it, the collector would stop a block for 50 ms per 100,000 positions.
        gc.collect()
        gc.freeze()
        self._supervisor.ready(f"following chain {self._house.config.chain.id} from block {head.number}")
        try:
            async for block in self._heads.coming():
                if self._done(until_block):
                    break
                await self._arrive(block, until_block)
                if self._done(until_block):
                    break
        finally:
            self._between.end()

    async def _remember(self) -> None:
        """An index that was made before lines followed volatility has observed nothing yet."""
        for track in self._pipeline.tracks if len(self._pipeline.window) else ():
            if track.book.market is not None:
                await remember(self._rpc, track, track.book.market, track.book.prices, self._pipeline.window.tip)

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
                head = await self._heads.newest()
            elif self._rpc.head_at_ns:
                self._pipeline.heard(head, self._rpc.head_at_ns)
            first = False
            self._tally.announced(head)
            if self._modes is not None:
                self._modes.announced(head)
            if self.foresight is not None:
                self.foresight.head_comes()
            self._between.head_comes()
            async with self._turn:
                await self._step_to(head, until_block)
            if self.foresight is not None:
                self.foresight.head_taken()
            self._between.head_taken()

        await self._patience("follow", attempt)

    async def _step_to(self, head: Block, until_block: int | None) -> None:
        pipeline = self._pipeline
        async with self._heads.doubting(head):
            gap = head.number - pipeline.window.tip.number if len(pipeline.window) else None
            if gap is None or gap > CATCH_UP_BLOCKS or pipeline.newcomers:
                await self._catch_up(head)
            steps = await self._steps_to(head)
        for step in steps:
            await pipeline.apply(step)
            self._tally.took(step)
            self._patience.progressed()
            if self._modes is not None:
                self._modes.saw_block(pipeline.window.tip)
            if self._done(until_block):
                return

    async def _steps_to(self, head: Block) -> Sequence[Step]:
        """A fork is followed to its newest block at once: nodes announce the blocks of a new branch one after another,
        and what is true at the first of them may be over at the last, so nobody should hear of it."""
        window = self._pipeline.window
        steps = await steps_to(window, head, self._rpc)
        if not steps or not isinstance(steps[0], Reverted):
            return steps
        newest = await self._heads.newest()
        while newest.number < window.tip.number:  # lower than what it replaces: perhaps only announced in part
            await asyncio.sleep(BRANCH_GROWS_S)
            before, newest = newest, await self._heads.newest()
            if newest.hash == before.hash:
                break
        return steps if newest.number < head.number else await steps_to(window, newest, self._rpc)

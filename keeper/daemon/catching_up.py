"""Catching up: what was missed is scanned up to a final block, from there on heads are followed one by one.

a head ─▶ a cursor on an orphaned branch is reverted ─▶ the target: final, and whole ─▶ backfill ─▶ pipeline
                                                        └▶ nothing to scan: protocols that are new are admitted
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from keeper.config.deployment import Config
from keeper.core.chain import Reverted
from keeper.core.errors import ConfigError, StateUnavailable, UnrecoverableReorg
from keeper.core.ports import Store
from keeper.core.types import Block, BlockRef
from keeper.daemon.heads import Heads
from keeper.indexer.backfill import Missed, Progress, Report, backfill, beyond_head
from keeper.indexer.decoding import read_state
from keeper.indexer.follow import MOST_MISSED, canonical_ancestor
from keeper.indexer.rpc.client import RpcClient
from keeper.mode.watch import ModeWatch
from keeper.patience import Patience
from keeper.pipeline import Pipeline
from keeper.pulse import HeadTally
from keeper.remembering import remember
from keeper.track import Track

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CatchUp:
    """report: hears of progress. modes: hears of it, and of the block arrived at; so does the tally."""

    config: Config
    rpc: RpcClient
    heads: Heads
    store: Store
    pipeline: Pipeline
    report: Report
    patience: Patience
    tally: HeadTally
    modes: ModeWatch | None

    async def index(self, to: int | None) -> None:
        """Arrive at one block, without following."""
        self.pipeline.load()

        async def attempt() -> None:
            head = await self.heads.newest()
            async with self.heads.doubting(head):
                await self(head, to)

        await self.patience("index", attempt)

    async def __call__(self, head: Block, to: int | None = None) -> None:
        """Scan what was missed, up to a final block, or `to`, and arrive there."""
        await self.rpc.hold_against_others(head, MOST_MISSED)
        self._await_start(head)
        await self._leave_orphaned_branch(head)
        final = await self._final(head)
        target = await self._target(head, final, to)
        window = self.pipeline.window
        if len(window) and target.number <= window.tip.number:
            await self._admit_newcomers()
            return
        books = self._books(self.pipeline.tracks)
        log.info("catching_up", to_block=target.number, head=head.number)
        updates = await backfill(self.rpc, self.store, books, target, final.number, self._progressed)
        for track, update in zip(self.pipeline.tracks, updates, strict=True):
            await remember(self.rpc, track, update.market or track.book.market, update.prices, target)
        self.pipeline.skip_to(target, updates, present=target.number >= head.number)
        self.tally.arrived(target)
        if self.modes is not None:
            self.modes.saw_block(target)
        log.info("caught_up", block=target.number, positions=sum(len(u.positions) for u in updates))

    def _await_start(self, head: Block) -> None:
        """Raises StateUnavailable where a protocol that is to be indexed begins beyond the head: of its history nothing
        would be seen, and it would be followed as if it had no positions."""
        pipeline = self.pipeline
        for track in pipeline.newcomers if len(pipeline.window) else pipeline.tracks:
            if track.adapter.start_block > head.number:
                raise StateUnavailable(beyond_head(track.adapter, head))

    async def _admit_newcomers(self) -> None:
        """Index protocols that were configured after the others, or again, at the last final block, and follow all from
        there."""
        pipeline, newcomers = self.pipeline, self.pipeline.newcomers
        if not newcomers:
            return
        window = pipeline.window
        if window.oldest.number < window.tip.number:
            await pipeline.apply(Reverted(window.oldest.ref, window.above(window.oldest.number)))
        tip = pipeline.window.tip
        log.info("admitting_protocols", protocols=[track.name for track in newcomers], at_block=tip.number)
        books = self._books(newcomers)
        updates = await backfill(self.rpc, self.store, books, tip, tip.number, self._progressed)
        pipeline.admit(newcomers, updates)

    def _books(self, tracks: Sequence[Track]) -> list[Missed]:
        """With what is held of them, which for newcomers is what is stored from earlier."""
        tip, newcomers = self.store.cursor(), {track.name for track in self.pipeline.newcomers}
        return [
            (track.adapter, track.stored(self.store), None)
            if tip is None or track.name in newcomers
            else (track.adapter, track.book, tip.number)
            for track in tracks
        ]

    def _progressed(self, step: Progress) -> None:
        self.patience.progressed()
        if self.modes is not None:
            self.modes.progressed()
        self.report(step)

    async def _leave_orphaned_branch(self, head: Block) -> None:
        """A cursor on an orphaned block is reverted before anything else: what it said is no longer true."""
        window = self.pipeline.window
        if not len(window):
            return
        ancestor = await canonical_ancestor(window, self.rpc)
        if ancestor is None:
            raise UnrecoverableReorg(
                f"none of the kept blocks {window.oldest.number}-{window.tip.number} is on the chain whose head is "
                f"{head.number} (0x{head.hash.hex()}); check the node, and if it is right, "
                "re-index with `keeper repair`, which keeps the journal"
            )
        if ancestor.number < window.tip.number:
            step = Reverted(ancestor, window.above(ancestor.number))
            await self.pipeline.apply(step)
            self.tally.took(step)

    async def _final(self, head: Block) -> Block:
        """The newest block that can no longer be reorganized."""
        finality = self.config.chain.finality
        return await self._block(finality if isinstance(finality, str) else max(0, head.number - finality))

    async def _target(self, head: Block, final: Block, to: int | None) -> Block:
        """The block to read everything at: final if the protocols were whole by then, else the first where they are.

        The first, not the head: on a young chain nothing of ours is final yet, and only what is above can be reverted.
        """
        began = max(plugin.settings["start_block"] for plugin in self.config.protocols)
        if to is not None:
            return await self._block(max(0, min(to, head.number)))
        if final.number >= began and await self._complete(final.ref):
            return final
        low, found = max(final.number, began), head
        while low < found.number:
            middle = await self._block((low + found.number) // 2)
            if await self._complete(middle.ref):
                found = middle
            else:
                low = middle.number + 1
        log.info("chain_is_young", final_block=final.number, protocols_whole_at=found.number)
        return found

    async def _block(self, wanted: int | str) -> Block:
        block = await self.rpc.block_by_number(wanted)
        if block is None:
            raise StateUnavailable(f"the node has no block {wanted!r}; it may still be syncing")
        return block

    async def _complete(self, at: BlockRef) -> bool:
        """Whether every configured market was whole at this block (on a young chain, finality is before it was)."""
        try:
            await read_state(self.rpc, at, lambda: [track.adapter.bootstrap() for track in self.pipeline.tracks])
        except ConfigError as error:
            log.debug("market_not_complete", block=at.number, reason=str(error))
            return False
        return True

"""What is held of the chain: its newest blocks, and each protocol's book. Taken over from a block, judged, and kept at
once with what the store is told; if anything fails meanwhile it is read back from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keeper.core.chain import Samples, Window
from keeper.core.ports import Store
from keeper.core.records import CommittedBlock, Fact, Intent
from keeper.core.types import Block, Liquidated, RawLog, Update
from keeper.evaluator.judge import Ruling
from keeper.executor.executor import Executor
from keeper.executor.ports import Venue
from keeper.pipeline.followed import Followed
from keeper.track import Track, episode_fact


class Memory:
    """samples: blocks are looked at now and then instead of followed. finalized: height that can no longer be
    reorganized. venues: every protocol with its book at the tip."""

    def __init__(self, store: Store, tracks: Sequence[Track], executor: Executor, *, samples: bool) -> None:
        self.store = store
        self.tracks = tuple(tracks)
        self.executor = executor
        self.venues: list[Venue] = []
        self._followed = None if samples else Followed(store, (track.name for track in self.tracks))
        self._headers = Samples if samples else Window
        self.window = self._headers(())
        self.finalized = 0
        self._missed: dict[str, list[Liquidated]] = {}

    def load(self) -> None:
        """Become what the store says."""
        self.window = self._headers(self.store.blocks())
        self.finalized = self.window.oldest.number if len(self.window) else 0
        if self._followed is not None:
            self._followed.load()
        for track in self.tracks:
            if self.follows(track):
                track.load(self.store)
            else:
                track.let_go(self.store)
        self.venues = [Venue(track.adapter, track.book) for track in self.tracks]
        self.executor.adopt(self.window.blocks, self.finalized)

    def follows(self, track: Track) -> bool:
        """Whether its book is as of the tip. What is looked at now and then is read whole each time."""
        return self._followed is None or track.name in self._followed.names

    def join(self, tracks: Sequence[Track]) -> None:
        """Hold what is stored of these, to be updated."""
        for track in tracks:
            if not self.follows(track):
                track.hold(self.store)

    def admit(self, tracks: Sequence[Track], updates: Sequence[Update[Any, Any]]) -> None:
        """Take over what these became by the tip, judge it, and keep it."""
        assert self._followed is not None
        tip, names, facts = self.window.tip, [track.name for track in tracks], list[Fact]()
        self.join(tracks)
        for track, update in zip(tracks, updates, strict=True):
            facts += self._judge_one(track, tip, update, turn=True)[0]
        with self.store.transaction() as tx:
            self._followed.keep(tx, joining=names)
            tx.amend(CommittedBlock(tip, tuple(facts)))
            for name in names:
                tx.clear_touches(name)
        self._followed.kept(joined=names)

    def missed(self, logs: Sequence[RawLog]) -> None:
        """Logs of blocks that were taken without them: liquidations among them are the next block's, so that owners
        hear of a loss, and not of a repayment."""
        for track in self.tracks:
            market = track.book.market
            if market is None or not logs:
                continue
            wanted = track.filter.addresses
            ours = [log for log in logs if bytes.fromhex(log.address[2:]) in wanted]
            self._missed.setdefault(track.name, []).extend(track.adapter.liquidations(market, ours))

    def forget_missed(self) -> None:
        """The blocks of these may be gone; those that replace them are read anew."""
        self._missed.clear()

    def judge(
        self, block: Block, updates: Sequence[Update[Any, Any]], *, turn: bool = True
    ) -> tuple[list[Fact], list[Ruling]]:
        """Take over what a block changed, and judge it; the facts are to be stored. turn: else the lines of a bar that
        ended are left for the caller to draw."""
        facts: list[Fact] = []
        rulings: list[Ruling] = []
        for track, update in zip(self.tracks, updates, strict=True):
            changed, ruling = self._judge_one(track, block, update, turn=turn)
            facts += changed
            rulings.append(ruling)
        return facts, rulings

    def _judge_one(
        self, track: Track, block: Block, update: Update[Any, Any], *, turn: bool
    ) -> tuple[list[Fact], Ruling]:
        facts = track.advance(block.timestamp)
        if turn:
            track.turn()
        update = _with(update, self._missed.get(track.name, ()), track.book.positions)
        facts += track.facts(update)
        track.update(update)
        ruling = track.judge.judge(
            track.book,
            block,
            changed=update.positions,
            liquidations=update.liquidations,
            suspects=track.teller.suspects(self.store.told()),
            also_at=self.landing_at(block),
        )
        return [*facts, *(episode_fact(step.after) for step in ruling.steps)], ruling

    def keep(
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
        joining = [track.name for track in self.tracks] if gap or not len(self.window) else []
        with self.store.transaction() as tx:
            if self._followed is not None:
                self._followed.keep(tx, joining=joining)
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
            self.executor.firing.fired(tx)
            if finalized > self.finalized:
                tx.finalize(finalized)
        self.forget_missed()
        if self._followed is not None:
            self._followed.kept(joined=joining)
        if gap:
            self.window = Window([block])
        else:
            self.window.extend(block)
        if finalized > self.finalized:
            self.finalized = finalized
            self.window.forget_below(finalized)
        for track, ruling in zip(self.tracks, rulings, strict=True):
            track.judge.accept(ruling)

    def landing_at(self, block: Block) -> int:
        """Timestamp of the block that a transaction sent now can be in: one usual block interval later."""
        recent = self.window.blocks[-8:]
        if recent and recent[-1].hash == block.hash:
            recent = recent[:-1]
        if not recent:
            return block.timestamp + 1
        return block.timestamp + max(1, round((block.timestamp - recent[0].timestamp) / len(recent)))


def _with(update: Update[Any, Any], missed: Sequence[Liquidated], positions: Mapping[bytes, Any]) -> Update[Any, Any]:
    """The update with liquidations that earlier blocks were read without; whom they concern counts as changed."""
    if not missed:
        return update
    changed = {event.key: positions.get(event.key) for event in missed}
    return replace(update, positions={**changed, **update.positions}, liquidations=(*missed, *update.liquidations))

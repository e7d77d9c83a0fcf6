"""Telling: demands and notices into the outbox, and what blocks did to episodes, no more at once than a block can wait
for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from keeper.core.ports import Transaction
from keeper.core.records import CommittedBlock, Fact, Notice
from keeper.documenting import Documenting, facts_of
from keeper.evaluator.episodes import Episode
from keeper.evaluator.judge import Ruling
from keeper.evaluator.tell import Outgoing, Tellings
from keeper.past import Past
from keeper.pipeline.memory import Memory
from keeper.track import episode_fact


class Telling:
    """invite: adds to a notice how to acknowledge it. wake: called once there is something in the outbox. reload:
    called when the store refused something; memory is then what it says. at_once: notices, and records of what a block
    did, made in one go."""

    def __init__(
        self,
        memory: Memory,
        invite: Callable[[Notice, float], Notice],
        clock: Callable[[], float],
        wake: Callable[[], None],
        reload: Callable[[], None],
        at_once: int,
    ) -> None:
        self._memory = memory
        self._invite = invite
        self._clock = clock
        self._wake = wake
        self._reload = reload
        self._at_once = at_once
        self._documenting = Documenting(memory.store)
        self._rulings: list[Ruling] | None = None  # of the tip, while there is more to tell of it

    def recall(self) -> None:
        """Become what is left to tell by what memory says, which was loaded or rewound."""
        self._documenting.recall(self._memory.tracks, self._memory.window)
        self._rulings = None

    @property
    def has_more(self) -> bool:
        """Whether something was left to `more`."""
        return self._rulings is not None or len(self._documenting) > 0

    def more(self) -> None:
        """Between blocks: tell some of what is due, and document some of what blocks did, so that the next block waits
        for neither."""
        rulings = self._rulings
        if rulings is not None:
            self.tell([replace(ruling, steps=()) for ruling in rulings], present=True)
        elif len(self._documenting):
            self._document()

    def tell(self, rulings: Sequence[Ruling], *, present: bool) -> None:
        """If the block is the present, put what is due in the outbox; document what it did to episodes. Of either no
        more than a little at once: the rest is for `more`, or the next block."""
        try:
            store = self._memory.store
            told = store.told()
            facts: list[Fact] = []
            parts: list[Tellings] = []
            most = self._at_once
            for track, ruling in zip(self._memory.tracks, rulings, strict=True):
                earlier = Past(store, track.adapter, self._memory.window)
                part = track.teller.tell(store, told, track.book, ruling, present=present, earlier=earlier, most=most)
                most = max(most - len(part.notices), 0)
                facts += [episode_fact(one) for one in _said(part)]
                facts += [episode_fact(one.record) for one in part.notices if one.record is not None]
                parts.append(part)
            outgoing = [one for part in parts for one in part.notices]
            if facts or outgoing:
                with store.transaction() as tx:
                    tx.amend(CommittedBlock(self._memory.window.tip, tuple(facts)))
                    self._put_in_outbox(tx, outgoing)
        except BaseException:
            self._reload()
            raise
        for track, ruling, part in zip(self._memory.tracks, rulings, parts, strict=True):
            for episode in _said(part):
                track.judge.amend(episode)
            self._documenting.note(track, ruling, frozenset(step.after.id for step in part.documented))
            track.teller.stored(ruling, part, present=present)
        self._rulings = list(rulings) if any(part.more for part in parts) else None
        if any(one.channels for one in outgoing):
            self._wake()
        if 0 < len(self._documenting) <= most:
            self._document()

    def _document(self) -> None:
        """Some of what blocks did to episodes, the oldest first."""
        try:
            done = self._documenting.some(self._at_once)
            with self._memory.store.transaction() as tx:
                tx.amend(CommittedBlock(self._memory.window.tip, tuple(facts_of(done))))
        except BaseException:
            self._reload()
            raise
        for track, episode in done:
            track.judge.amend(episode)
        self._documenting.finished(self._at_once)

    def _put_in_outbox(self, tx: Transaction, outgoing: Sequence[Outgoing]) -> None:
        now = self._clock()
        for one in outgoing:
            tx.add_notice(self._invite(one.notice, now), one.channels, now)


def _said(part: Tellings) -> list[Episode]:
    return [*(step.after for step in part.documented), *part.demanded]

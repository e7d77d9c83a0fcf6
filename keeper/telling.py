"""When to tell, and whom: what to say is `keeper.evaluator.tell`.

Silent on blocks that are not the tip: while a branch is being caught up with, only its end is the present. What closed
on the way is remembered until then: in memory, and after a restart or a revert from the stored episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from keeper.core.ports import Store
from keeper.core.records import NoticeEvent, Told
from keeper.core.types import Block, Book
from keeper.evaluator.directory import Directory
from keeper.evaluator.episode_json import load_episode, outline
from keeper.evaluator.episodes import Episode, EpisodeStatus
from keeper.evaluator.judge import Judge, Ruling
from keeper.evaluator.notices import Due, is_unheard_loss
from keeper.evaluator.situation import Earlier
from keeper.evaluator.tell import Outgoing, Tellings, key_of, suspects, tell
from keeper.notifier.routing import Router


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is due, as channels choose by it."""

    account: bytes
    protocol: str
    event: NoticeEvent
    band: str


class Teller:
    """For one protocol. `reload` whenever the store was opened or reverted."""

    def __init__(self, judge: Judge[Any, Any], router: Router, directory: Directory) -> None:
        self._judge = judge
        self._directory = directory
        self._prefix = f"{judge.adapter.name}:"
        self._router = router
        self._ended: dict[str, list[Episode]] = {}  # by position, as far as it may have to be told
        self._undone: frozenset[str] = frozenset()
        self._nowhere: dict[str, Told] = {}  # believed calls of whose end nothing is on record
        self._latecomers: dict[str, frozenset[str]] = {}  # by position, channels that came after its call was told
        self._came_late: set[str] | None = None  # positions of which there were any at the start
        # Whether readers may believe something untrue although nothing changes in the next block: after a revert, a
        # restart, blocks that nobody was told of, and while a position cannot be judged.
        self._behind = True

    def reload(self, store: Store) -> None:
        """Recall how the calls ended that readers still believe to be open, and losses in blocks not yet final that
        nobody heard of: what is older was either told, or before our time."""
        told, blocks = self._mine(store.told()), store.blocks()
        recent = [episode for episode in self._since(store, blocks[0].number) if not episode.is_open] if blocks else []
        recent = [episode for episode in recent if episode.last.block.number >= blocks[0].number]
        lost = {episode.position for episode in recent if episode.status is EpisodeStatus.LIQUIDATED}
        self._behind = True
        self._undone = frozenset(
            position
            for position, one in told.items()
            if one.event is NoticeEvent.LIQUIDATED
            and position not in lost
            and _is_gone(one, blocks)
            and not self._is_lost(store, one)
        )
        self._ended, self._nowhere = {}, {}
        believed = {position: one for position, one in told.items() if not one.event.closes}
        if blocks:
            self._recall(store, believed)
        self._latecomers = {
            position: channels
            for position, one in believed.items()
            if (self._came_late is None or position in self._came_late) and (channels := self._late(store, one))
        }
        if self._came_late is None:
            self._came_late = set(self._latecomers)
        for episode in recent:
            if episode.position in self._undone or is_unheard_loss(told.get(episode.position), episode):
                self._remember(episode)

    def _late(self, store: Store, told: Told) -> frozenset[str]:
        """Channels that want to hear of a call that readers believe open, and were not there when it was told. Who
        escalates what another tells is told of it only together with that one."""
        known = store.channels_of(told.episode)
        if known >= self._router.names:
            return frozenset()
        account = self._judge.adapter.account(key_of(self._judge, told.position))
        wanting: set[str] = set()
        for event in (NoticeEvent.OPENED, NoticeEvent.ESCALATED):
            wanting.update(self._router.channels(_Subject(account, self._judge.adapter.name, event, told.band)))
        return self._router.without_others(wanting - known)

    def _is_lost(self, store: Store, one: Told) -> bool:
        """Whether the loss that was told is on record, though its telling was of a later block."""
        payload = store.fact(self._judge.adapter.name, "episode", one.episode.encode())
        return payload is not None and load_episode(payload).status is EpisodeStatus.LIQUIDATED

    def _since(self, store: Store, number: int) -> Iterator[Episode]:
        return (load_episode(row[2]) for row in store.episodes(self._judge.adapter.name, since=number))

    def _recall(self, store: Store, believed: Mapping[str, Told]) -> list[Episode]:
        """How these calls ended by what is on record: memory forgets what was told, which may not have arrived. Where
        there is nothing, it is looked for once."""
        sought = {position: one for position, one in believed.items() if self._nowhere.get(position) != one}
        for episode in self._ended_of(store, sought) if sought else ():
            one = sought[episode.position]
            if episode.id == one.episode or episode.last.block.number >= one.block_number:
                self._remember(episode)
        self._nowhere.update((position, one) for position, one in sought.items() if position not in self._ended)
        return [episode for position in believed for episode in self._ended.get(position, ())]

    def _ended_of(self, store: Store, positions: Container[str]) -> Iterator[Episode]:
        """Every ended episode of these positions. There may be many others: only their outlines are read."""
        for _, _, payload, _ in store.episodes(self._judge.adapter.name):
            if not (about := outline(payload)).is_open and about.position in positions:
                yield load_episode(payload)

    def suspects(self, told: Mapping[str, Told]) -> list[bytes]:
        """Positions to judge whatever the screen says, because readers may be wrong about them."""
        return suspects(self._judge, self._mine(told), self._ended.keys()) if self._behind else []

    def tell(
        self,
        store: Store,
        told: Mapping[str, Told],
        book: Book[Any, Any],
        ruling: Ruling,
        *,
        present: bool,
        earlier: Callable[[bytes], Earlier | None] = lambda _: None,
        most: int | None = None,
    ) -> Tellings:
        """What the readers of this protocol must hear after this block, or the deepest `most` of it; `stored` must
        follow once it is.

        earlier: by key, what a position's health was a while ago."""
        if not present or not (ruling.steps or self._behind):
            return Tellings()
        found = tell(
            self._judge,
            book,
            ruling,
            self._mine(told),
            self._wanting,
            self._directory,
            [one for ended in self._ended.values() for one in ended],
            self._undone,
            earlier,
            partial(self._recall, store),
            self._latecomers,
            most,
        )
        return replace(found, notices=[self._for_hearers(store, one) for one in found.notices])

    def _for_hearers(self, store: Store, one: Outgoing) -> Outgoing:
        """An end is for those who heard of the call. Dropped by the rules of every channel that did not, it would be
        due again, for ever. A loss is for everybody."""
        if not one.notice.event.ends_episode or one.notice.event is NoticeEvent.LIQUIDATED or not one.channels:
            return one
        hearers = store.hearers_of(one.notice.episode)
        return replace(one, channels=tuple(channel for channel in one.channels if channel in hearers))

    def _wanting(self, due: Due, account: bytes) -> tuple[str, ...]:
        return self._router.channels(_Subject(account, self._judge.adapter.name, due.event, due.depth.label))

    def stored(self, ruling: Ruling, part: Tellings, *, present: bool) -> None:
        """The block of this ruling, and this part of what it had to tell, is in the store."""
        if present and not part.more:
            self._ended = {position: ends for position, ends in self._ended.items() if position in ruling.unknown}
            self._latecomers = {one: of for one, of in self._latecomers.items() if one in ruling.unknown}
            self._behind = bool(ruling.unknown)
            self._undone &= ruling.unknown
            for step in ruling.steps:
                if not step.after.is_open and step.after.position in ruling.doubted:
                    self._remember(step.after)
            return
        self._behind = True
        said = {one.notice.position for one in part.notices}
        self._undone -= said
        for position in said & self._latecomers.keys():
            del self._latecomers[position]
        for step in ruling.steps:
            if not step.after.is_open:
                self._remember(step.after)

    def _remember(self, ended: Episode) -> None:
        """Of several that ended before anybody was told, every loss must be told; else the last. They come in any
        order, and again as they are now."""
        ends = [one for one in self._ended.get(ended.position, ()) if one.id != ended.id] + [ended]
        ends.sort(key=lambda one: one.last.block.number)
        self._ended[ended.position] = [one for one in ends if one is ends[-1] or one.status is EpisodeStatus.LIQUIDATED]

    def _mine(self, told: Mapping[str, Told]) -> dict[str, Told]:
        return {position: one for position, one in told.items() if position.startswith(self._prefix)}


def _is_gone(told: Told, blocks: Sequence[Block]) -> bool:
    """Whether the chain left the block at which it was told. blocks: those held that are not final, oldest first."""
    if blocks and told.block_number > blocks[-1].number:
        return True
    return any(block.number == told.block_number and block.hash != told.block_hash for block in blocks)

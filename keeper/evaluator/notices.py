"""What readers must be told: the difference between what they were told and what is true.

Because only that difference counts, a reorg is no special case. A notice whose block was orphaned before it was sent is
dropped by the store and so was never told; one that was sent stays told, and is confirmed by silence, deepened, closed
or taken back by whatever is true on the new branch.

    told            true                        say
    nothing, closed no open episode             -
    nothing, closed opened and liquidated since liquidated, each time: too late for a call, but not to say what was lost
    nothing, closed open                        opened
    open            open, no deeper             -  (under whichever id: readers keep the one they know)
    open            open, deeper                escalated
    open            liquidated, and opened anew liquidated, then opened; but nothing where the new one is what they know
    open            liquidated more than once   liquidated, each time
    open            closed since                how it closed
    open            not open                    withdrawn: it was never so on this chain
    liquidated      never was, closed since     how it closed
    liquidated      never was, and not open     withdrawn, likewise

That is for all channels; `addressed` says who hears it. What none of them wants was not told, and takes nobody's place:
an opening stays due until one wants it, at whatever depth that is. Only the end of a call that somebody heard of is
told also where nobody wants it, so that the next call is an opening again. A channel that is new hears of what is open,
by `late`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.records import NoticeEvent, Told
from keeper.core.types import Band
from keeper.evaluator.episodes import Episode, EpisodeStatus


@dataclass(frozen=True, slots=True)
class Due:
    """One notice to be sent.

    episode: the id its readers know. depth: the deepest band they have heard of, this notice included, by which a
    channel decides whether it concerns its readers. truth: the episode as it is; None for one withdrawn.
    after: what they were told last.
    """

    position: str
    event: NoticeEvent
    episode: str
    depth: Band
    truth: Episode | None
    after: Told | None

    @property
    def ends_what_was_heard(self) -> bool:
        return self.event.closes and self.after is not None and not self.after.event.closes

    @property
    def as_escalation(self) -> Due | None:
        """The same of a call that went deeper since it opened, for those who want to hear of that alone."""
        if self.event is not NoticeEvent.OPENED or self.truth is None or self.truth.opened.band >= self.depth:
            return None
        return replace(self, event=NoticeEvent.ESCALATED)

    def id_at(self, block_hash: bytes) -> str:
        """The idempotency key: the same wherever the same is said of the same block to readers who heard the same.

        What they heard is part of it because a chain may return to a branch it had left: "opened" there, "withdrawn"
        on the other branch, and "opened" again are three notices, and the last must not pass for a repeated first.
        """
        heard = "" if self.after is None else f"{self.after.event.value}@{self.after.block_hash.hex()}"
        said = "|".join((self.position, self.episode, self.event.value, self.depth.label, block_hash.hex(), heard))
        return hashlib.sha256(said.encode()).hexdigest()[:32]


def due(
    told: Told | None, episode: Episode | None, closed: Sequence[Episode] = (), *, undone: bool = False
) -> list[Due]:
    """What to say about one position, in order.

    told: the last that was, or will be, told of it. episode: its open episode. closed: those that ended since, in their
    order. undone: a liquidation was told of which the present chain knew nothing when a reorg had removed its block.
    """
    lost = [one for one in closed if _lost(one)]
    last = closed[-1] if closed else None
    if told is None or told.event.closes:
        said = [_loss(one, told) for one in lost if is_unheard_loss(told, one)]
        if not said and episode is None and undone and told is not None and not lost:
            return [_end(told, last)]
    else:
        # where readers know the very call that is open, a loss came before it
        if episode is not None and (episode.id == told.episode or not lost):
            if episode.deepest <= Band[told.band.upper()]:
                return []
            return [Due(told.position, NoticeEvent.ESCALATED, told.episode, episode.deepest, episode, told)]
        said = [_end(told, lost[0]), *(_loss(one, told) for one in lost[1:])] if lost else [_end(told, last)]
    if episode is not None:
        said.append(Due(episode.position, NoticeEvent.OPENED, episode.id, episode.deepest, episode, told))
    return said


def _end(told: Told, closed: Episode | None) -> Due:
    """Of what readers know, under the id they know it by."""
    event = NoticeEvent.WITHDRAWN if closed is None else NoticeEvent(closed.status.value)
    return Due(told.position, event, told.episode, Band[told.band.upper()], closed, told)


def _loss(closed: Episode, told: Told | None) -> Due:
    """Of a call that nobody heard of."""
    return Due(closed.position, NoticeEvent.LIQUIDATED, closed.id, closed.deepest, closed, told)


def is_unheard_loss(told: Told | None, closed: Episode) -> bool:
    """Whether an episode ended by liquidation and nothing of it was ever told. One that a reorg moved to another block
    was told: it began no later than readers heard of its end."""
    if not _lost(closed):
        return False
    return told is None or (told.event.closes and closed.opened.block.number > told.block_number)


def _lost(closed: Episode) -> bool:
    return closed.status is EpisodeStatus.LIQUIDATED


def due_all(
    told: Mapping[str, Told],
    episodes: Iterable[Episode],
    closed: Iterable[Episode],
    unknown: Collection[str] = (),
    undone: Collection[str] = (),
) -> list[Due]:
    """What to say about every position of one protocol, in the order of their ids.

    told: of this protocol only. unknown: positions that cannot be judged in this block; what they are is said later.
    undone: positions whose told liquidation a reorg removed.
    """
    opened = {episode.position: episode for episode in episodes}
    ended: dict[str, dict[str, Episode]] = {}
    for one in closed:
        ended.setdefault(one.position, {})[one.id] = one
    lost = {position for position, ones in ended.items() if any(map(_lost, ones.values()))}
    found: list[Due] = []
    for position in sorted((told.keys() | opened.keys() | lost) - set(unknown)):
        ends = sorted(ended.get(position, {}).values(), key=lambda one: one.last.block.number)
        found += due(told.get(position), opened.get(position), ends, undone=position in undone)
    return found


@dataclass(frozen=True, slots=True)
class Addressed:
    """channels: who hears it, nobody where it only ends what was heard."""

    due: Due
    channels: tuple[str, ...]


def addressed(dues: Iterable[Due], wanting: Callable[[Due], tuple[str, ...]]) -> list[Addressed]:
    """What is due, with the channels that want it, and without what none does.

    Whoever hears of a call for the first time hears it as an opening, however deep it is; but who wants no openings
    hears that it went deeper.
    """
    found: list[Addressed] = []
    for one in dues:
        channels = wanting(one)
        if channels or one.ends_what_was_heard:
            found.append(Addressed(one, channels))
        if (deeper := one.as_escalation) is not None:
            others = tuple(channel for channel in wanting(deeper) if channel not in channels)
            if others:
                found.append(Addressed(deeper, others))
    return found


def late(told: Mapping[str, Told], episodes: Iterable[Episode], positions: Collection[str]) -> list[Due]:
    """What to say about these positions, of which nothing else is due, to who was not there when it was told: what
    readers know, as it is now."""
    return [
        Due(one.position, NoticeEvent.OPENED, known.episode, Band[known.band.upper()], one, known)
        for one in sorted(episodes, key=lambda one: one.position)
        if one.position in positions and (known := told.get(one.position)) is not None and not known.event.closes
    ]

"""From a judged block to the notices it calls for, each with the record that goes with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import TypeVar

from keeper.core.records import Notice, NoticeEvent, Told
from keeper.core.types import Book
from keeper.evaluator.calls import compose
from keeper.evaluator.directory import Directory
from keeper.evaluator.episodes import Episode, withdrawn
from keeper.evaluator.judge import Judge, Ruling, Step
from keeper.evaluator.notices import Addressed, Due, addressed, due_all, late
from keeper.evaluator.situation import Earlier, Situation

M = TypeVar("M")
A = TypeVar("A")

Wanting = Callable[[Due, bytes], tuple[str, ...]]
"""The channels that want to hear this of this account."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notice to put in the outbox of these channels; record: the episode to store with it, when the notice withdraws
    one."""

    notice: Notice
    channels: tuple[str, ...]
    record: Episode | None = None


@dataclass(frozen=True, slots=True)
class Tellings:
    """What is told at once. notices: to put in the outbox. documented: the steps of the ruling they are about, as told.
    demanded: episodes that earlier blocks changed, with what is asked for now. more: whether there is more to tell."""

    notices: Sequence[Outgoing] = ()
    documented: Sequence[Step] = ()
    demanded: Sequence[Episode] = ()
    more: bool = False


def suspects(judge: Judge[M, A], told: Mapping[str, Told], ended: Collection[str] = ()) -> list[bytes]:
    """Positions whose readers believe in an open call that is not held (a reorg undid it): judge them in any case.

    told: of this protocol only. ended: positions of which it is known how their call ended, and only the telling is
    left. Raises ValueError for a position that is not this protocol's.
    """
    held = {episode.position for episode in judge.episodes.values()}
    believed = {position for position, one in told.items() if not one.event.closes}
    return [key_of(judge, position) for position in believed - held - set(ended)]


def tell(
    judge: Judge[M, A],
    book: Book[M, A],
    ruling: Ruling,
    told: Mapping[str, Told],
    wanting: Wanting,
    directory: Directory,
    ended: Iterable[Episode] = (),
    undone: Collection[str] = (),
    earlier: Callable[[bytes], Earlier | None] = lambda _: None,
    recall: Callable[[Mapping[str, Told]], Iterable[Episode]] = lambda _: (),
    latecomers: Mapping[str, frozenset[str]] = MappingProxyType({}),
    most: int | None = None,
) -> Tellings:
    """What must be told after this ruling, before or after it was accepted: everything, or the deepest `most`, which
    what is said of one position may exceed.

    told: what readers of this protocol's positions believe; the ruling must have judged `suspects(judge, told)`.
    ended: episodes that closed in earlier blocks of which nothing was told yet. undone: positions whose told
    liquidation a reorg removed. earlier: by key, what a position's health was a while ago. recall: what is on record of
    how these calls ended; asked before any is called withdrawn. latecomers: by position, channels that were not told of
    its call when it was: they hear of it now.
    """
    now = ruling.block.timestamp
    steps = {step.after.key: step for step in ruling.steps}
    present = {**judge.episodes, **{key: step.after for key, step in steps.items()}}
    opened = [episode for episode in present.values() if episode.is_open]
    closed = [*ended, *(step.after for step in ruling.steps if not step.after.is_open)]
    dues = due_all(told, opened, closed, ruling.unknown, undone)
    vanished = {due.position: told[due.position] for due in dues if due.truth is None and due.ends_what_was_heard}
    if vanished and (known := tuple(recall(vanished))):
        dues = due_all(told, opened, [*closed, *known], ruling.unknown, undone)

    def asking(due: Due) -> tuple[str, ...]:
        return wanting(due, judge.adapter.account(_key_of(judge, due)))

    def asking_late(due: Due) -> tuple[str, ...]:
        return tuple(channel for channel in asking(due) if channel in latecomers[due.position])

    found = addressed(dues, asking)
    if latecomers:
        missing = latecomers.keys() - {one.due.position for one in found} - ruling.unknown
        found += addressed(late(told, opened, missing), asking_late)
    chosen = found if most is None else _deepest(found, most)
    tellings, documented, demanded = [], dict[bytes, Step](), list[Episode]()
    for due, channels in ((one.due, one.channels) for one in chosen):
        key = _key_of(judge, due)
        account = judge.adapter.account(key)
        step = steps.get(key)
        health = judge.health(book, key, now)
        truth = due.truth
        if step is not None and judge.wants_document(step, ruling.block.ref):
            step = documented[key] = documented.get(key) or judge.document_step(book, step, ruling.block)
            if truth is not None and truth.id == step.after.id:
                truth = step.after
        if step is not None and step.told and step.dossier is not None:
            dossier = step.dossier
        else:
            dossier = judge.dossier(book, key, ruling.block, truth)
            if step is None and truth is not None and truth.is_open:
                truth = replace(truth, demands=dossier.demands, breach_prices=dossier.breach_prices)
                demanded.append(truth)
        situation = Situation(
            due=replace(due, truth=truth),
            account=account,
            protocol=judge.adapter.name,
            block=ruling.block,
            health=health,
            dossier=dossier,
            rules=judge.rules_of(book, key, now),
            directory=directory,
            earlier=earlier(key),
        )
        record = None
        if due.event is NoticeEvent.WITHDRAWN:
            record = withdrawn(told[due.position], judge.adapter.name, key, account, ruling.block)
        tellings.append(Outgoing(compose(situation), channels, record))
    return Tellings(tellings, list(documented.values()), demanded, len(chosen) < len(found))


def _deepest(found: Sequence[Addressed], most: int) -> Sequence[Addressed]:
    """The deepest until there are so many. What is said of one position is said at once, and in its order: what comes
    first would count as all there is to say."""
    if len(found) <= most:
        return found
    together = [list(group) for _, group in groupby(found, lambda one: one.due.position)]
    together.sort(key=lambda group: -max(one.due.depth for one in group))
    chosen: list[Addressed] = []
    for group in together:
        if len(chosen) >= most:
            break
        chosen += group
    return chosen


def _key_of(judge: Judge[M, A], due: Due) -> bytes:
    return due.truth.key if due.truth is not None else key_of(judge, due.position)


def key_of(judge: Judge[M, A], position: str) -> bytes:
    """The key behind "<name>:<account>[:<market>]": market id, if any, and account."""
    account, *market = position.removeprefix(judge.adapter.name + ":").split(":")
    key = b"".join(bytes.fromhex(part.removeprefix("0x")) for part in (*market, account))
    if judge.adapter.position_id(key) != position:
        raise ValueError(f"{position!r} is no position of {judge.adapter.name}")
    return key

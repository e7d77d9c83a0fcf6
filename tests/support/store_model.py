"""What a store means, in plain lists and dictionaries: the canonical history is kept and folded for every answer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from keeper.core.errors import StoreError, UnrecoverableReorg
from keeper.core.records import (
    LONGEST_WAIT_S,
    CommittedBlock,
    Delivery,
    DeliveryStatus,
    Intent,
    Messages,
    Notice,
    NoticeEvent,
    Told,
)
from keeper.core.types import Block, BlockRef

UNSEEN = (DeliveryStatus.PENDING, DeliveryStatus.HELD)
UNSETTLED = (*UNSEEN, DeliveryStatus.SENDING)


@dataclass
class ModelStore:
    history: list[CommittedBlock] = field(default_factory=list)
    lowest: int | None = None
    told_in_order: list[Delivery] = field(default_factory=list)
    journal: dict[str, Intent] = field(default_factory=dict)
    trail: list[tuple[float, str, str | None, str]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    seen: dict[str, set[bytes]] = field(default_factory=dict)

    @contextmanager
    def transaction(self) -> Iterator[ModelStore]:
        before = copy.deepcopy(self.__dict__)
        try:
            yield self
        except BaseException:
            self.__dict__.update(before)
            raise

    # --- chain facts

    def commit_block(self, committed: CommittedBlock) -> None:
        tip = self.cursor()
        if tip is not None and (committed.block.number - 1, committed.block.parent_hash) != (tip.number, tip.hash):
            raise StoreError("not the child of the cursor")
        if tip is None:
            self.lowest = committed.block.number
        self.history.append(committed)

    def advance(self, committed: CommittedBlock) -> None:
        tip = self.cursor()
        if tip is not None and committed.block.number <= tip.number:
            raise StoreError("not above the cursor")
        self.lowest = committed.block.number
        self.history.append(committed)

    def sample(self, committed: CommittedBlock) -> None:
        tip = self.cursor()
        if tip is not None and committed.block.number <= tip.number:
            raise StoreError("not above the cursor")
        if tip is None:
            self.lowest = committed.block.number
        self.history.append(committed)

    def amend(self, committed: CommittedBlock) -> None:
        if committed.block.ref != self.cursor():
            raise StoreError("not the cursor")
        said = {(fact.protocol, fact.kind, fact.key): fact for fact in (*self.history[-1].facts, *committed.facts)}
        self.history[-1] = replace(self.history[-1], facts=tuple(said.values()))

    def revert_to(self, ancestor: BlockRef) -> frozenset[tuple[str, str, bytes]]:
        if ancestor not in [block.ref for block in self.blocks()]:
            raise UnrecoverableReorg("not stored")
        orphaned = [committed for committed in self.history if committed.block.number > ancestor.number]
        self.history = [committed for committed in self.history if committed.block.number <= ancestor.number]
        self.marks = {protocol: min(mark, ancestor.number) for protocol, mark in self.marks.items()}
        seen = {
            told.notice.id
            for told in self.told_in_order
            if told.status in (DeliveryStatus.SENDING, DeliveryStatus.SENT)
        }
        self.told_in_order = [
            replace(told, status=DeliveryStatus.DROPPED, error="its block was orphaned")
            if told.status in (*UNSEEN, DeliveryStatus.UNWANTED)
            and told.notice.block_number > ancestor.number
            and told.notice.id not in seen
            else told
            for told in self.told_in_order
        ]
        dropped = {
            (told.notice.id, told.channel) for told in self.told_in_order if told.status is DeliveryStatus.DROPPED
        }
        self.told_in_order = [
            replace(told, carrier=None) if told.status in UNSEEN and (told.carrier, told.channel) in dropped else told
            for told in self.told_in_order
        ]
        return frozenset((fact.protocol, fact.kind, fact.key) for committed in orphaned for fact in committed.facts)

    def finalize(self, number: int) -> None:
        tip = self.cursor()
        if tip is not None and self.lowest is not None:
            self.lowest = max(self.lowest, min(number, tip.number))

    def cursor(self) -> BlockRef | None:
        return self.history[-1].block.ref if self.history else None

    def blocks(self) -> list[Block]:
        return [one.block for one in self.history if self.lowest is not None and one.block.number >= self.lowest]

    def fold(self) -> dict[tuple[str, str, bytes], bytes | None]:
        return {(f.protocol, f.kind, f.key): f.payload for committed in self.history for f in committed.facts}

    def facts(self, protocol: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
        for (of_protocol, of_kind, key), payload in self.fold().items():
            if (of_protocol, of_kind) == (protocol, kind) and payload is not None:
                yield key, payload

    def fact(self, protocol: str, kind: str, key: bytes) -> bytes | None:
        return self.fold().get((protocol, kind, key))

    def episodes(self, protocol: str | None = None) -> Iterator[tuple[str, bytes, bytes, int]]:
        last = {
            (fact.protocol, fact.key): (fact.payload, committed.block.number)
            for committed in self.history
            for fact in committed.facts
            if fact.kind == "episode" and fact.payload is not None
        }
        for (of_protocol, key), (payload, number) in last.items():
            if protocol in (None, of_protocol):
                yield of_protocol, key, payload, number

    # --- backfill

    def add_touches(self, protocol: str, touches: Iterable[bytes], scanned_to: int) -> None:
        self.seen.setdefault(protocol, set()).update(touches)
        self.marks[protocol] = scanned_to

    def clear_touches(self, protocol: str) -> None:
        self.seen.pop(protocol, None)

    def scanned_to(self, protocol: str) -> int | None:
        return self.marks.get(protocol)

    def touches(self, protocol: str) -> Iterator[bytes]:
        yield from self.seen.get(protocol, ())

    # --- notices

    def add_notice(self, notice: Notice, channels: Sequence[str], due_at: float) -> None:
        first = DeliveryStatus.PENDING if channels else DeliveryStatus.UNWANTED
        for channel in channels or ("",):
            index = self._find(notice.id, channel)
            if index is not None:
                if self.told_in_order[index].status is not DeliveryStatus.DROPPED:
                    continue
                del self.told_in_order[index]
            new = Delivery(notice, channel, first, due_at=due_at, created_at=due_at)
            self.told_in_order.append(new)

    def claim(self, notice_id: str, channel: str) -> bool:
        index = self._find(notice_id, channel)
        if index is None or self.told_in_order[index].status not in UNSETTLED:
            return False
        for each in (index, *self._carried(notice_id, channel)):
            self.told_in_order[each] = replace(self.told_in_order[each], status=DeliveryStatus.SENDING)
        return True

    def hold(self, notice_id: str, channel: str, until: float) -> None:
        self._change(notice_id, channel, UNSEEN, status=DeliveryStatus.HELD, due_at=until)

    def release(self, notice_id: str, channel: str) -> None:
        self._change(notice_id, channel, (DeliveryStatus.HELD,), status=DeliveryStatus.PENDING, due_at=0.0)

    def backdate(self, at: float) -> int:
        later = [i for i, told in enumerate(self.told_in_order) if told.status in UNSEEN and told.created_at > at]
        for each in later:
            old = self.told_in_order[each]
            self.told_in_order[each] = replace(old, status=DeliveryStatus.PENDING, due_at=at, created_at=at)
        return len(later)

    def drop(self, notice_id: str, channel: str, reason: str, *, at: float) -> None:
        before = self._change(notice_id, channel, UNSEEN, status=DeliveryStatus.DROPPED, error=reason)
        if before is not None:
            self.trail.append((at, notice_id, before.status.value, "dropped"))
            for each in self._carried(notice_id, channel):
                self.told_in_order[each] = replace(self.told_in_order[each], carrier=None)

    def carry(self, summary: Notice, channel: str, notice_ids: Sequence[str], *, at: float) -> None:
        self.add_notice(summary, (channel,), at)
        for notice_id in notice_ids:
            self._change(notice_id, channel, UNSEEN, status=DeliveryStatus.PENDING, carrier=summary.id)

    def take_apart(self, summary_id: str, channel: str, reason: str, *, at: float) -> None:
        for each in self._carried(summary_id, channel):
            one = self.told_in_order[each]
            self.told_in_order[each] = replace(one, status=DeliveryStatus.PENDING, attempts=0, carrier=None)
        self.settle(summary_id, channel, DeliveryStatus.DROPPED, at=at, error=reason)

    def _change(
        self, notice_id: str, channel: str, among: Sequence[DeliveryStatus], **changes: object
    ) -> Delivery | None:
        index = self._find(notice_id, channel)
        if index is None:
            return None
        old = self.told_in_order[index]
        if old.status not in among or old.carrier is not None:
            return None
        self.told_in_order[index] = replace(old, **changes)  # type: ignore[arg-type]
        return old

    def _carried(self, summary_id: str, channel: str) -> list[int]:
        return [
            index
            for index, told in enumerate(self.told_in_order)
            if (told.carrier, told.channel) == (summary_id, channel) and told.status in UNSETTLED
        ]

    def settle(
        self,
        notice_id: str,
        channel: str,
        status: DeliveryStatus,
        *,
        at: float,
        due_at: float = 0.0,
        error: str | None = None,
    ) -> None:
        index = self._find(notice_id, channel)
        if index is None:
            raise StoreError("no such delivery")
        old = self.told_in_order[index]
        sent_at = at if status is DeliveryStatus.SENT else None
        self.told_in_order[index] = replace(
            old, status=status, attempts=old.attempts + 1, due_at=due_at, sent_at=sent_at, error=error
        )
        for each in self._carried(notice_id, channel):
            one = self.told_in_order[each]
            self.told_in_order[each] = replace(
                one, status=status, attempts=one.attempts + 1, sent_at=sent_at, error=error
            )
        if status in (DeliveryStatus.SENT, DeliveryStatus.DEAD, DeliveryStatus.DROPPED):
            self.trail.append((at, notice_id, old.status.value, status.value))

    def _find(self, notice_id: str, channel: str) -> int | None:
        for index, told in enumerate(self.told_in_order):
            if (told.notice.id, told.channel) == (notice_id, channel):
                return index
        return None

    def told(self) -> Mapping[str, Told]:
        believing = (*UNSETTLED, DeliveryStatus.SENT, DeliveryStatus.UNWANTED)
        believed = [told for told in self.told_in_order if told.status in believing]
        last = {told.notice.position: told.notice for told in believed}
        return {
            position: Told(position, one.episode, one.event, one.band, one.block_number, one.block_hash)
            for position, one in last.items()
            if not one.event.closes or one.block_number >= (self.lowest or 0)
        }

    def outbox(self, now: float, limit: int = 1000, *, channel: str | None = None) -> list[Delivery]:
        return [told for told in self._next_in_line(channel, now) if _due(told, now)][:limit]

    def repetitions(self, channel: str, now: float, limit: int) -> list[Delivery]:
        return [told for told in self.told_in_order if told.channel == channel and _again(told) and _due(told, now)][
            :limit
        ]

    def next_due(self, channel: str | None = None, now: float = 0.0) -> float | None:
        later = [
            told
            for told in self.told_in_order
            if told.status is DeliveryStatus.HELD and told.due_at > now and channel in (None, told.channel)
        ]
        return min((told.due_at for told in (*self._next_in_line(channel, now), *later)), default=None)

    def _next_in_line(self, channel: str | None, now: float) -> list[Delivery]:
        line: dict[tuple[str, str], Delivery] = {}
        for told in self.told_in_order:
            aside = told.status is DeliveryStatus.HELD and told.due_at > now
            if told.status in UNSETTLED and not aside:
                line.setdefault((told.notice.position, told.channel), told)
        return [told for told in line.values() if channel in (None, told.channel) and told.carrier is None]

    def waiting(self, channel: str, position: str) -> list[Delivery]:
        return [
            told
            for told in self.told_in_order
            if (told.channel, told.notice.position) == (channel, position)
            and told.status in UNSETTLED
            and told.carrier is None
        ]

    def heard(self, channel: str, position: str) -> NoticeEvent | None:
        said = [
            told.notice.event
            for told in self.told_in_order
            if (told.channel, told.notice.position) == (channel, position)
            and told.status in (DeliveryStatus.SENDING, DeliveryStatus.SENT)
        ]
        return said[-1] if said else None

    def messages(self, channel: str, since: float, until: float) -> Messages:
        mine = [told for told in self.told_in_order if told.channel == channel and told.carrier is None]
        sent = [told.sent_at for told in mine if told.sent_at is not None and since < told.sent_at <= until]
        return Messages(len(sent), min(sent, default=None), Counter(told.attempts for told in mine if _again(told)))

    def deliveries(self, episode: str | None = None) -> list[Delivery]:
        return [told for told in self.told_in_order if told.channel and episode in (None, told.notice.episode)]

    def hearers_of(self, episode: str) -> frozenset[str]:
        return frozenset(told.channel for told in self.deliveries(episode) if told.status is not DeliveryStatus.DROPPED)

    def channels_of(self, episode: str) -> frozenset[str]:
        orphaned = (DeliveryStatus.DROPPED, "its block was orphaned")
        return frozenset(told.channel for told in self.deliveries(episode) if (told.status, told.error) != orphaned)

    # --- intents

    def put_intent(self, intent: Intent) -> None:
        old = self.journal.get(intent.id)
        if old is not None and {one.tx_hash for one in old.attempts} - {one.tx_hash for one in intent.attempts}:
            raise StoreError("an attempt would be lost")
        others = {a.tx_hash for one in self.journal.values() if one.id != intent.id for a in one.attempts}
        if others & {attempt.tx_hash for attempt in intent.attempts}:
            raise StoreError("another intent has that transaction")
        self.journal[intent.id] = intent
        if old is None or old.status is not intent.status:
            before = None if old is None else old.status.value
            self.trail.append((intent.updated_at, intent.id, before, intent.status.value))

    def intents(self, *, unsettled: bool = False) -> list[Intent]:
        found = sorted(self.journal.values(), key=lambda one: (one.created_at, one.id))
        return [intent for intent in found if not (unsettled and intent.status.settled)]

    def audited(self) -> list[tuple[float, str, str | None, str]]:
        return self.trail


def _due(told: Delivery, now: float) -> bool:
    return told.due_at <= now or (told.status is not DeliveryStatus.HELD and told.due_at > now + LONGEST_WAIT_S)


def _again(told: Delivery) -> bool:
    whole = told.status is DeliveryStatus.PENDING and told.notice.position == f"summary:{told.channel}"
    return told.carrier is None and (told.status is DeliveryStatus.SENDING or whole)

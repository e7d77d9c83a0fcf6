"""The durable memory of one daemon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from keeper.core.records import (
    AuditEntry,
    CommittedBlock,
    Delivery,
    DeliveryStatus,
    Intent,
    Lease,
    Messages,
    Notice,
    NoticeEvent,
    OldNotice,
    Told,
)
from keeper.core.types import Block, BlockRef


class Transaction(Protocol):
    """One atomic, durable unit. Everything said through it holds together or not at all."""

    def commit_block(self, committed: CommittedBlock) -> None:
        """Append the versions of a block and move the cursor to it. Its parent must be the cursor (or there is none,
        or the gap was scanned: `advance`). Raises StoreError otherwise."""
        ...

    def advance(self, committed: CommittedBlock) -> None:
        """Move the cursor over a scanned gap to a block whose parent is not stored; older headers are forgotten."""
        ...

    def sample(self, committed: CommittedBlock) -> None:
        """Append the versions of a block that was looked at by itself, and move the cursor to it, over a gap that
        nobody read. Unlike after `advance`, older headers stay, and can be reverted to. Raises StoreError when it is
        not above the cursor."""
        ...

    def amend(self, committed: CommittedBlock) -> None:
        """Replace versions of the block at the cursor by what it really holds; for repairs. Raises StoreError when the
        cursor is elsewhere."""
        ...

    def revert_to(self, ancestor: BlockRef) -> frozenset[tuple[str, str, bytes]]:
        """Delete every version above the ancestor, move the cursor to it, and drop the notices judged above that nobody
        can have seen. One that was, or may have been, told on any channel is told on all: belief is one for a position.
        Returns (protocol, kind, key) of all that changed. Raises UnrecoverableReorg when the ancestor is not stored."""
        ...

    def finalize(self, number: int) -> None:
        """Forget headers below `number` and versions superseded at or below it. The tip is always kept."""
        ...

    def add_touches(self, protocol: str, touches: Iterable[bytes], scanned_to: int) -> None:
        """Remember what a backfill saw, and how far it came, so that it can resume."""
        ...

    def clear_touches(self, protocol: str) -> None: ...

    def add_notice(self, notice: Notice, channels: Sequence[str], due_at: float) -> None:
        """Put a notice in the outbox once per channel, created and due at `due_at`. A notice id that is already there
        changes nothing. Without a channel nobody is told, and no delivery shows it; yet it is what was said last, until
        a revert removes its block."""
        ...

    def claim(self, notice_id: str, channel: str) -> bool:
        """PENDING or HELD -> SENDING, before the attempt, with all that it carries. False when a revert dropped it, or
        it was settled, since it was read from the outbox: then it must not be sent."""
        ...

    def hold(self, notice_id: str, channel: str, until: float) -> None:
        """PENDING -> HELD: due no earlier, unless something behind it lets it go. No attempt is counted."""
        ...

    def release(self, notice_id: str, channel: str) -> None:
        """HELD -> PENDING, due at once."""
        ...

    def backdate(self, at: float) -> int:
        """What nobody can have seen and was created after `at`, by a clock that was set back since, counts as created
        then: PENDING and due, so that whatever made it wait is judged again. Returns how many."""
        ...

    def drop(self, notice_id: str, channel: str, reason: str, *, at: float) -> None:
        """What nobody can have seen need not be told. Does nothing once an attempt was claimed."""
        ...

    def carry(self, summary: Notice, channel: str, notice_ids: Sequence[str], *, at: float) -> None:
        """Put a summary in the outbox of one channel in place of these deliveries, which from now on share its fate: an
        attempt, success or failure of the summary is theirs. A revert that drops it lets them go by themselves again.
        """
        ...

    def take_apart(self, summary_id: str, channel: str, reason: str, *, at: float) -> None:
        """Drop a summary that was refused; what it carries goes by itself, or in others, as if it were new."""
        ...

    def revive(self, notice_id: str, channel: str, *, at: float) -> bool:
        """DEAD -> PENDING and new, with all that it carries. False when it is not dead, or when something later of the
        same position was told there: readers would take it for the news."""
        ...

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
        """Record how an attempt ended; counts it."""
        ...

    def put_intent(self, intent: Intent) -> None:
        """Insert or replace an intent and all its attempts; appends to the audit trail when the status changed.
        Raises StoreError when an attempt that is stored would be missing: what was signed is never forgotten."""
        ...

    def audit(
        self, subject: str, event: str, evidence: Mapping[str, Any], *, at: float, before: str | None = None
    ) -> None:
        """Append one step to the audit trail. evidence: JSON-ready values, big integers as decimal strings."""
        ...

    def forget_notice(self, notice_id: str) -> bool:
        """Delete a notice, its deliveries and its audit trail; nothing of one that is not settled."""
        ...

    def forget_episode(self, protocol: str, key: bytes) -> bool:
        """Delete an episode's versions and its audit trail; nothing while a notice of it is kept. Only for one that is
        closed below the stored headers."""
        ...

    def set_meta(self, key: str, value: str) -> None: ...


class Store(Protocol):
    """The durable memory of one daemon. One writer; readers may be other processes."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...
    def cursor(self) -> BlockRef | None: ...
    def blocks(self) -> Sequence[Block]:
        """Stored headers, oldest first, contiguous but where blocks were sampled, ending at the cursor; reaching back
        to finality."""
        ...

    def facts(self, protocol: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and payload of the newest version of everything of a kind that has not closed."""
        ...

    def fact(self, protocol: str, kind: str, key: bytes, *, at: int | None = None) -> bytes | None:
        """The newest version. at: as it was at this block, which must not be below the stored headers."""
        ...

    def changed(self, protocol: str, kind: str, since: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Key, payload (None: it closed) and block number of the newest version of everything of a kind that changed in
        this block or later; for readers that follow along."""
        ...

    def fact_pages(
        self, protocol: str, kind: str, *, after: bytes = b"", size: int = 4_096
    ) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """As `facts`, keys and payloads of up to so many versions at a time, in order of keys, from behind `after` on.

        What is written while a page is looked at is in the pages behind it.
        """
        ...

    def scanned_to(self, protocol: str) -> int | None: ...
    def touches(self, protocol: str) -> Iterator[bytes]: ...

    def told(self) -> Mapping[str, Told]:
        """By position, what was last told on any channel (deliveries SENDING or SENT); PENDING ones count as well,
        since they will be told, and what was added without a channel. A closing is forgotten once its block is below
        the stored headers."""
        ...

    def outbox(self, now: float, limit: int = 1000, *, channel: str | None = None) -> Sequence[Delivery]:
        """Unsettled deliveries that are due, or put off by more than `LONGEST_WAIT_S`, oldest first; per position and
        channel only the oldest unsettled one, so that order holds. What is HELD beyond `now` stands in nobody's way,
        and what a summary carries is not here. channel: only this one's."""
        ...

    def waited_for(self) -> Iterator[str]:
        """Channels that anything unsettled waits for, by name. Costs the same however much does."""
        ...

    def repetitions(self, channel: str, now: float, limit: int) -> Sequence[Delivery]:
        """Deliveries that were sent, are not settled, and due again, and summaries that are due, whether they were seen
        or not; oldest first, without what a summary carries."""
        ...

    def next_due(self, channel: str | None = None, now: float = 0.0) -> float | None:
        """When the next delivery is due: the first of `outbox`, past or future, or one HELD beyond `now`; else None."""
        ...

    def waiting(self, channel: str, position: str) -> Sequence[Delivery]:
        """Everything unsettled of a position on a channel, oldest first, but for what a summary carries."""
        ...

    def heard(self, channel: str, position: str) -> NoticeEvent | None:
        """What was last sent, or may have been, of a position on a channel."""
        ...

    def delivery(self, notice_id: str, channel: str) -> Delivery | None: ...

    def hearers_of(self, episode: str) -> frozenset[str]:
        """Channels to which any notice of this episode was, may have been, or will be delivered, or was in vain."""
        ...

    def channels_of(self, episode: str) -> frozenset[str]:
        """Channels for which any notice of this episode was put in the outbox, and not dropped by a revert."""
        ...

    def messages(self, channel: str, since: float, until: float) -> Messages:
        """What a channel was sent after `since` and not after `until`, and what is in the air, as a summary is that
        waits for another attempt. A summary is one message."""
        ...

    def old_notices(self, after: int, before: float, limit: int) -> Sequence[OldNotice]:
        """By the deliveries created before this moment, in their order, from the one after `after` on."""
        ...

    def refused(self, channel: str) -> tuple[int, str | None]:
        """How many deliveries a channel was given up on since it last took one, and the error of one of them."""
        ...

    def deliveries(self, episode: str | None = None) -> Sequence[Delivery]: ...
    def intents(self, *, unsettled: bool = False) -> Sequence[Intent]: ...
    def each_intent(self) -> Iterator[Intent]:
        """Every intent in the order of their ids, a few in memory at a time: there may be years of them."""
        ...

    def intent(self, intent_id: str) -> Intent | None: ...
    def episodes(
        self, protocol: str | None = None, *, since: int | None = None
    ) -> Iterator[tuple[str, bytes, bytes, int]]:
        """Protocol, key, payload and block number of the newest version of every episode, closed ones included.
        since: only those that changed in this block or later."""
        ...

    def audit(self, subject: str | None = None) -> Iterator[AuditEntry]:
        """The audit trail, oldest first."""
        ...

    def audit_after(self, seq: int, limit: int) -> Sequence[tuple[int, AuditEntry]]:
        """Entries behind this one, oldest first, each with its number."""
        ...

    def record_mark(self) -> tuple[int, ...]:
        """Numbers that differ once anything was added to the audit trail or the outbox, or an unsettled delivery was
        tried. Cheap; for readers that ask whether there is news."""
        ...

    def meta(self, key: str) -> str | None: ...
    def lease(self) -> Lease | None:
        """Who writes it, or wrote it last; None before anybody did."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads inside see one moment, whatever a daemon in another process commits meanwhile."""
        ...

    def close(self) -> None: ...

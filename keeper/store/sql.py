"""The store on a relational database, contract `keeper.core.ports.Store`. What it writes is in `transaction`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from operator import itemgetter

from keeper.core.records import (
    LONGEST_WAIT_S,
    Attempt,
    AuditEntry,
    Delivery,
    Intent,
    Lease,
    Messages,
    NoticeEvent,
    OldNotice,
    Told,
    summaries_of,
)
from keeper.core.types import Block, BlockRef
from keeper.store import lease
from keeper.store.beliefs import Beliefs
from keeper.store.database import Database
from keeper.store.encoding import to_attempt, to_audit, to_block, to_delivery, to_intent
from keeper.store.engine import Row
from keeper.store.statements import chain, journal, outbox, parts
from keeper.store.transaction import SqlTransaction


class SqlStore:
    """One connection, synchronous: a commit costs about one sync of the disk, less than handing it to a thread would.

    Reads inside an open transaction see what it has written so far. Not for use from several threads.
    """

    def __init__(self, database: Database, *, read_only: bool) -> None:
        self._db = database
        self._beliefs = Beliefs(database)
        self._read_only = read_only
        self._lease: Lease | None = None
        self._term = ""

    @property
    def database(self) -> Database:
        """For what is done to a store as a whole."""
        return self._db

    def take_lease(self) -> Lease:
        """Begin a term: from here on every transaction looks whether it still is ours, and raises StoreInUse if not."""
        with self._db.transaction():
            self._lease = lease.take(self._db, SqlTransaction(self._db, self._beliefs))
        self._term = lease.stored(self._lease)
        return self._lease

    def lease(self) -> Lease | None:
        """Who writes this store, or wrote it last."""
        return self._lease or lease.held(self._db)

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        try:
            with self._db.transaction():
                if self._term:
                    lease.check(self._db, self._term)
                yield SqlTransaction(self._db, self._beliefs)
        except BaseException:
            self._beliefs.forget()
            raise

    def snapshot(self) -> AbstractContextManager[None]:
        return self._db.snapshot()

    # --- chain facts

    def cursor(self) -> BlockRef | None:
        row = self._db.row(chain.CURSOR)
        return None if row is None else BlockRef(*row)

    def blocks(self) -> Sequence[Block]:
        return [to_block(row) for row in self._db.rows(chain.ALL_BLOCKS)]

    def facts(self, protocol: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
        for key, _number, payload in _newest(self._versions(protocol, kind)):
            if payload is not None:
                yield key, payload

    def fact_pages(
        self, protocol: str, kind: str, *, after: bytes = b"", size: int = parts.CACHED
    ) -> Iterator[tuple[list[bytes], list[bytes]]]:
        held: dict[bytes, bytes | None] = {}  # the last of a page may have newer versions on the next one
        from_key, from_block = after, parts.NO_BLOCK if after else -1
        while rows := self._db.rows(chain.FACTS_PAGE, protocol, kind, from_key, from_block, size):
            from_key, from_block, payload = rows[-1]
            newest = {**held, **{key: version for key, _, version in rows}}
            held = {from_key: payload}
            del newest[from_key]
            yield _open(newest)
        yield _open(held)

    def fact(self, protocol: str, kind: str, key: bytes, *, at: int | None = None) -> bytes | None:
        if at is None:
            row = self._db.row(chain.LATEST_FACT, protocol, kind, key)
        else:
            row = self._db.row(chain.FACT_AT, protocol, kind, key, at)
        return None if row is None else row[0]

    def episodes(
        self, protocol: str | None = None, *, since: int | None = None
    ) -> Iterator[tuple[str, bytes, bytes, int]]:
        if protocol is not None and since is not None:
            for key, number, payload in _newest(iter(self._db.rows(chain.EPISODES_SINCE, protocol, since))):
                yield protocol, key, payload, number
            return
        if protocol is not None:
            said = (version for version in self._versions(protocol, "episode") if version[2] is not None)
            for key, number, payload in _newest(said):
                yield protocol, key, payload, number
            return
        for (name,) in self._db.rows(chain.PROTOCOLS_OF_KIND, "episode"):
            yield from self.episodes(name, since=since)

    def changed(self, protocol: str, kind: str, since: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        for key, number, payload in _newest(iter(self._db.rows(chain.CHANGED_SINCE, since, protocol, kind))):
            yield key, payload, number

    def _versions(self, protocol: str, kind: str) -> Iterator[Row]:
        """Key, block number and payload of every version, by key, oldest first; a page in memory at a time."""
        page: Sequence[Row] = [(b"", -1, None)]
        while page:
            after_key, after_block, _ = page[-1]
            page = self._db.rows(chain.FACTS_PAGE, protocol, kind, after_key, after_block, parts.FEW)
            yield from page

    # --- backfill

    def scanned_to(self, protocol: str) -> int | None:
        row = self._db.row(chain.GET_SCAN, protocol)
        return None if row is None else row[0]

    def touches(self, protocol: str) -> Iterator[bytes]:
        page: Sequence[Row] = [(b"",)]
        while page:
            page = self._db.rows(chain.TOUCHES_PAGE, protocol, page[-1][0])
            yield from map(itemgetter(0), page)

    # --- notices

    def told(self) -> Mapping[str, Told]:
        if self._read_only:
            self._beliefs.forget()  # the daemon in another process may have told more since
        return self._beliefs.read()

    def outbox(self, now: float, limit: int = 1000, *, channel: str | None = None) -> Sequence[Delivery]:
        if channel is None:
            return [to_delivery(row) for row in self._db.rows(outbox.OUTBOX, now, now, now + LONGEST_WAIT_S, limit)]
        return [
            to_delivery(row) for row in self._db.rows(outbox.OUTBOX_OF, channel, now, now + LONGEST_WAIT_S, now, limit)
        ]

    def waited_for(self) -> Iterator[str]:
        channel = outbox.NO_CHANNEL
        while (row := self._db.row(outbox.NEXT_CHANNEL, *(channel,) * 3)) is not None and row[0] is not None:
            channel = row[0]
            yield channel

    def repetitions(self, channel: str, now: float, limit: int) -> Sequence[Delivery]:
        values = (channel, summaries_of(channel), now, now + LONGEST_WAIT_S, limit)
        return [to_delivery(row) for row in self._db.rows(outbox.OUTBOX_AGAIN, *values)]

    def next_due(self, channel: str | None = None, now: float = 0.0) -> float | None:
        if channel is None:
            rows = (self._db.row(outbox.NEXT_DUE, now), self._db.row(outbox.NEXT_HELD, now))
        else:
            rows = (
                self._db.row(outbox.NEXT_DUE_OF, channel, now, now),
                self._db.row(outbox.NEXT_HELD_OF, now, channel),
            )
        return min((row[0] for row in rows if row is not None and row[0] is not None), default=None)

    def waiting(self, channel: str, position: str) -> Sequence[Delivery]:
        return [to_delivery(row) for row in self._db.rows(outbox.WAITING, position, channel)]

    def heard(self, channel: str, position: str) -> NoticeEvent | None:
        row = self._db.row(outbox.HEARD, position, channel)
        return None if row is None else NoticeEvent(row[0])

    def hearers_of(self, episode: str) -> frozenset[str]:
        return frozenset(channel for (channel,) in self._db.rows(outbox.EPISODE_HEARERS, episode))

    def channels_of(self, episode: str) -> frozenset[str]:
        return frozenset(channel for (channel,) in self._db.rows(outbox.EPISODE_CHANNELS, episode))

    def delivery(self, notice_id: str, channel: str) -> Delivery | None:
        row = self._db.row(outbox.DELIVERY, notice_id, channel)
        return None if row is None else to_delivery(row)

    def messages(self, channel: str, since: float, until: float) -> Messages:
        sent, oldest = self._db.row(outbox.MESSAGES_SINCE, channel, since, until) or (0, None)
        in_the_air = self._db.rows(outbox.MESSAGES_IN_THE_AIR, channel, summaries_of(channel))
        return Messages(sent, oldest, dict(in_the_air))

    def deliveries(self, episode: str | None = None) -> Sequence[Delivery]:
        if episode is None:
            return [to_delivery(row) for row in self._db.rows(outbox.ALL_DELIVERIES)]
        return [to_delivery(row) for row in self._db.rows(outbox.EPISODE_DELIVERIES, episode)]

    def old_notices(self, after: int, before: float, limit: int) -> Sequence[OldNotice]:
        rows = self._db.rows(outbox.OLD_NOTICES, after, before, limit)
        unsettled = {notice_id for (notice_id,) in self._db.rows(outbox.UNSETTLED_NOTICES)} if rows else set()
        return [OldNotice(seq, name, position, episode, name not in unsettled) for seq, name, position, episode in rows]

    def refused(self, channel: str) -> tuple[int, str | None]:
        count, error = self._db.row(outbox.DEAD_SINCE_SENT, channel, channel) or (0, None)
        return count, error

    # --- intents

    def intents(self, *, unsettled: bool = False) -> Sequence[Intent]:
        signed: dict[str, list[Attempt]] = {}
        for row in self._db.rows(journal.OPEN_ATTEMPTS if unsettled else journal.ALL_ATTEMPTS):
            attempt = to_attempt(row)
            signed.setdefault(attempt.intent_id, []).append(attempt)
        rows = self._db.rows(journal.OPEN_INTENTS if unsettled else journal.ALL_INTENTS)
        return [to_intent(row, tuple(signed.get(row[0], ()))) for row in rows]

    def each_intent(self) -> Iterator[Intent]:
        page: Sequence[Row] = [("",)]
        while page:
            page = self._db.rows(journal.INTENTS_PAGE, page[-1][0])
            signed: dict[str, list[Attempt]] = {}
            for row in self._db.rows(journal.ATTEMPTS_BETWEEN, page[0][0], page[-1][0]) if page else ():
                attempt = to_attempt(row)
                signed.setdefault(attempt.intent_id, []).append(attempt)
            for row in page:
                yield to_intent(row, tuple(signed.get(row[0], ())))

    def intent(self, intent_id: str) -> Intent | None:
        row = self._db.row(journal.INTENT, intent_id)
        if row is None:
            return None
        return to_intent(row, tuple(to_attempt(signed) for signed in self._db.rows(journal.ATTEMPTS, intent_id)))

    # --- audit and metadata

    def audit(self, subject: str | None = None) -> Iterator[AuditEntry]:
        if subject is not None:
            yield from (to_audit(row) for row in self._db.rows(journal.AUDIT_OF_SUBJECT, subject))
            return
        page: Sequence[Row] = [(-1,)]
        while page:
            page = self._db.rows(journal.AUDIT_PAGE, page[-1][0])
            yield from (to_audit(row) for row in page)

    def audit_after(self, seq: int, limit: int) -> Sequence[tuple[int, AuditEntry]]:
        return [(row[0], to_audit(row)) for row in self._db.rows(journal.AUDIT_AFTER, seq, limit)]

    def record_mark(self) -> tuple[int, ...]:
        rows = (
            self._db.row(statement)
            for statement in (journal.LAST_AUDIT, outbox.LAST_DELIVERY, outbox.UNSETTLED_ATTEMPTS)
        )
        return tuple(int(value or 0) for row in rows for value in row or ())

    def meta(self, key: str) -> str | None:
        row = self._db.row(chain.GET_META, key)
        return None if row is None else row[0]

    def holds_chain(self) -> bool:
        """Whether anything in it is of one chain: read of it, sent to it, or told of its positions."""
        row = self._db.row(chain.HOLDS_CHAIN)
        return row is not None and bool(row[0])

    def close(self) -> None:
        self._db.close()


def _open(newest: Mapping[bytes, bytes | None]) -> tuple[list[bytes], list[bytes]]:
    """Keys and payloads of what has not closed."""
    payloads = [payload for payload in newest.values() if payload is not None]
    if len(payloads) == len(newest):
        return list(newest), payloads
    return [key for key, payload in newest.items() if payload is not None], payloads


def _newest(versions: Iterator[Row]) -> Iterator[Row]:
    """Of rows that share their first column and come in rising order, the last."""
    held: Row | None = None
    for version in versions:
        if held is not None and held[0] != version[0]:
            yield held
        held = version
    if held is not None:
        yield held

"""Everything that is written: one atomic, durable unit at a time. The contract is `keeper.core.ports.Transaction`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from keeper.core.errors import StoreError, UnrecoverableReorg
from keeper.core.records import AuditEntry, CommittedBlock, DeliveryStatus, Intent, Notice
from keeper.core.types import BlockRef
from keeper.store.beliefs import Beliefs
from keeper.store.database import Database
from keeper.store.encoding import attempt_row, audit_row, block_row, intent_row, notice_row, plain
from keeper.store.statements import chain, journal, outbox


class SqlTransaction:
    """Usable until its `with` block ends."""

    def __init__(self, database: Database, beliefs: Beliefs) -> None:
        self._db = database
        self._beliefs = beliefs

    # --- chain facts

    def commit_block(self, committed: CommittedBlock) -> None:
        block = committed.block
        cursor = self._db.row(chain.CURSOR)
        if cursor is None:
            self._start_at(committed)
            return
        number, block_hash = cursor
        if (block.number - 1, block.parent_hash) != (number, block_hash):
            raise StoreError(
                f"{_name(block.ref)} does not follow the cursor {_name(BlockRef(number, block_hash))} "
                f"(its parent is 0x{block.parent_hash.hex()}): revert to the common ancestor, or scan the gap, first"
            )
        self._append(committed)

    def advance(self, committed: CommittedBlock) -> None:
        cursor = self._db.row(chain.CURSOR)
        if cursor is not None and committed.block.number <= cursor[0]:
            raise StoreError(
                f"cannot advance to {_name(committed.block.ref)}: the cursor is already at block {cursor[0]}"
            )
        self._start_at(committed)

    def sample(self, committed: CommittedBlock) -> None:
        cursor = self._db.row(chain.CURSOR)
        if cursor is None:
            self._start_at(committed)
            return
        if committed.block.number <= cursor[0]:
            raise StoreError(f"cannot sample {_name(committed.block.ref)}: the cursor is already at block {cursor[0]}")
        self._append(committed)

    def amend(self, committed: CommittedBlock) -> None:
        ref, cursor = committed.block.ref, self._db.row(chain.CURSOR)
        if cursor != (ref.number, ref.hash):
            raise StoreError(f"cannot amend {_name(ref)}: the cursor is elsewhere; read the block at the cursor again")
        for fact in committed.facts:
            self._db.write(chain.DELETE_FACT_AT, fact.protocol, fact.kind, fact.key, ref.number)
        self._put_facts(committed)

    def revert_to(self, ancestor: BlockRef) -> frozenset[tuple[str, str, bytes]]:
        """See the port. A backfill's mark is pulled back too: what it saw above the ancestor is not all there is."""
        number = ancestor.number
        if self._db.row(chain.BLOCK_HASH, number) != (ancestor.hash,):
            raise UnrecoverableReorg(
                f"{_name(ancestor)} is not among the stored headers ({self._headers()}), so the reorg reaches below "
                "finality: check that the node follows the right chain; if so, `keeper repair` indexes anew"
            )
        changed = frozenset((protocol, kind, key) for protocol, kind, key in self._db.rows(chain.FACTS_ABOVE, number))
        self._db.write(chain.DELETE_FACTS_ABOVE, number)
        self._db.write(chain.DELETE_BLOCKS_ABOVE, number)
        self._db.write(chain.PULL_BACK_SCANS, number, number)
        self._beliefs.changed(position for (position,) in self._db.rows(outbox.ORPHANED_POSITIONS, number))
        self._db.write(outbox.DROP_ORPHANED, number)
        self._db.write(outbox.UNCARRY)
        return changed

    def finalize(self, number: int) -> None:
        lowest, tip = self._db.row(chain.HEADER_RANGE) or (None, None)
        if lowest is None or tip is None or number <= lowest:
            return
        self._prune(lowest, min(number, tip))

    def _start_at(self, committed: CommittedBlock) -> None:
        """The first of the stored headers: nothing below it can be reverted to, so what it supersedes is history."""
        (lowest, _tip) = self._db.row(chain.HEADER_RANGE) or (None, None)
        if lowest is None:  # nothing is older, and what closed before we looked was never here
            self._append(replace(committed, facts=tuple(fact for fact in committed.facts if fact.payload is not None)))
            self._beliefs.finalized(committed.block.number)
            return
        self._append(committed)
        self._prune(lowest, committed.block.number)

    def _append(self, committed: CommittedBlock) -> None:
        self._db.write(chain.INSERT_BLOCK, *block_row(committed.block))
        self._put_facts(committed)

    def _put_facts(self, committed: CommittedBlock) -> None:
        number = committed.block.number
        rows = [(fact.protocol, fact.kind, fact.key, number, fact.payload) for fact in committed.facts]
        rows.sort(key=itemgetter(0, 1, 2))  # a snapshot of a million fills its index from left to right
        if rows:
            self._db.write_many(chain.INSERT_FACT, rows)

    def _prune(self, after: int, number: int) -> None:
        """Make `number` the lowest header. Everything up to `after` has been pruned before."""
        self._db.write(chain.DELETE_SUPERSEDED, after, number)
        self._db.write(chain.DELETE_CLOSED, after, number)
        self._db.write(chain.DELETE_BLOCKS_BELOW, number)
        self._beliefs.finalized(number)

    def _headers(self) -> str:
        lowest, tip = self._db.row(chain.HEADER_RANGE) or (None, None)
        return "none" if lowest is None else f"{lowest} to {tip}"

    # --- backfill

    def add_touches(self, protocol: str, touches: Iterable[bytes], scanned_to: int) -> None:
        by_size: dict[int, list[bytes]] = {}
        for key in sorted(touches):
            by_size.setdefault(len(key), []).append(key)
        for size, keys in by_size.items():
            self._db.write(chain.INSERT_TOUCHES, len(keys), protocol, b"".join(keys), size, size)
        if not self._db.write(chain.UPDATE_SCAN, scanned_to, protocol):
            self._db.write(chain.INSERT_SCAN, protocol, scanned_to)

    def clear_touches(self, protocol: str) -> None:
        self._db.write(chain.DELETE_TOUCHES, protocol)

    # --- notices

    def add_notice(self, notice: Notice, channels: Sequence[str], due_at: float) -> None:
        """See the port. What a revert dropped is told after all when its block came back: nobody had heard of it."""
        if self._db.row(outbox.HAS_NOTICE, notice.id) is None:
            self._db.write(outbox.INSERT_NOTICE, *notice_row(notice))
        first = DeliveryStatus.PENDING if channels else DeliveryStatus.UNWANTED
        for channel in channels or (outbox.NO_CHANNEL,):
            found = self._db.row(outbox.DELIVERY_STATUS, notice.id, channel)
            if found is not None:
                if found[0] != DeliveryStatus.DROPPED:
                    continue
                self._db.write(outbox.DELETE_DELIVERY, notice.id, channel)
            self._db.write(
                outbox.INSERT_DELIVERY,
                notice.id,
                channel,
                notice.position,
                first.value,
                0,
                due_at,
                None,
                None,
                due_at,
                None,
            )
        self._beliefs.changed((notice.position,))

    def claim(self, notice_id: str, channel: str) -> bool:
        claimed = self._db.write(outbox.CLAIM, notice_id, channel) > 0
        if claimed:
            self._db.write(outbox.CLAIM_CARRIED, notice_id, channel)
        return claimed

    def hold(self, notice_id: str, channel: str, until: float) -> None:
        self._db.write(outbox.HOLD, until, notice_id, channel)

    def release(self, notice_id: str, channel: str) -> None:
        self._db.write(outbox.RELEASE, notice_id, channel)

    def backdate(self, at: float) -> int:
        return self._db.write(outbox.BACKDATE, at, at, at)

    def drop(self, notice_id: str, channel: str, reason: str, *, at: float) -> None:
        found = self._db.row(outbox.DELIVERY_STATUS, notice_id, channel)
        if found is None or not self._db.write(outbox.DROP, reason, notice_id, channel):
            return
        before, position = found
        evidence = {"channel": channel, "error": reason}
        self.audit(notice_id, DeliveryStatus.DROPPED.value, evidence, at=at, before=before)
        if self._carried(notice_id, channel):
            self._db.write(outbox.UNCARRY)
        self._beliefs.changed((position,))

    def carry(self, summary: Notice, channel: str, notice_ids: Sequence[str], *, at: float) -> None:
        """See the port. Raises StoreError when one of them cannot be carried: it was claimed, settled or is carried."""
        self.add_notice(summary, (channel,), at)
        for notice_id in notice_ids:
            if not self._db.write(outbox.CARRY, summary.id, notice_id, channel):
                raise StoreError(f"notice {notice_id} does not wait on channel {channel}: read the outbox again")

    def take_apart(self, summary_id: str, channel: str, reason: str, *, at: float) -> None:
        self._db.write(outbox.LET_GO, summary_id, channel)
        self.settle(summary_id, channel, DeliveryStatus.DROPPED, at=at, error=reason)

    def revive(self, notice_id: str, channel: str, *, at: float) -> bool:
        found = self._db.row(outbox.DELIVERY_STATUS, notice_id, channel)
        if found is None or self._db.row(outbox.SUPERSEDED, notice_id, channel) is not None:
            return False
        if not self._db.write(outbox.REVIVE, at, at, notice_id, channel):
            return False
        self._db.write(outbox.REVIVE_CARRIED, at, at, notice_id, channel)
        self.audit(notice_id, "revived", {"channel": channel}, at=at, before=found[0])
        self._beliefs.changed((found[1], *self._carried(notice_id, channel)))
        return True

    def _carried(self, summary_id: str, channel: str) -> Sequence[str]:
        return [position for (position,) in self._db.rows(outbox.CARRIED_POSITIONS, summary_id, channel)]

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
        found = self._db.row(outbox.DELIVERY_STATUS, notice_id, channel)
        if found is None:
            raise StoreError(f"no delivery of notice {notice_id} on channel {channel} to settle: add the notice first")
        before, position = found
        sent_at = at if status is DeliveryStatus.SENT else None
        self._db.write(outbox.SETTLE, status.value, due_at, sent_at, plain(error), notice_id, channel)
        self._db.write(outbox.SETTLE_CARRIED, status.value, sent_at, plain(error), notice_id, channel)
        if status in (DeliveryStatus.SENT, DeliveryStatus.DEAD, DeliveryStatus.DROPPED):
            self.audit(notice_id, status.value, {"channel": channel, "error": plain(error)}, at=at, before=before)
        self._beliefs.changed((position, *self._carried(notice_id, channel)))

    def forget_notice(self, notice_id: str) -> bool:
        found = self._db.row(outbox.NOTICE_POSITION, notice_id)
        if found is None or self._db.row(outbox.IS_UNSETTLED, notice_id) is not None:
            return False
        self._db.write(outbox.DELETE_DELIVERIES, notice_id)
        self._db.write(outbox.DELETE_NOTICE, notice_id)
        self._db.write(journal.DELETE_AUDIT, notice_id)
        self._beliefs.changed(found)
        return True

    def forget_episode(self, protocol: str, key: bytes) -> bool:
        name = key.decode()
        if self._db.row(outbox.HAS_NOTICES_OF, name) is not None:
            return False
        self._db.write(journal.DELETE_AUDIT, name)
        return self._db.write(chain.DELETE_EPISODE, protocol, key) > 0

    # --- intents

    def put_intent(self, intent: Intent) -> None:
        found = self._db.row(journal.INTENT_STATUS, intent.id)
        row = intent_row(intent)
        if found is None:
            self._db.write(journal.INSERT_INTENT, *row)
            stored: set[bytes] = set()
        else:
            self._db.write(journal.REPLACE_INTENT, *row, intent.id)
            stored = {tx_hash for (tx_hash,) in self._db.rows(journal.ATTEMPT_HASHES, intent.id)}
        self._put_attempts(intent, stored)
        before = None if found is None else found[0]
        if before != intent.status:
            self._db.write(journal.INSERT_AUDIT, *audit_row(_step(intent, before)))

    def _put_attempts(self, intent: Intent, stored: set[bytes]) -> None:
        lost = stored - {attempt.tx_hash for attempt in intent.attempts}
        if lost:
            raise StoreError(
                f"intent {intent.id} would lose its attempt 0x{min(lost).hex()}: "
                "pass every attempt that was ever signed, whatever became of it"
            )
        for ordinal, attempt in enumerate(intent.attempts):
            row = attempt_row(attempt, ordinal)
            if attempt.tx_hash in stored:
                self._db.write(journal.REPLACE_ATTEMPT, *row, attempt.tx_hash)
            else:
                self._db.write(journal.INSERT_ATTEMPT, *row)

    # --- audit and metadata

    def audit(
        self, subject: str, event: str, evidence: Mapping[str, Any], *, at: float, before: str | None = None
    ) -> None:
        self._db.write(journal.INSERT_AUDIT, *audit_row(AuditEntry(at, subject, before, event, evidence)))

    def set_meta(self, key: str, value: str) -> None:
        if not self._db.write(chain.UPDATE_META, value, key):
            self._db.write(chain.INSERT_META, key, value)


def _name(ref: BlockRef) -> str:
    return f"block {ref.number} (0x{ref.hash.hex()})"


def _step(intent: Intent, before: str | None) -> AuditEntry:
    """An intent's change of status with what it rests on: the block it was judged at, or the one that mined it."""
    evidence: dict[str, Any] = {
        "position": intent.position,
        "judged_number": intent.judged_number,
        "judged_hash": f"0x{intent.judged_hash.hex()}",
    }
    if intent.tx_hash is not None:
        evidence["tx_hash"] = f"0x{intent.tx_hash.hex()}"
    if intent.included_hash is not None:
        evidence["included_number"] = intent.included_number
        evidence["included_hash"] = f"0x{intent.included_hash.hex()}"
    if intent.reason is not None:
        evidence["reason"] = intent.reason
    return AuditEntry(intent.updated_at, intent.id, before, intent.status.value, evidence)

"""How every store keeps intents, the audit trail and metadata; that a transaction is all or nothing; readers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.core.errors import StoreError
from keeper.core.records import AuditEntry, DeliveryStatus, IntentStatus
from keeper.store.statements.parts import FEW
from tests.contract.conftest import Opener
from tests.support.store_work import (
    KEYS,
    attempt,
    block,
    commit,
    committed,
    due,
    intent,
    notice,
    position,
    revert,
    settle,
    tell,
)

FIRST, SECOND, THIRD = KEYS


# --- intents ----------------------------------------------------------------------------------------------------------


def test_an_intent_comes_back_as_it_was(store):
    """Amounts beyond 64 bits, absent fields and the order of attempts survive."""
    journalled = replace(
        intent("i", attempts=3), repaid_assets=2**255, profit_realized=-(2**80), gas_cost_wei=0, reason="ü\nx"
    )
    with store.transaction() as transaction:
        transaction.put_intent(journalled)
    assert store.intent("i") == journalled
    assert list(store.intents()) == [journalled]
    assert store.intent("other") is None


def test_an_intent_is_replaced_with_all_its_attempts(store):
    """The newest state of the intent and of each attempt, with the attempts that were added."""
    first = intent("i")
    second = replace(
        intent("i", IntentStatus.BROADCAST, attempts=2, updated_at=102.0),
        attempts=(replace(attempt("i", 0), status="replaced", broadcast_at=101.5), attempt("i", 1)),
    )
    with store.transaction() as transaction:
        transaction.put_intent(first)
        transaction.put_intent(second)
    assert store.intent("i") == second


def test_a_signed_attempt_is_never_forgotten(store):
    """An intent that lacks a stored attempt is refused: its transaction may be in a mempool."""
    with store.transaction() as transaction:
        transaction.put_intent(intent("i", attempts=2))
    with pytest.raises(StoreError, match="would lose its attempt"), store.transaction() as transaction:
        transaction.put_intent(intent("i", IntentStatus.ABANDONED, attempts=1))
    assert store.intent("i") == intent("i", attempts=2)


def test_unsettled_intents_are_what_a_start_takes_over(store):
    """Confirmed, failed and abandoned are settled; reorged is not."""
    with store.transaction() as transaction:
        for number, status in enumerate(IntentStatus):
            transaction.put_intent(intent(str(number), status, created_at=float(-number)))
    unsettled = [one.status for one in store.intents(unsettled=True)]
    assert unsettled == [
        IntentStatus.REORGED,
        IntentStatus.INCLUDED,
        IntentStatus.BROADCAST,
        IntentStatus.PLANNED,
    ]
    assert len(store.intents()) == len(IntentStatus)


def test_intents_are_read_a_few_at_a_time_however_many_there_are(store):
    """In the order of their ids, each with its own attempts, also where one page ends and the next begins."""
    journalled = [intent(f"i{number:04}", attempts=1 + number % 2) for number in range(FEW * 2 + 1)]
    with store.transaction() as transaction:
        for one in reversed(journalled):
            transaction.put_intent(one)
    assert list(store.each_intent()) == journalled


def test_every_change_of_status_is_audited_once(store):
    """With the block it was judged at and the transaction; a rewrite without change of status adds nothing."""
    with store.transaction() as transaction:
        transaction.put_intent(intent("i"))
        transaction.put_intent(intent("i", updated_at=102.0))
        transaction.put_intent(intent("i", IntentStatus.ABANDONED, updated_at=103.0, reason="too late"))
    first, second = store.audit("i")
    assert (first.at, first.before, first.event) == (101.25, None, "planned")
    assert (second.at, second.before, second.event) == (103.0, "planned", "abandoned")
    assert first.evidence["judged_number"] == 7
    assert second.evidence["reason"] == "too late"


def test_intents_and_notices_are_not_reverted(store):
    """They happened in the world, whatever the chain says."""
    commit(store, committed(1), committed(2))
    with store.transaction() as transaction:
        transaction.put_intent(intent("i", IntentStatus.INCLUDED, included_number=2))
    revert(store, 1)
    assert store.intent("i").status is IntentStatus.INCLUDED


# --- audit, metadata, transactions ------------------------------------------------------------------------------------


def test_the_audit_trail_is_in_order(store):
    """Free entries and those of deliveries and intents, oldest first."""
    tell(store, notice("n", 1))
    settle(store, "n", DeliveryStatus.SENT, at=8.0)
    with store.transaction() as transaction:
        transaction.audit("daemon", "repaired", {"position": "aave:0x01", "chain": str(2**70)}, at=9.0)
    assert list(store.audit()) == [
        AuditEntry(8.0, "n", "sending", "sent", {"channel": "hook", "error": None}),
        AuditEntry(9.0, "daemon", None, "repaired", {"position": "aave:0x01", "chain": str(2**70)}),
    ]
    assert [entry.event for entry in store.audit("daemon")] == ["repaired"]


def test_metadata_is_the_last_said(store):
    """One value by key."""
    assert store.meta("greeting") is None
    with store.transaction() as transaction:
        transaction.set_meta("greeting", "one")
        transaction.set_meta("greeting", "two")
    assert store.meta("greeting") == "two"


def test_a_transaction_that_raises_leaves_nothing(store):
    """All or nothing, the cursor included."""
    commit(store, committed(1, position(FIRST, b"one")))
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
        transaction.commit_block(committed(2, position(FIRST, b"two")))
        transaction.put_intent(intent("i"))
        1 / 0  # noqa: B018 - the failure in the middle
    assert store.cursor() == block(1).ref
    assert store.fact("aave", "position", FIRST) == b"one"
    assert list(store.intents()) == []
    commit(store, committed(2))


def test_nothing_is_written_outside_a_transaction(store):
    """A transaction that ended, however it ended, takes nothing more."""
    with store.transaction() as transaction:
        transaction.commit_block(committed(1))
    with pytest.raises(StoreError, match="outside a transaction"):
        transaction.commit_block(committed(2))


def test_transactions_do_not_nest(store):
    """The inner one is refused and the outer one undone."""
    with pytest.raises(StoreError, match="already open"), store.transaction() as outer:
        outer.commit_block(committed(1))
        with store.transaction():
            pass
    assert store.cursor() is None


def test_a_fact_said_twice_in_one_block_is_refused(store):
    """Two versions of one thing at one block cannot both be true."""
    with pytest.raises(StoreError, match="nothing of this transaction was kept"):
        commit(store, committed(1, position(FIRST, b"a"), position(FIRST, b"b")))
    assert store.cursor() is None


def test_everything_is_there_after_closing(store, database: Opener):
    """What was committed outlives the process."""
    commit(store, committed(1, position(FIRST, b"one")))
    tell(store, notice("n", 1))
    store.close()
    again = database()
    assert again.cursor() == block(1).ref
    assert due(again) == [("n", "hook")]
    assert again.fact("aave", "position", FIRST) == b"one"
    again.close()


# --- readers ----------------------------------------------------------------------------------------------------------


def test_a_reader_beside_the_daemon_sees_what_is_committed(store, database: Opener):
    """`keeper health` while the daemon runs: each read is the newest committed state, what was told included."""
    commit(store, committed(1, position(FIRST, b"one")))
    reader = database(read_only=True)
    assert reader.fact("aave", "position", FIRST) == b"one"
    assert dict(reader.told()) == {}
    with store.transaction() as transaction:
        transaction.commit_block(committed(2, position(FIRST, b"two")))
        transaction.add_notice(notice("n", 2), ("hook",), 1.0)
        assert reader.fact("aave", "position", FIRST) == b"one"
    assert reader.fact("aave", "position", FIRST) == b"two"
    assert set(reader.told()) == {"aave:0x01"}
    reader.close()


def test_a_snapshot_sees_one_moment(store, database: Opener):
    """Cursor and facts read inside belong together, whatever is committed meanwhile."""
    commit(store, committed(1, position(FIRST, b"one")))
    reader = database(read_only=True)
    with reader.snapshot():
        assert reader.cursor() == block(1).ref
        commit(store, committed(2, position(FIRST, b"two")))
        assert reader.fact("aave", "position", FIRST) == b"one"
        assert reader.cursor() == block(1).ref
    assert reader.cursor() == block(2).ref
    reader.close()


def test_a_reader_writes_nothing(store, database: Opener):
    """Opened read-only, a transaction fails with a remedy."""
    reader = database(read_only=True)
    with pytest.raises(StoreError, match=r"read-?only"), reader.transaction() as transaction:
        transaction.set_meta("greeting", "one")
    reader.close()
    assert store.meta("greeting") is None


# --- for readers that follow along ------------------------------------------------------------------------------------


def test_what_changed_since_a_block_is_told_in_its_newest_version(store):
    """Closed ones too; what changed before, or of another kind or protocol, is not."""
    commit(
        store,
        committed(1, position(FIRST, b"a"), position(SECOND, b"b")),
        committed(
            2, position(SECOND, b"c"), position(FIRST, b"x", kind="episode"), position(THIRD, b"y", protocol="p")
        ),
        committed(3, position(SECOND, None), position(THIRD, b"d")),
    )
    assert list(store.changed("aave", "position", 1)) == [(FIRST, b"a", 1), (SECOND, None, 3), (THIRD, b"d", 3)]
    assert list(store.changed("aave", "position", 2)) == [(SECOND, None, 3), (THIRD, b"d", 3)]
    assert list(store.changed("aave", "position", 4)) == []
    revert(store, 2)
    assert list(store.changed("aave", "position", 2)) == [(SECOND, b"c", 2)]


def test_the_audit_trail_is_read_on_from_where_one_was(store):
    for number in range(3):
        with store.transaction() as transaction:
            transaction.audit("s", f"e{number}", {}, at=float(number))
    whole = store.audit_after(-1, 10)
    assert [entry.event for _, entry in whole] == ["e0", "e1", "e2"]
    first = whole[0][0]
    assert [entry.event for _, entry in store.audit_after(first, 1)] == ["e1"]
    assert store.audit_after(whole[-1][0], 10) == []


def test_the_mark_of_the_records_moves_with_everything_that_is_told_or_tried(store):
    """A notice put in, an attempt that failed, one that succeeded, an intent: each is news; reading is none."""
    marks = [store.record_mark()]

    def moved() -> bool:
        marks.append(store.record_mark())
        return marks[-1] != marks[-2]

    commit(store, committed(1))
    assert not moved()
    tell(store, notice("n", 1))
    assert moved()
    with store.transaction() as transaction:
        assert transaction.claim("n", "hook")
        transaction.settle("n", "hook", DeliveryStatus.SENDING, at=2.0, due_at=3.0, error="busy")
    assert moved()
    settle(store, "n", DeliveryStatus.SENT)
    assert moved()
    with store.transaction() as transaction:
        transaction.put_intent(intent("i"))
    assert moved()
    assert not moved()

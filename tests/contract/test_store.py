"""What every store must do, database by database. Reference: the docstrings of `keeper.core.ports.Store`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.core.errors import StoreError, UnrecoverableReorg
from keeper.core.records import AuditEntry, CommittedBlock, DeliveryStatus, IntentStatus, NoticeEvent
from keeper.core.types import BlockRef
from keeper.store import SqlStore
from tests.contract.conftest import Opener
from tests.support.store_work import KEYS, attempt, block, committed, intent, notice, position

FIRST, SECOND, THIRD = KEYS


def commit(store: SqlStore, *blocks: CommittedBlock) -> None:
    for one in blocks:
        with store.transaction() as transaction:
            transaction.commit_block(one)


def tell(store: SqlStore, *notices, channels=("hook",), due_at=1.0) -> None:
    with store.transaction() as transaction:
        for one in notices:
            transaction.add_notice(one, channels, due_at)


def settle(store: SqlStore, name: str, status: DeliveryStatus, channel: str = "hook", **more) -> None:
    with store.transaction() as transaction:
        assert transaction.claim(name, channel)
        transaction.settle(name, channel, status, **{"at": 5.0, **more})


def revert(store: SqlStore, number: int, branch: str = "") -> frozenset[tuple[str, str, bytes]]:
    with store.transaction() as transaction:
        return transaction.revert_to(block(number, branch).ref)


def finalize(store: SqlStore, number: int) -> None:
    with store.transaction() as transaction:
        transaction.finalize(number)


def due(store: SqlStore, now: float = 1e6) -> list[tuple[str, str]]:
    return [(one.notice.id, one.channel) for one in store.outbox(now)]


# --- chain facts ------------------------------------------------------------------------------------------------------


def test_a_new_store_has_no_cursor(store):
    """Nothing indexed: no cursor, no blocks, no facts."""
    assert store.cursor() is None
    assert list(store.blocks()) == []
    assert list(store.facts("aave", "position")) == []


def test_headers_come_back_as_they_were(store):
    """Every field of a header survives, gas limits of 2**64 - 1 and absent base fees included."""
    first = replace(block(1), base_fee_wei=None, bloom=bytes(range(256)), gas_used=21_000)
    commit(store, CommittedBlock(first, ()), committed(2))
    assert list(store.blocks()) == [first, block(2)]
    assert store.cursor() == block(2).ref


def test_the_newest_version_is_current(store):
    """A fact is what the last block that mentions it says."""
    commit(store, committed(1, position(FIRST, b"one")), committed(2), committed(3, position(FIRST, b"three")))
    assert store.fact("aave", "position", FIRST) == b"three"
    assert list(store.facts("aave", "position")) == [(FIRST, b"three")]


def test_facts_of_other_kinds_and_protocols_do_not_mix(store):
    """A fact is found under its own protocol and kind only."""
    commit(store, committed(1, position(FIRST, b"p"), position(FIRST, b"m", kind="market", protocol="morpho")))
    assert list(store.facts("aave", "market")) == []
    assert list(store.facts("morpho", "market")) == [(FIRST, b"m")]


def test_a_closed_fact_is_not_listed(store):
    """A version without payload closes."""
    commit(store, committed(1, position(FIRST, b"one"), position(SECOND, b"")), committed(2, position(FIRST, None)))
    assert list(store.facts("aave", "position")) == [(SECOND, b"")]
    assert store.fact("aave", "position", FIRST) is None


@pytest.mark.parametrize(
    "wrong",
    [committed(4), committed(2), committed(1), committed(3, branch="other")],
    ids=["gap", "same height", "below", "other parent"],
)
def test_a_block_must_follow_the_cursor(store, wrong):
    """A block whose parent is not the cursor is refused and leaves nothing."""
    commit(store, committed(1), committed(2))
    with pytest.raises(StoreError, match="does not follow the cursor"):
        commit(store, wrong)
    assert store.cursor() == block(2).ref


def test_advancing_crosses_a_gap_and_forgets_older_headers(store):
    """After a scanned gap only the new header is left, and nothing below it can be reverted to."""
    commit(store, committed(1, position(FIRST, b"one"), position(SECOND, b"one")))
    with store.transaction() as transaction:
        transaction.advance(committed(50, position(FIRST, b"fifty")))
    assert list(store.blocks()) == [block(50)]
    assert dict(store.facts("aave", "position")) == {FIRST: b"fifty", SECOND: b"one"}
    with pytest.raises(UnrecoverableReorg):
        revert(store, 1)


def test_advancing_does_not_go_back(store):
    """The cursor moves over a gap upward only."""
    commit(store, committed(5))
    with pytest.raises(StoreError, match="already at block 5"), store.transaction() as transaction:
        transaction.advance(committed(5, branch="other"))


def test_amending_replaces_what_the_block_at_the_cursor_says(store):
    """A repair: what it names is replaced or added, the rest of the block stays, and a revert undoes it."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2"), position(SECOND, b"2")))
    with store.transaction() as transaction:
        transaction.amend(committed(2, position(FIRST, None), position(THIRD, b"mended")))
    assert dict(store.facts("aave", "position")) == {SECOND: b"2", THIRD: b"mended"}
    revert(store, 1)
    assert dict(store.facts("aave", "position")) == {FIRST: b"1"}
    with pytest.raises(StoreError, match="the cursor is elsewhere"), store.transaction() as transaction:
        transaction.amend(committed(2))


def test_reverting_makes_older_versions_current_again(store):
    """What the orphaned blocks said is gone, closings included; what changed is told."""
    commit(
        store,
        committed(1, position(FIRST, b"one"), position(SECOND, b"one")),
        committed(2, position(FIRST, b"two")),
        committed(3, position(SECOND, None), position(THIRD, b"three")),
    )
    assert revert(store, 1) == {("aave", "position", key) for key in (FIRST, SECOND, THIRD)}
    assert dict(store.facts("aave", "position")) == {FIRST: b"one", SECOND: b"one"}
    assert store.cursor() == block(1).ref


def test_reverting_to_the_tip_changes_nothing(store):
    """The ancestor may be the cursor itself."""
    commit(store, committed(1, position(FIRST, b"one")))
    assert revert(store, 1) == frozenset()
    assert store.fact("aave", "position", FIRST) == b"one"


def test_a_branch_continues_where_the_other_was_cut(store):
    """Revert and commit in one transaction: the new branch replaces the old one."""
    commit(store, committed(1), committed(2, position(FIRST, b"old")), committed(3))
    with store.transaction() as transaction:
        transaction.revert_to(block(1).ref)
        transaction.commit_block(committed(2, position(FIRST, b"new"), branch="b", parent=block(1).ref))
    assert store.cursor() == block(2, "b").ref
    assert store.fact("aave", "position", FIRST) == b"new"


@pytest.mark.parametrize("ancestor", [block(1).ref, block(9).ref, block(4, "other").ref, BlockRef(4, b"")])
def test_an_ancestor_that_is_not_stored_is_unrecoverable(store, ancestor):
    """Below finality, above the tip, or another block of that height: halt, and change nothing."""
    commit(store, *(committed(number) for number in range(1, 6)))
    finalize(store, 3)
    with pytest.raises(UnrecoverableReorg, match="3 to 5"), store.transaction() as transaction:
        transaction.revert_to(ancestor)
    assert store.cursor() == block(5).ref


def test_finality_forgets_headers_and_superseded_versions(store, database):
    """Below finality one version of each fact is left, and none of what had closed."""
    commit(
        store,
        committed(1, position(FIRST, b"1"), position(SECOND, b"1"), position(THIRD, b"1")),
        committed(2, position(FIRST, b"2"), position(SECOND, None)),
        committed(3, position(FIRST, b"3")),
        committed(4, position(FIRST, b"4"), position(THIRD, b"4")),
    )
    finalize(store, 3)
    assert [one.number for one in store.blocks()] == [3, 4]
    assert versions(store) == {(FIRST, 3), (FIRST, 4), (THIRD, 1), (THIRD, 4)}
    revert(store, 3)
    assert dict(store.facts("aave", "position")) == {FIRST: b"3", THIRD: b"1"}


def test_finality_above_the_tip_keeps_the_tip(store):
    """Whatever is called final, one header is left to build on."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2")))
    finalize(store, 10)
    assert list(store.blocks()) == [block(2)]
    assert versions(store) == {(FIRST, 2)}
    commit(store, committed(3))


def test_advancing_leaves_no_superseded_versions(store):
    """Below a scanned gap nothing can be reverted to, so it is pruned like finality."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2"), position(SECOND, b"2")))
    with store.transaction() as transaction:
        transaction.advance(committed(9, position(SECOND, None)))
    assert versions(store) == {(FIRST, 2)}


def versions(store: SqlStore) -> set[tuple[bytes, int]]:
    return {(key, number) for key, number, _payload in store._versions("aave", "position")}


def test_what_an_episode_last_said_is_kept_for_ever(store):
    """A closed episode stays readable after finality, whether its closing has a payload or not."""
    commit(
        store,
        committed(1, position(b"e1", b"open", "episode"), position(b"e2", b"open", "episode")),
        committed(2, position(b"e1", b"cured", "episode"), position(b"e2", None, "episode")),
        *(committed(number) for number in range(3, 6)),
    )
    finalize(store, 5)
    assert list(store.episodes()) == [("aave", b"e1", b"cured", 2), ("aave", b"e2", b"open", 1)]
    assert list(store.episodes("morpho")) == []
    assert list(store.facts("aave", "episode")) == [(b"e1", b"cured")]


def test_many_facts_are_read_in_pages(store, monkeypatch):
    """Several versions of a key, split over two pages, are one fact."""
    keys = [number.to_bytes(20, "big") for number in range(25_000)]
    commit(store, committed(1, *(position(key, b"1") for key in keys)))
    commit(store, committed(2, *(position(key, b"2") for key in keys[9_990:10_010])))
    found = list(store.facts("aave", "position"))
    assert [key for key, _payload in found] == keys
    assert [key for key, payload in found if payload == b"2"] == keys[9_990:10_010]


# --- backfill ---------------------------------------------------------------------------------------------------------


def test_touches_accumulate_until_cleared(store):
    """Each key once, however often it was seen; the mark is how far the scan came."""
    assert store.scanned_to("aave") is None
    with store.transaction() as transaction:
        transaction.add_touches("aave", [FIRST, SECOND, FIRST], 10)
        transaction.add_touches("aave", iter([SECOND, THIRD]), 20)
        transaction.add_touches("morpho", [], 5)
    assert set(store.touches("aave")) == {FIRST, SECOND, THIRD}
    assert (store.scanned_to("aave"), store.scanned_to("morpho")) == (20, 5)
    with store.transaction() as transaction:
        transaction.clear_touches("aave")
    assert list(store.touches("aave")) == []
    assert store.scanned_to("aave") == 20


def test_reverting_pulls_back_how_far_was_scanned(store):
    """The new branch may hold logs that the scan of the old one did not see."""
    commit(store, committed(1), committed(2), committed(3))
    with store.transaction() as transaction:
        transaction.add_touches("aave", [FIRST], 3)
        transaction.add_touches("morpho", [FIRST], 1)
    revert(store, 2)
    assert (store.scanned_to("aave"), store.scanned_to("morpho")) == (2, 1)


# --- notices ----------------------------------------------------------------------------------------------------------


def test_a_notice_comes_back_as_it_was(store):
    """The body keeps its order of keys and its integers, since a retry must repeat it byte for byte."""
    told = notice("n", 1, body={"z": 1, "a": {"y": 2**100, "b": "ü \u0000 \ud800"}}, text="a\nb")
    tell(store, told, due_at=3.5)
    (delivery,) = store.deliveries()
    assert delivery.notice == told
    assert list(delivery.notice.body) == ["z", "a"]
    assert (delivery.status, delivery.attempts, delivery.due_at) == (DeliveryStatus.PENDING, 0, 3.5)


def test_adding_a_notice_twice_changes_nothing(store):
    """Its id is its identity, whatever became of it."""
    tell(store, notice("n", 1), channels=("hook", "chat"))
    settle(store, "n", DeliveryStatus.SENT)
    before = list(store.deliveries())
    tell(store, notice("n", 1, text="other words"), channels=("chat", "hook"), due_at=99.0)
    assert list(store.deliveries()) == before


def test_a_notice_can_be_added_for_another_channel(store):
    """A channel that is new gets it; the others are left alone."""
    tell(store, notice("n", 1))
    tell(store, notice("n", 1), channels=("hook", "chat"))
    assert due(store) == [("n", "hook"), ("n", "chat")]


def test_the_outbox_is_ordered_and_never_overtakes(store):
    """Per position and channel only the oldest unsettled delivery; all positions in the order of telling."""
    tell(store, notice("a1", 1, of="a"), notice("b1", 1, of="b"), notice("a2", 2, of="a"), channels=("hook", "chat"))
    assert due(store) == [("a1", "hook"), ("a1", "chat"), ("b1", "hook"), ("b1", "chat")]
    settle(store, "a1", DeliveryStatus.SENT, "chat")
    assert due(store) == [("a1", "hook"), ("b1", "hook"), ("b1", "chat"), ("a2", "chat")]
    settle(store, "a1", DeliveryStatus.DEAD)
    assert ("a2", "hook") in due(store)


def test_the_outbox_holds_only_what_is_due(store):
    """A retry in the future is not due, and what waits behind it is not either."""
    tell(store, notice("a1", 1), notice("a2", 2))
    settle(store, "a1", DeliveryStatus.PENDING, due_at=60.0, error="503 from the hook")
    assert due(store, now=59.9) == []
    assert store.next_due() == 60.0
    assert due(store, now=60.0) == [("a1", "hook")]
    (first, second) = store.deliveries()
    assert (first.attempts, first.error, second.attempts) == (1, "503 from the hook", 0)


def test_the_outbox_can_be_read_by_channel_and_in_parts(store):
    """A channel's backlog hides nothing of another's."""
    tell(store, *(notice(f"n{number}", 1, of=f"p{number}") for number in range(5)), channels=("chat",))
    tell(store, notice("late", 1, of="late"), due_at=7.0)
    assert [one.notice.id for one in store.outbox(9.0, limit=2)] == ["n0", "n1"]
    assert [one.notice.id for one in store.outbox(9.0, limit=2, channel="hook")] == ["late"]
    assert (store.next_due("hook"), store.next_due("chat"), store.next_due("none")) == (7.0, 1.0, None)


def test_a_delivery_in_the_air_is_sent_again(store, database):
    """After a crash nobody knows whether it arrived: it is due again, and counts as told meanwhile."""
    tell(store, notice("n", 1))
    with store.transaction() as transaction:
        transaction.claim("n", "hook")
    store.close()
    again = database()
    assert [one.status for one in again.outbox(9.0)] == [DeliveryStatus.SENDING]
    assert again.told()["aave:0x01"].event is NoticeEvent.OPENED
    again.close()


def test_reverting_drops_pending_notices_of_orphaned_blocks_only(store):
    """Judged above the ancestor and unsent: dropped. Sent, in the air, or judged below: kept."""
    commit(store, *(committed(number) for number in range(1, 5)))
    tell(store, notice("below", 2, of="a"), notice("sent", 3, of="b"), notice("air", 3, of="c"))
    tell(store, notice("pending", 3, of="d"), channels=("hook", "chat"))
    settle(store, "sent", DeliveryStatus.SENT)
    with store.transaction() as transaction:
        transaction.claim("air", "hook")
        transaction.claim("pending", "chat")
    revert(store, 2)
    assert {(one.notice.id, one.channel): one.status.value for one in store.deliveries()} == {
        ("below", "hook"): "pending",
        ("sent", "hook"): "sent",
        ("air", "hook"): "sending",
        ("pending", "hook"): "dropped",
        ("pending", "chat"): "sending",
    }


def test_a_dropped_notice_cannot_be_claimed(store):
    """It was read from the outbox before the reorg; it must not go out after it."""
    commit(store, committed(1), committed(2))
    tell(store, notice("n", 2))
    (waiting,) = store.outbox(9.0)
    revert(store, 1)
    with store.transaction() as transaction:
        assert not transaction.claim(waiting.notice.id, waiting.channel)
        assert not transaction.claim("unheard of", "hook")


def test_a_dropped_notice_is_told_when_its_block_comes_back(store):
    """The chain may return to the first branch: the same id is pending again, behind what was told meanwhile."""
    commit(store, committed(1), committed(2))
    tell(store, notice("n", 2))
    revert(store, 1)
    tell(store, notice("meanwhile", 1))
    tell(store, notice("n", 2, band="urgent"), due_at=4.0)
    assert [(one.notice.id, one.status) for one in store.deliveries()] == [
        ("meanwhile", DeliveryStatus.PENDING),
        ("n", DeliveryStatus.PENDING),
    ]


def test_settling_what_was_never_added_is_an_error(store):
    """A delivery that does not exist cannot end."""
    with pytest.raises(StoreError, match="no delivery of notice n"), store.transaction() as transaction:
        transaction.settle("n", "hook", DeliveryStatus.SENT, at=1.0)


def test_told_is_the_last_that_was_or_will_be_delivered(store):
    """Pending counts, since it will be told; dropped and dead do not."""
    commit(store, committed(1), committed(2), committed(3))
    tell(store, notice("opened", 1))
    assert store.told()["aave:0x01"].event is NoticeEvent.OPENED
    tell(store, notice("escalated", 3, NoticeEvent.ESCALATED, band="urgent"))
    assert store.told()["aave:0x01"].band == "urgent"
    revert(store, 2)
    assert store.told()["aave:0x01"].band == "call"
    settle(store, "opened", DeliveryStatus.DEAD)
    assert dict(store.told()) == {}


@pytest.mark.parametrize("event", [event for event in NoticeEvent if event.closes])
def test_a_closing_ends_what_was_told(store, event):
    """After a closing nobody believes in a call any more."""
    tell(store, notice("opened", 1), notice("closed", 2, event))
    assert dict(store.told()) == {}


def test_told_inside_a_transaction_knows_what_it_did(store):
    """The pipeline reverts and judges again in one transaction; if that fails, nothing of it was believed."""
    commit(store, committed(1), committed(2))
    tell(store, notice("opened", 2))
    assert "aave:0x01" in store.told()

    def fail() -> None:
        with store.transaction() as transaction:
            transaction.revert_to(block(1).ref)
            assert dict(store.told()) == {}
            transaction.add_notice(notice("other", 1, of="other"), ("hook",), 1.0)
            assert set(store.told()) == {"other"}
            raise RuntimeError("judging failed")

    with pytest.raises(RuntimeError):
        fail()
    assert set(store.told()) == {"aave:0x01"}


def test_deliveries_of_an_episode(store):
    """`keeper calls` lists whom an episode was told to."""
    tell(store, notice("a", 1, episode="one"), notice("b", 1, episode="two"), channels=("hook", "chat"))
    assert [(one.notice.id, one.channel) for one in store.deliveries("two")] == [("b", "hook"), ("b", "chat")]


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

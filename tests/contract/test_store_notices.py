"""How every store keeps notices: an outbox in order, what was told, and what a revert drops of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keeper.core.errors import StoreError
from keeper.core.records import LONGEST_WAIT_S, DeliveryStatus, Messages, NoticeEvent
from keeper.store import open_store
from keeper.store.statements import outbox
from tests.support.store_work import (
    KEYS,
    block,
    commit,
    committed,
    due,
    notice,
    revert,
    settle,
    tell,
)

FIRST, SECOND, THIRD = KEYS


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


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "busy"])
def test_finding_what_a_channel_is_to_be_sent_costs_the_same_whatever_waits(tmp_path: Path, waiting: bool):
    """In SQLite's own steps: with ten or two thousand notices waiting behind them (busy), or on another channel (idle).
    An index over what waits finds them, in order."""

    def steps(count: int) -> int:
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        with closing(open_store(f"sqlite:///{tmp_path}/{count}.db", chain_id=1)) as store:
            tell(store, *(notice(f"n{one}", 1, of=f"aave:{one}") for one in range(count)))
            with sqlite3.connect(tmp_path / f"{count}.db") as reader:
                reader.set_progress_handler(step, 1)
                store._db.driver = reader
                if waiting:
                    assert len(store.outbox(1.0, limit=5, channel="hook")) == 5
                else:
                    assert not store.outbox(1.0, limit=5, channel="chat")
                    assert store.next_due("chat") is None
        return taken

    assert steps(2_000) <= 1.1 * steps(10)


def test_what_waits_of_a_channel_is_found_by_the_index_over_what_waits(tmp_path: Path):
    """Not by status, under which everything lies that waits anywhere, and sorted by nothing but the index."""
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=1)) as store:
        sql, constants = store._db._sql(outbox.OUTBOX_OF)
        plan = [
            row[3] for row in store._db.driver.execute(f"EXPLAIN QUERY PLAN {sql}", ("hook", 1, 1, 1, *constants, 5))
        ]
    assert plan[0] == "SEARCH deliveries USING INDEX deliveries_in_line (channel=?)"
    assert not [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line]


def test_what_is_sent_again_is_found_without_looking_at_all_that_waits_or_was_told(tmp_path: Path):
    """By status and channel what is in the air, and by their name the summaries."""
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=1)) as store:
        sql, constants = store._db._sql(outbox.OUTBOX_AGAIN)
        values = ("hook", "summary:hook", 1, 1, *constants, 5)
        plan = [row[3] for row in store._db.driver.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert [line for line in plan if " unfinished " in line] == [
        "SEARCH unfinished USING COVERING INDEX deliveries_by_sending (status=? AND channel=?)",
        "SEARCH unfinished USING INDEX deliveries_by_position (position=?)",
    ]
    assert not [line for line in plan if line.startswith("SCAN") or line.endswith("(carrier=?)")]


def test_what_is_waited_for_is_known_by_channel(store):
    """Whatever the time and the reason; not what was settled, and nobody who wants nothing."""
    names = ("a", "b", "c", "d", "e")
    tell(store, *(notice(name, 1, of=name) for name in names), channels=("hook",), due_at=60.0)
    tell(store, *(notice(f"{name}2", 1, of=name) for name in names), channels=("a chat", "Zulip", "über"))
    tell(store, notice("sent", 2, of="f"), notice("dead", 2, of="g"), channels=("done",))
    tell(store, notice("unwanted", 2, of="h"), channels=())
    settle(store, "sent", DeliveryStatus.SENT, "done")
    settle(store, "dead", DeliveryStatus.DEAD, "done")
    with store.transaction() as transaction:
        for name in names:
            transaction.hold(f"{name}2", "über", 900.0)
            assert transaction.claim(f"{name}2", "Zulip")
    assert sorted(store.waited_for()) == sorted(["hook", "a chat", "Zulip", "über"])


def test_asking_who_is_waited_for_looks_at_one_row_of_each(tmp_path: Path):
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=1)) as store:
        sql, constants = store._db._sql(outbox.NEXT_CHANNEL)
        plan = [row[3] for row in store._db.driver.execute(f"EXPLAIN QUERY PLAN {sql}", (*constants, "", "", ""))]
    searched = [line for line in plan if "deliveries" in line]
    assert searched == ["SEARCH deliveries USING COVERING INDEX deliveries_by_sending (status=? AND channel>?)"] * 3


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


def test_a_notice_from_before_there_was_html_is_sent_with_what_it_says(store):
    """It may still wait when the program is replaced; a mail without words would be worse than a plain one."""
    tell(store, notice("old", 1, title="", html="", text="Health < 1.1\nBlock 1"))
    (delivery,) = store.outbox(1.0)
    assert (delivery.notice.title, delivery.notice.html) == ("Health < 1.1", "<pre>Health &lt; 1.1\nBlock 1</pre>")


def test_reverting_drops_pending_notices_of_orphaned_blocks_only(store):
    """Judged above the ancestor and unsent: dropped. Sent, in the air, or judged below: kept."""
    commit(store, *(committed(number) for number in range(1, 5)))
    tell(store, notice("below", 2, of="a"), notice("sent", 3, of="b"), notice("air", 3, of="c"))
    tell(store, notice("pending", 3, of="d"), channels=("hook", "chat"))
    settle(store, "sent", DeliveryStatus.SENT)
    with store.transaction() as transaction:
        transaction.claim("air", "hook")
    revert(store, 2)
    assert {(one.notice.id, one.channel): one.status.value for one in store.deliveries()} == {
        ("below", "hook"): "pending",
        ("sent", "hook"): "sent",
        ("air", "hook"): "sending",
        ("pending", "hook"): "dropped",
        ("pending", "chat"): "dropped",
    }


def test_what_one_channel_told_of_an_orphaned_block_the_others_tell_too(store):
    """Belief is one for a position: else a call that is still true would never be told on the others."""
    commit(store, *(committed(number) for number in (1, 2, 3)))
    tell(
        store,
        notice("half", 3, of="a"),
        notice("air", 3, of="b"),
        notice("nobody", 3, of="c"),
        channels=("hook", "chat"),
    )
    settle(store, "half", DeliveryStatus.SENT)
    with store.transaction() as transaction:
        assert transaction.claim("air", "hook")
    revert(store, 2)
    statuses = {(one.notice.id, one.channel): one.status for one in store.deliveries()}
    assert statuses == {
        ("half", "hook"): DeliveryStatus.SENT,
        ("half", "chat"): DeliveryStatus.PENDING,
        ("air", "hook"): DeliveryStatus.SENDING,
        ("air", "chat"): DeliveryStatus.PENDING,
        ("nobody", "hook"): DeliveryStatus.DROPPED,
        ("nobody", "chat"): DeliveryStatus.DROPPED,
    }
    assert set(store.told()) == {"a", "b"}


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
    """The closing is what was told last, until no reorg can undo it; then nothing is."""
    commit(store, committed(1), committed(2), committed(3))
    tell(store, notice("opened", 1), notice("closed", 2, event))
    assert store.told()["aave:0x01"].event is event
    with store.transaction() as transaction:
        transaction.finalize(3)
    assert dict(store.told()) == {}


def test_what_no_channel_wants_counts_as_told_and_is_shown_to_nobody(store):
    """It is said last of its position, but no delivery: not sent, not listed, not waited for."""
    commit(store, committed(1), committed(2))
    tell(store, notice("opened", 1))
    settle(store, "opened", DeliveryStatus.SENT)
    tell(store, notice("cured", 2, NoticeEvent.CURED), channels=())
    assert (store.told()["aave:0x01"].event, store.told()["aave:0x01"].block_number) == (NoticeEvent.CURED, 2)
    assert [(one.notice.id, one.channel) for one in store.deliveries()] == [("opened", "hook")]
    assert [one.notice.id for one in store.deliveries(notice("cured", 2).episode)] == ["opened"]
    assert (due(store), store.next_due(), store.heard("hook", "aave:0x01")) == ([], None, NoticeEvent.OPENED)
    tell(store, notice("opened again", 2))
    assert store.told()["aave:0x01"].event is NoticeEvent.OPENED


def test_what_no_channel_wants_goes_with_its_block_and_comes_back_with_it(store):
    """Nobody heard of it, so nothing is left of it: what was heard before is what readers believe."""
    commit(store, committed(1), committed(2))
    tell(store, notice("opened", 1))
    settle(store, "opened", DeliveryStatus.SENT)
    for _ in range(2):
        tell(store, notice("cured", 2, NoticeEvent.CURED), channels=())
        assert store.told()["aave:0x01"].event is NoticeEvent.CURED
        revert(store, 1)
        assert store.told()["aave:0x01"].event is NoticeEvent.OPENED
        commit(store, committed(2))
    with store.transaction() as transaction:
        assert transaction.forget_notice("cured")


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


def test_channels_of_an_episode_are_those_that_it_was_told_to_or_will_be(store):
    """Whatever became of it, but for what went with its block: that was said to nobody."""
    commit(store, committed(1), committed(2))
    tell(store, notice("opened", 1, episode="one"), channels=("hook", "chat"))
    settle(store, "opened", DeliveryStatus.DEAD, "hook")
    with store.transaction() as transaction:
        transaction.drop("opened", "chat", "acknowledged by somebody", at=1.0)
    tell(store, notice("again", 2, episode="one"), channels=("phone",))
    tell(store, notice("cured", 2, NoticeEvent.CURED, episode="one"), channels=())
    tell(store, notice("other", 1, episode="two"), channels=("mail",))
    assert store.channels_of("one") == {"hook", "chat", "phone"}
    assert store.hearers_of("one") == {"hook", "phone"}
    revert(store, 1)
    assert store.channels_of("one") == {"hook", "chat"}
    assert store.channels_of("none") == set()


# --- what rules do to what waits --------------------------------------------------------------------------------------


def test_what_is_held_steps_aside_until_it_is_due(store):
    """A louder notice behind it can be seen, and both are there when its time comes, in order."""
    tell(store, notice("a1", 1), notice("a2", 2))
    with store.transaction() as transaction:
        transaction.hold("a1", "hook", 100.0)
    assert due(store, now=50.0) == [("a2", "hook")]
    assert store.next_due("hook", now=50.0) == 1.0
    assert [one.notice.id for one in store.waiting("hook", "aave:0x01")] == ["a1", "a2"]
    assert due(store, now=100.0) == [("a1", "hook")]
    with store.transaction() as transaction:
        transaction.hold("a2", "hook", 200.0)
    assert store.next_due("hook", now=50.0) == 100.0
    with store.transaction() as transaction:
        transaction.release("a1", "hook")
    assert due(store, now=50.0) == [("a1", "hook")]


def test_what_is_held_counts_as_told_and_is_dropped_by_a_revert(store):
    """Held is pending: it will be told, unless its block goes."""
    commit(store, committed(1), committed(2))
    tell(store, notice("n", 2))
    with store.transaction() as transaction:
        transaction.hold("n", "hook", 100.0)
    assert set(store.told()) == {"aave:0x01"}
    revert(store, 1)
    assert dict(store.told()) == {}
    assert [one.status for one in store.deliveries()] == [DeliveryStatus.DROPPED]


def test_only_what_nobody_saw_can_be_dropped(store):
    """A delivery in the air may have arrived."""
    tell(store, notice("waits", 1, of="a"), notice("flies", 1, of="b"))
    with store.transaction() as transaction:
        transaction.claim("flies", "hook")
        for name in ("waits", "flies", "unheard of"):
            transaction.drop(name, "hook", "it is over", at=3.0)
    assert [(one.status.value, one.error) for one in store.deliveries()] == [
        ("dropped", "it is over"),
        ("sending", None),
    ]
    assert set(store.told()) == {"b"}
    (entry,) = store.audit("waits")
    assert (entry.before, entry.event, entry.evidence["error"]) == ("pending", "dropped", "it is over")


def carry(store, *names, at=2.0, number=1):
    whole = notice("whole", number, NoticeEvent.SUMMARY, of="summary:hook")
    with store.transaction() as transaction:
        transaction.carry(whole, "hook", names, at=at)


def test_what_a_summary_carries_shares_its_fate_and_blocks_what_follows(store):
    """Nothing of a position overtakes the summary that tells what came before."""
    tell(store, notice("a1", 1, of="a"), notice("b1", 1, of="b"))
    carry(store, "a1", "b1")
    tell(store, notice("a2", 2, of="a"))
    assert due(store) == [("whole", "hook")]
    settle(store, "whole", DeliveryStatus.SENDING, due_at=5.0, error="no answer")
    assert {one.status for one in store.deliveries() if one.carrier} == {DeliveryStatus.SENDING}
    assert due(store) == [("whole", "hook")]
    settle(store, "whole", DeliveryStatus.SENT, at=7.0)
    assert [(one.notice.id, one.status.value, one.sent_at) for one in store.deliveries() if one.carrier] == [
        ("a1", "sent", 7.0),
        ("b1", "sent", 7.0),
    ]
    assert due(store) == [("a2", "hook")]
    assert store.heard("hook", "a") is NoticeEvent.OPENED
    assert store.messages("hook", 6.0, 7.0) == Messages(1, 7.0, {})


def test_a_summary_that_waits_for_another_attempt_is_among_what_is_sent_again(store):
    """It is a message of the minute, whether or not it was seen; a notice that nobody saw is none."""
    tell(store, notice("a1", 1, of="a"), notice("b1", 1, of="b"), notice("c1", 1, of="c"))
    settle(store, "c1", DeliveryStatus.PENDING, due_at=2.0, error="no connection")
    carry(store, "a1", "b1")
    settle(store, "whole", DeliveryStatus.PENDING, due_at=5.0, error="no connection")
    assert store.repetitions("hook", 4.9, 10) == []
    assert [one.notice.id for one in store.repetitions("hook", 5.0, 10)] == ["whole"]
    assert store.messages("hook", 0.0, 9.0) == Messages(0, None, {1: 1})
    assert store.messages("chat", 0.0, 9.0) == Messages(0, None, {})


def test_what_was_put_off_before_the_clock_was_set_back_is_due(store):
    """No pause is longer than eleven minutes; an hour's step would be one. What is held is held until a time of day."""
    tell(store, notice("a1", 1, of="a"), notice("a2", 2, of="a"), notice("b1", 1, of="b"), notice("c1", 1, of="c"))
    settle(store, "a1", DeliveryStatus.PENDING, due_at=5_002.0, error="no connection")
    settle(store, "b1", DeliveryStatus.SENDING, due_at=5_002.0, error="no answer")
    with store.transaction() as transaction:
        transaction.hold("c1", "hook", 5_002.0)
    assert due(store, now=5_002.0 - LONGEST_WAIT_S) == []
    assert due(store, now=5_001.0 - LONGEST_WAIT_S) == [("a1", "hook"), ("b1", "hook")]
    assert [one.notice.id for one in store.outbox(1_402.0, channel="hook")] == ["a1", "b1"]
    assert [one.notice.id for one in store.repetitions("hook", 1_402.0, 9)] == ["b1"]


def test_a_message_of_the_future_is_none_of_this_minute(store):
    """The clock was set back since it was sent."""
    tell(store, notice("a1", 1, of="a"), notice("b1", 1, of="b"))
    settle(store, "a1", DeliveryStatus.SENT, at=3_600.0)
    settle(store, "b1", DeliveryStatus.SENT, at=20.0)
    assert store.messages("hook", 0.0, 60.0) == Messages(1, 20.0, {})
    assert store.messages("hook", 3_540.0, 3_600.0) == Messages(1, 3_600.0, {})


def test_a_summary_that_a_revert_drops_lets_go_what_is_still_true(store):
    """It told of an orphaned block and was not seen: what it carried besides goes by itself."""
    commit(store, committed(1), committed(2))
    tell(store, notice("old", 1, of="a"), notice("new", 2, of="b"))
    carry(store, "old", "new", number=2)
    revert(store, 1)
    assert due(store) == [("old", "hook")]
    assert set(store.told()) == {"a"}


def test_what_a_refused_summary_carried_can_be_carried_again(store):
    """As if nobody had tried to tell it: neither seen, nor to be told apart from what is new."""
    tell(store, notice("a1", 1, of="a"), notice("b1", 1, of="b"))
    carry(store, "a1", "b1")
    with store.transaction() as transaction:
        assert transaction.claim("whole", "hook")
    with store.transaction() as transaction:
        transaction.take_apart("whole", "hook", "HTTP 413", at=3.0)
    assert due(store) == [("a1", "hook"), ("b1", "hook")]
    found = {one.notice.id: one for one in store.deliveries()}
    assert [(found[name].status.value, found[name].attempts, found[name].carrier) for name in ("a1", "b1")] == [
        ("pending", 0, None)
    ] * 2
    assert (found["whole"].status, found["whole"].error) == (DeliveryStatus.DROPPED, "HTTP 413")
    with store.transaction() as transaction:
        transaction.carry(notice("again", 1, of="summary"), "hook", ["a1", "b1"], at=4.0)
    assert due(store) == [("again", "hook")]


def test_what_waits_no_longer_cannot_be_carried(store):
    """It would be told twice."""
    tell(store, notice("n", 1))
    settle(store, "n", DeliveryStatus.SENT)
    with pytest.raises(StoreError, match="does not wait"):
        carry(store, "n")


def test_what_was_created_later_than_now_is_judged_again(store):
    """By a clock that was set back since: it counts as created now and is due, held or not; nothing else changes."""
    tell(store, notice("early", 1, of="a"), due_at=50.0)
    tell(store, notice("held", 2, of="b"), notice("late", 2, of="c"), notice("seen", 2, of="d"), due_at=3_650.0)
    tell(store, notice("over", 2, of="e"), due_at=3_650.0)
    settle(store, "over", DeliveryStatus.DEAD)
    with store.transaction() as transaction:
        transaction.hold("early", "hook", 900.0)
        transaction.hold("held", "hook", 4_500.0)
        assert transaction.claim("seen", "hook")
    before = {one.notice.id: one for one in store.deliveries()}
    with store.transaction() as transaction:
        assert transaction.backdate(60.0) == 2
        assert transaction.backdate(60.0) == 0
    after = {one.notice.id: one for one in store.deliveries()}
    assert {name for name in after if after[name] != before[name]} == {"held", "late"}
    for name in ("held", "late"):
        found = after[name]
        assert (found.status, found.created_at, found.due_at) == (DeliveryStatus.PENDING, 60.0, 60.0)


def test_the_dead_can_be_revived_with_all_they_carry(store):
    """`keeper calls retry`: another first attempt, under the same id."""
    tell(store, notice("a1", 1, of="a"))
    carry(store, "a1")
    settle(store, "whole", DeliveryStatus.DEAD, error="gone")
    assert dict(store.told()) == {}
    with store.transaction() as transaction:
        assert transaction.revive("whole", "hook", at=50.0)
        assert not transaction.revive("whole", "hook", at=50.0)
    assert due(store, now=50.0) == [("whole", "hook")]
    found = store.delivery("a1", "hook")
    assert (found.status, found.attempts, found.created_at) == (DeliveryStatus.PENDING, 0, 50.0)
    assert "a" in store.told()


def test_what_is_superseded_stays_dead(store):
    """An old opening that arrives after the cure would pass for the news."""
    tell(store, notice("opened", 1), notice("cured", 2, NoticeEvent.CURED))
    tell(store, notice("opened", 1), channels=("chat",))
    for channel in ("hook", "chat"):
        settle(store, "opened", DeliveryStatus.DEAD, channel)
    settle(store, "cured", DeliveryStatus.SENT)
    with store.transaction() as transaction:
        assert not transaction.revive("opened", "hook", at=50.0)
        assert transaction.revive("opened", "chat", at=50.0)

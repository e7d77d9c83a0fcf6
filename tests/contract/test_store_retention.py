"""Forgetting what is old, and nothing else. `store` is every kind of store in turn."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.records import DeliveryStatus, Fact, NoticeEvent
from keeper.core.types import Band, BlockRef
from keeper.evaluator.episode_json import dump_episode
from keeper.evaluator.episodes import Episode, EpisodeStatus, Mark
from keeper.upkeep.retention import AT_ONCE, Retention
from tests.support.store_work import commit, committed, finalize, intent, notice, settle, tell

DAY = 86_400.0
NOW = 100 * DAY


def episode(name: str, closed_at: float | None) -> Episode:
    opened = Mark("opened", Band.CALL, BlockRef(1, b"\x01" * 32), 10, 10**18)
    open_ = Episode(
        name, "aave", f"aave:{name}", b"k", b"a" * 20, EpisodeStatus.OPEN, Band.CALL, Band.CALL, 0, (opened,)
    )
    if closed_at is None:
        return open_
    closing = Mark("cured", Band.SAFE, BlockRef(2, b"\x02" * 32), int(closed_at), 2 * 10**18)
    return replace(open_, status=EpisodeStatus.CURED, marks=(opened, closing))


def fact(one: Episode) -> Fact:
    return Fact("aave", "episode", one.id.encode(), dump_episode(one))


def told(store, one: Episode, at: float, status: DeliveryStatus | None = DeliveryStatus.SENT) -> None:
    """A notice of its opening, and of its closing if it is closed."""
    events = [NoticeEvent.OPENED] if one.is_open else [NoticeEvent.OPENED, NoticeEvent.CURED]
    for number, event in enumerate(events, start=1):
        name = f"{one.id}-{event.value}"
        tell(store, notice(name, number, event, of=one.position, episode=one.id), due_at=at)
        if status is not None:
            settle(store, name, status)


def forget(store, keep_days: float = 30) -> None:
    retention = Retention(store, keep_days * DAY, lambda: NOW)
    while retention.step():
        pass


def left(store) -> tuple[set[str], set[str]]:
    """Ids of episodes and of notices."""
    episodes = {key.decode() for _, key, _, _ in store.episodes()}
    return episodes, {one.notice.id for one in store.deliveries()}


def test_closed_calls_and_their_notices_are_forgotten_when_they_are_old(store):
    """With their audit trail; what is younger stays, and so does what is open, however old."""
    old, young, open_ = episode("old", 10 * DAY), episode("young", 90 * DAY), episode("open", None)
    commit(store, committed(1, *map(fact, (old, young, open_))))
    for one, at in ((old, 10 * DAY), (young, 90 * DAY), (open_, 1.0)):
        told(store, one, at)
    commit(store, committed(2))
    commit(store, committed(3))
    finalize(store, 3)
    forget(store)
    assert left(store) == ({"young", "open"}, {"young-opened", "young-cured", "open-opened"})
    assert {entry.subject for entry in store.audit()} == {"young-opened", "young-cured", "open-opened"}
    forget(store)
    assert left(store)[0] == {"young", "open"}


def test_what_a_reorg_could_bring_back_is_kept(store):
    """Until its block is final, whatever the clock says."""
    commit(store, committed(1, fact(episode("old", 10.0))))
    commit(store, committed(2))
    forget(store)
    assert left(store)[0] == {"old"}
    finalize(store, 2)
    forget(store)
    assert left(store)[0] == set()


def test_a_notice_on_its_way_is_kept_with_its_call(store):
    """A dead channel that comes back after months still tells."""
    stuck = episode("stuck", 10 * DAY)
    commit(store, committed(1, fact(stuck)))
    told(store, stuck, 10 * DAY, status=None)
    commit(store, committed(2))
    commit(store, committed(3))
    finalize(store, 3)
    forget(store)
    assert left(store) == ({"stuck"}, {"stuck-opened", "stuck-cured"})


def test_what_readers_still_believe_is_kept(store):
    """A condition that was told of and still stands: else its end would never be told."""
    commit(store, committed(1))
    for name, event, of in (
        ("begun", NoticeEvent.UNHEALTHY, "keeper:heads@ops"),
        ("begun-2", NoticeEvent.UNHEALTHY, "keeper:gas@ops"),
        ("over-2", NoticeEvent.RECOVERED, "keeper:gas@ops"),
    ):
        tell(store, notice(name, 0, event, of=of), due_at=10 * DAY)
        settle(store, name, DeliveryStatus.SENT)
    forget(store)
    assert left(store)[1] == {"begun"}
    assert not store.told()["keeper:heads@ops"].event.closes


def test_our_own_transactions_are_kept_for_ever(store):
    """They are the books; their trail is that of where the money went."""
    with store.transaction() as tx:
        tx.put_intent(intent("paid"))
    forget(store, keep_days=1)
    assert store.intent("paid") is not None
    assert [entry.subject for entry in store.audit()] == ["paid"]


def test_no_step_does_much(store):
    """So that a block never waits long for the database."""
    old = [episode(f"e{number:04}", 10.0) for number in range(3 * AT_ONCE)]
    commit(store, committed(1, *map(fact, old)))
    commit(store, committed(2))
    finalize(store, 2)
    retention, before = Retention(store, DAY, lambda: NOW), len(old)
    while retention.step():
        now = len(left(store)[0])
        assert before - now <= AT_ONCE
        before = now
    assert before == 0

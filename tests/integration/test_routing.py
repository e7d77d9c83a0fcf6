"""Rules over a real outbox and real HTTP: storms, nights, acknowledgements, channels that misbehave, and SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from keeper.core.ports import Notifier, Store
from keeper.core.records import DeliveryStatus, Notice, NoticeEvent
from keeper.core.secret import Secret
from keeper.core.types import Band
from keeper.notifier import outbox, queue
from keeper.notifier.acktoken import make_token
from keeper.notifier.obey import obey
from keeper.notifier.outbox import Deliverer
from keeper.notifier.queue import LATE_S, LOOKED_AT, take
from keeper.notifier.quiet import QuietHours, parse_hours, parse_zone
from keeper.notifier.requests import ACKNOWLEDGE, Requests
from keeper.notifier.routing import Route, Router
from keeper.notifier.webhook import WebhookChannel
from keeper.store import open_store
from tests.support.inbox import open_inbox
from tests.support.notices import notice
from tests.support.receiver import HANG, RESET, Receiver, receiver

QUICK = wait_fixed(0.05)
WORKER = Path(__file__).with_name("delivery_worker.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as opened:
        yield opened


def put(store: Store, notices: Sequence[Notice], channels: Sequence[str], at: float | None = None) -> None:
    with store.transaction() as tx:
        for each in notices:
            tx.add_notice(each, channels, due_at=time.time() if at is None else at)


def hook(told: Receiver, name: str) -> WebhookChannel:
    return WebhookChannel(name, Secret(told.url), None, Band.CALL)


def statuses(store: Store, channel: str) -> list[str]:
    return [one.status.value for one in store.deliveries() if one.channel == channel]


async def until(condition: Any, limit_s: float = 15.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def delivering(
    store: Store,
    *channels: Notifier,
    router: Router,
    requests: Requests | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(store, channels, clock, QUICK, router=router, requests=requests)
    running = asyncio.create_task(deliverer.run())
    await asyncio.sleep(0)
    try:
        yield deliverer
    finally:
        await deliverer.drain(0.2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for channel in channels:
            await channel.close()


def storm(count: int) -> list[Notice]:
    """Positions that are called one after the other, every third of them deeper at once, every fifth cured."""
    notices = []
    for number in range(count):
        which, step = divmod(number, 2)
        position = f"aave:{which}"
        if step == 0:
            notices.append(notice(number, position=position))
        elif which % 3 == 0:
            notices.append(notice(number, position=position, event=NoticeEvent.ESCALATED, band="urgent"))
        elif which % 5 == 0:
            notices.append(notice(number, position=position, event=NoticeEvent.CURED))
    return notices


def said(bodies: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Position and notice id of everything told, in order, whether by itself or in a summary."""
    told = []
    for body in bodies:
        told += [(one["position"], one["id"]) for one in (body["notices"] if body["event"] == "summary" else [body])]
    return told


def by_position(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for position, notice_id in pairs:
        found.setdefault(position, []).append(notice_id)
    return found


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_in_a_storm_every_band_change_is_told_in_order_within_the_limit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 calls at a channel of ten messages a minute: so many that none goes by itself; later ones in order."""
    monkeypatch.setattr(queue, "MINUTE_S", 2.0)
    notices = storm(1000)
    assert sum(one.event is NoticeEvent.OPENED for one in notices) == 500
    assert len(notices) > 500
    async with receiver() as told:
        channel = hook(told, "hook")
        put(store, notices, ["hook"])
        started = time.time()
        async with delivering(store, channel, router=Router.of([Route(channel="hook", per_minute=10)])) as deliverer:
            await until(lambda: set(statuses(store, "hook")) == {"sent"})
            first = len(told.requests)
            later = notice(9_000, position="aave:0", event=NoticeEvent.CURED)
            put(store, [later], ["hook"])
            deliverer.wake()
            await until(lambda: set(statuses(store, "hook")) == {"sent"})
        minutes = (time.time() - started) / 2.0
        bodies = [json.loads(request.body) for request in told.requests]
    assert first <= 10
    assert max(len(request.body) for request in told.requests) < 700_000
    assert len(bodies) <= 10 * (int(minutes) + 1)
    wanted = by_position([(one.position, one.id) for one in (*notices, later)])
    assert by_position(said(bodies)) == wanted
    summary = next(body for body in bodies if body["event"] == "summary")
    for one in summary["notices"]:
        assert one["position"] in summary["text"]
        assert one["band"] in summary["text"]


async def test_a_limit_that_is_spent_delays_nothing_beyond_its_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that comes alone after a busy minute is told by itself when the minute is over, without anybody's help."""
    monkeypatch.setattr(queue, "MINUTE_S", 0.5)
    async with receiver() as told:
        channel = hook(told, "hook")
        put(store, [notice(1, position="a")], ["hook"])
        async with delivering(store, channel, router=Router.of([Route(channel="hook", per_minute=1)])) as deliverer:
            await told.until(1)
            put(store, [notice(2, position="b")], ["hook"])
            deliverer.wake()
            await told.until(2)
        assert [json.loads(request.body)["id"] for request in told.requests] == ["notice-1", "notice-2"]


def test_what_waits_is_not_looked_at_while_the_minute_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for the next minute to tell; but what may have been seen is told again whatever the limit says."""
    route = Route(channel="hook", per_minute=1)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(1, position="aave:1")], ["hook"], 0.0)
        assert [one.notice.id for one in take(store, route, 0.0).claimed] == ["notice-1"]
        put(store, [notice(number, position=f"aave:{number}") for number in (2, 3)], ["hook"], 0.0)
        looked_at: list[str] = []
        waiting = store.waiting
        monkeypatch.setattr(
            store, "waiting", lambda name, position: looked_at.append(position) or waiting(name, position)
        )
        spent = take(store, route, 1.0, flying=["notice-1"])
        assert (spent.claimed, spent.moved, spent.look_again_at, looked_at) == ((), False, 61.0, [])
        assert [one.notice.id for one in take(store, route, 2.0).claimed] == ["notice-1"]
        with store.transaction() as tx:
            tx.settle("notice-1", "hook", DeliveryStatus.SENT, at=2.0)
        assert (take(store, route, 3.0).claimed, looked_at) == ((), [])
        (summary,) = take(store, route, 63.0).claimed
        assert set(looked_at) == {"aave:2", "aave:3"}
        assert summary.notice.event is NoticeEvent.SUMMARY


def test_what_may_have_been_seen_is_repeated_however_much_older_waits(tmp_path: Path) -> None:
    """It counts as a message of the minute until it is settled: would it wait its turn, nothing were told any more."""
    route = Route(channel="hook", per_minute=2)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(n, position=f"aave:{n}") for n in range(3 * LOOKED_AT)], ["hook"], 0.0)
        first = take(store, route, 0.0).claimed[0].notice
        second = take(store, route, 0.0, flying=[first.id]).claimed[0].notice
        assert {first.event, second.event} == {NoticeEvent.SUMMARY}
        again = take(store, route, 100.0).claimed
        assert [one.notice.id for one in again] == [first.id, second.id]


def test_a_summary_that_nobody_saw_is_sent_before_what_waits(tmp_path: Path) -> None:
    """The receiver refused the connection once: its calls are the deepest, or the oldest, and a second later they go,
    not behind the hundreds that the limit lets through in the minutes to come. What it takes of the limit it keeps."""
    route = Route(channel="hook", per_minute=4)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(n, position=f"aave:{n}") for n in range(5 * LOOKED_AT)], ["hook"], 0.0)
        (whole,) = take(store, route, 0.0).claimed
        assert (whole.status, whole.notice.event) == (DeliveryStatus.PENDING, NoticeEvent.SUMMARY)
        with store.transaction() as tx:
            tx.settle(whole.notice.id, "hook", DeliveryStatus.PENDING, at=0.0, due_at=1.0, error="connection refused")
        flying: list[str] = []
        for _ in range(10):
            flying += [one.notice.id for one in take(store, route, 0.5, flying).claimed]
        assert len(flying) == 3
        assert [one.notice.id for one in take(store, route, 1.0, flying).claimed] == [whole.notice.id]


def lasting(store: Store, route: Route, status: DeliveryStatus, *, hours: float) -> Iterator[tuple[float, Notice]]:
    """Everything that is sent besides five calls that the channel never takes, one every two minutes, with its time,
    and a new one an hour later. Pauses between attempts are those of every channel."""
    bad = [notice(n, position=f"aave:{n}", band="liquidatable") for n in range(1, 6)]
    now, attempts = 0.0, dict.fromkeys((one.id for one in bad), 0)
    while now < hours * 3600:
        if now % 120 == 0 and now < 600:
            put(store, [bad[int(now / 120)]], ["hook"], now)
        now += 1.0
        if now == 3600.0:
            put(store, [notice(50, position="aave:50")], ["hook"], now)
        for one in take(store, route, now).claimed:
            name = one.notice.id
            with store.transaction() as tx:
                if name in attempts:
                    attempts[name] += 1
                    tx.settle(name, "hook", status, at=now, due_at=now + min(2.0 ** (attempts[name] - 1), 60.0))
                else:
                    tx.settle(name, "hook", DeliveryStatus.SENT, at=now)
            if name not in attempts:
                yield now, one.notice


@pytest.mark.parametrize("limit", [1, 4, 5, 20])
@pytest.mark.parametrize("status", [DeliveryStatus.SENDING, DeliveryStatus.PENDING])
def test_notices_that_a_receiver_never_takes_leave_the_channel_to_what_is_new(
    tmp_path: Path, limit: int, status: DeliveryStatus
) -> None:
    """Five are repeated once a minute for days. A new call is not among what the limit then allows no more, nor
    told together with one that takes it down; it comes alone, within a minute or two."""
    route = Route(channel="hook", per_minute=limit)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        now, told = next(lasting(store, route, status, hours=1.1))
    assert (told.id, now <= 3600.0 + 120.0) == ("notice-50", True)


@pytest.mark.parametrize("status", [DeliveryStatus.SENDING, DeliveryStatus.PENDING])
def test_nothing_is_sent_to_a_channel_that_is_another_now(tmp_path: Path, status: DeliveryStatus) -> None:
    """By itself or in a summary, seen before or not. What a summary holds for it besides comes by itself, or, where it
    may have been seen, is believed by nobody and so is told anew if it is true."""
    before, after = Route(channel="hook", per_minute=2), Route(channel="hook", accounts=frozenset({b"\x07" * 20}))
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(n, position=f"aave:{n}") for n in (1, 2, 7)], ["hook"], 0.0)
        single, whole = take(store, before, 0.0).claimed
        assert [one["account"][-2:] for one in whole.notice.body["notices"]] == ["02", "07"]
        for one in (single, whole):
            with store.transaction() as tx:
                tx.settle(one.notice.id, "hook", status, at=0.0, due_at=1.0)
        sent = send_all(store, after, 2.0)
        unseen = status is DeliveryStatus.PENDING
        assert [one.id for one in sent] == (["notice-7"] if unseen else [])
        assert set(store.told()) == ({"aave:7"} if unseen else set())


def test_an_acknowledged_call_is_not_told_by_a_summary_either(tmp_path: Path) -> None:
    """The pager could not be reached. What else the summary tells goes by itself."""
    phone = Route(channel="phone", escalates="chat", patience_s=60.0, per_minute=1)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(1, position="aave:1"), notice(2, position="aave:2")], ["chat", "phone"], 0.0)
        send_all(store, Route(channel="chat"), 0.0)
        while not (claimed := take(store, phone, 100.0).claimed):
            pass
        (whole,) = claimed
        assert whole.notice.event is NoticeEvent.SUMMARY
        with store.transaction() as tx:
            tx.settle(whole.notice.id, "phone", DeliveryStatus.PENDING, at=100.0, due_at=102.0, error="no connection")
        requests = Requests(tmp_path / "requests")
        requests.leave(ACKNOWLEDGE, 101.0, episode="episode-of-aave:1", by="alice")
        assert obey(store, requests, Router.of([Route(channel="chat"), phone]), lambda: 101.0) == 1
        (entry,) = store.audit("episode-of-aave:1")
        assert entry.evidence["stopped"] == ["notice-1"]
        assert [one.id for one in send_all(store, phone, 103.0)] == ["notice-2"]
        assert store.delivery("notice-1", "phone").status is DeliveryStatus.DROPPED  # type: ignore[union-attr]


async def test_a_summary_that_is_too_long_for_its_receiver_is_told_in_shorter_ones(store: Store) -> None:
    """413 says nothing against what the receiver would take by itself: nothing waits, or is lost, with it, and order
    holds."""
    notices = storm(300)
    async with receiver() as told:
        told.largest = 20_000
        put(store, notices, ["hook"])
        async with delivering(store, hook(told, "hook"), router=Router.of([Route(channel="hook", per_minute=60)])):
            await until(lambda: {*statuses(store, "hook")} <= {"sent", "dropped"})
    bodies = [json.loads(one.body) for one in told.requests if len(one.body) <= told.largest]
    assert len(bodies) < len(told.requests) < 60
    assert len([one for one in bodies if one["event"] == "summary"]) > 2
    assert by_position(said(bodies)) == by_position([(one.position, one.id) for one in notices])


async def test_a_receiver_for_which_everything_is_too_long_is_tried_as_any_that_takes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one in the end, for as long as it takes: it may be mended. Nothing is lost by then."""
    monkeypatch.setattr(queue, "MINUTE_S", 1.0)
    notices = storm(12)
    async with receiver(otherwise=413) as told:
        put(store, notices, ["hook"])
        async with delivering(store, hook(told, "hook"), router=Router.of([Route(channel="hook", per_minute=5)])):
            await told.until(20)
            assert {"dropped", "pending"} <= {*statuses(store, "hook")} <= {"dropped", "pending", "sending"}
            told.otherwise = 200
            await until(lambda: {*statuses(store, "hook")} == {"dropped", "sent"})
    carried = {one.notice.id: one for one in store.deliveries()}
    assert all(carried[one.id].status is DeliveryStatus.SENT for one in notices)


async def test_a_summary_that_certainly_did_not_arrive_is_not_believed(store: Store) -> None:
    """As any other notice: a reorg may take it back."""
    unreachable = WebhookChannel("hook", Secret("http://127.0.0.1:1/"), None, Band.CALL)
    put(store, [notice(1, position="a"), notice(2, position="b")], ["hook"])
    async with delivering(store, unreachable, router=Router.of([Route(channel="hook", per_minute=1)])):
        await until(lambda: any(one.attempts for one in store.deliveries()))
        await until(lambda: statuses(store, "hook") == ["pending"] * 3)
    assert [one.notice.event for one in store.deliveries()][-1] is NoticeEvent.SUMMARY


def test_what_is_over_does_not_wait_for_a_channel_that_hardly_answers(tmp_path: Path) -> None:
    """Repetitions take up every minute, so nothing new is sent; what waits is bounded by the positions all the same."""
    route, crowd = Route(channel="hook", per_minute=1), range(2, 2 * LOOKED_AT + 2)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(1, position="aave:1")], ["hook"], 0.0)
        assert [one.notice.id for one in take(store, route, 0.0).claimed] == ["notice-1"]
        put(store, [notice(number, position=f"aave:{number}") for number in crowd], ["hook"], 0.0)
        cured = [notice(1_000 + n, position=f"aave:{n}", event=NoticeEvent.CURED) for n in crowd]
        put(store, cured, ["hook"], 100.0)
        for now in (LATE_S + 1, LATE_S + 2):
            assert [one.notice.id for one in take(store, route, now).claimed] == ["notice-1"]
        assert len(store.outbox(LATE_S + 3, 10_000, channel="hook")) < LOOKED_AT
        assert statuses(store, "hook").count("dropped") > 3 * LOOKED_AT


# --- quiet hours ------------------------------------------------------------------------------------------------------


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def send_all(store: Store, route: Route, now: float) -> list[Notice]:
    """What the channel is sent at this moment, all of it accepted."""
    sent: list[Notice] = []
    while True:
        chosen = take(store, route, now)
        for delivery in chosen.claimed:
            with store.transaction() as tx:
                tx.settle(delivery.notice.id, route.channel, DeliveryStatus.SENT, at=now)
            sent.append(delivery.notice)
        if not chosen.claimed and not chosen.moved:
            return sent


def test_the_night_of_the_change_of_clocks_is_told_when_it_ends(tmp_path: Path) -> None:
    """Berlin, 24 to 25 October 2026: the night has ten hours, and a restart in the middle of it changes nothing.

    Evening: one call is told. Night: it deepens within the call's band's quiet, another opens, one opens and is cured,
    one becomes urgent. Morning: what is still true, in one message.
    """
    url = f"sqlite:///{tmp_path}/keeper.db"
    route = Route(channel="hook", quiet=QuietHours(parse_hours("22:00-07:00"), parse_zone("Europe/Berlin")))
    evening, night, late = at("2026-10-24 19:59"), at("2026-10-25 00:30"), at("2026-10-25 05:59:59")
    with closing(open_store(url, chain_id=31337)) as store:
        put(store, [notice(1, position="evening")], ["hook"], evening)
        assert [one.id for one in send_all(store, route, evening)] == ["notice-1"]
        put(
            store,
            [notice(2, position="night"), notice(3, position="over"), notice(4, position="deep")],
            ["hook"],
            night,
        )
        assert send_all(store, route, night) == []
    with closing(open_store(url, chain_id=31337)) as store:
        assert statuses(store, "hook") == ["sent", "held", "held", "held"]
        assert store.next_due("hook", night) == at("2026-10-25 06:00")
        put(store, [notice(5, position="over", event=NoticeEvent.CURED)], ["hook"], night)
        put(store, [notice(6, position="evening", event=NoticeEvent.CURED)], ["hook"], night)
        put(store, [notice(7, position="deep", event=NoticeEvent.ESCALATED, band="urgent")], ["hook"], night)
        assert [one.id for one in send_all(store, route, night)] == ["notice-4", "notice-7"]
        assert send_all(store, route, late) == []
        (morning,) = send_all(store, route, at("2026-10-25 06:00"))
    assert [one["id"] for one in morning.body["notices"]] == ["notice-2", "notice-6"]
    assert "over" not in morning.text


# --- escalation -------------------------------------------------------------------------------------------------------

CHAIN = Router.of([Route(channel="chat"), Route(channel="phone", escalates="chat", patience_s=0.4)])


async def test_a_call_that_nobody_acknowledges_is_told_on_the_next_channel(store: Store, tmp_path: Path) -> None:
    """And its end is told on both."""
    async with receiver() as chat, receiver() as phone:
        put(store, [notice(1)], ["chat", "phone"])
        channels = (hook(chat, "chat"), hook(phone, "phone"))
        async with delivering(store, *channels, router=CHAIN, requests=Requests(tmp_path / "requests")) as deliverer:
            await chat.until(1)
            assert phone.requests == []
            await phone.until(1)
            put(store, [notice(2, event=NoticeEvent.CURED)], ["chat", "phone"])
            deliverer.wake()
            await chat.until(2)
            await phone.until(2)


async def test_an_acknowledgement_stops_the_escalation_and_a_deeper_band_asks_anew(
    store: Store, tmp_path: Path
) -> None:
    requests = Requests(tmp_path / "requests")
    async with receiver() as chat, receiver() as phone:
        put(store, [notice(1)], ["chat", "phone"])
        async with delivering(
            store, hook(chat, "chat"), hook(phone, "phone"), router=CHAIN, requests=requests
        ) as deliverer:
            await chat.until(1)
            requests.leave(ACKNOWLEDGE, time.time(), episode="episode-of-aave:0xA", by="alice")
            await asyncio.sleep(0.8)
            assert phone.requests == []
            put(store, [notice(2, event=NoticeEvent.ESCALATED, band="urgent")], ["chat", "phone"])
            deliverer.wake()
            (told,) = await phone.until(1)
        assert json.loads(told.body)["id"] == "notice-2"
    assert statuses(store, "phone")[0] == "dropped"
    (entry, *_) = store.audit("episode-of-aave:0xA")
    assert (entry.event, entry.evidence["by"], entry.evidence["stopped"]) == ("acknowledged", "alice", ["notice-1"])
    assert list(requests.pending()) == []


@pytest.mark.parametrize("restarted", [False, True], ids=["meanwhile", "before a start"])
@pytest.mark.parametrize("acknowledged", [False, True], ids=["silence", "acknowledged"])
async def test_a_clock_that_is_set_back_neither_delays_an_escalation_nor_outlives_an_acknowledgement(
    store: Store, tmp_path: Path, acknowledged: bool, restarted: bool
) -> None:
    """It was an hour fast when the call was made, told, and held for the next channel."""
    requests, fast_s = Requests(tmp_path / "requests"), 3_600.0
    router = Router.of([Route(channel="chat"), Route(channel="phone", escalates="chat", patience_s=2.0)])

    def clock() -> float:
        return time.time() + fast_s

    async with receiver() as chat, receiver() as phone:
        channels = (hook(chat, "chat"), hook(phone, "phone"))
        async with delivering(store, *channels, router=router, requests=requests, clock=clock):
            put(store, [notice(1)], ["chat", "phone"], clock())
            await until(lambda: statuses(store, "phone") == ["held"])
            if not restarted:
                fast_s = 0.0
                await until(lambda: store.deliveries()[-1].created_at <= time.time(), 5.0)
        if restarted:
            fast_s = 0.0
        channels = (hook(chat, "chat"), hook(phone, "phone"))
        async with delivering(store, *channels, router=router, requests=requests, clock=clock):
            if acknowledged:
                requests.leave(ACKNOWLEDGE, time.time(), episode="episode-of-aave:0xA", by="alice")
                await until(lambda: statuses(store, "phone") == ["dropped"], 3.0)
                await asyncio.sleep(0.5)
                assert phone.requests == []
            else:
                await phone.until(1)


def test_an_acknowledgement_covers_what_was_made_by_a_clock_that_was_set_back_since(
    store: Store, tmp_path: Path
) -> None:
    requests = Requests(tmp_path / "requests")
    put(store, [notice(1)], ["chat", "phone"], 4_600.0)
    requests.leave(ACKNOWLEDGE, 1_000.0, episode="episode-of-aave:0xA", by="alice")
    assert obey(store, requests, CHAIN, lambda: 1_001.0) == 1
    assert statuses(store, "phone") == ["dropped"]


@pytest.mark.parametrize("seed", range(2))
async def test_an_acknowledgement_that_races_with_the_escalation_wins_or_comes_too_late(
    store: Store, tmp_path: Path, seed: int
) -> None:
    """Forty calls, each acknowledged about when it is due: an acknowledgement that is durable before then stops it, one
    that is not may come too late. No call is both stopped and told, and none is neither."""
    dice, requests = random.Random(seed), Requests(tmp_path / "requests")
    slow = Router.of([Route(channel="chat"), Route(channel="phone", escalates="chat", patience_s=2.5)])
    calls = [notice(number, position=f"aave:{number}") for number in range(40)]
    acknowledged: dict[str, float] = {}
    async with receiver() as chat, receiver() as phone:
        put(store, calls, ["chat", "phone"])
        async with delivering(store, hook(chat, "chat"), hook(phone, "phone"), router=slow, requests=requests):
            await chat.until(40)

            async def acknowledge(call: Notice) -> None:
                await asyncio.sleep(dice.uniform(0.0, 3.0))
                requests.leave(ACKNOWLEDGE, time.time(), episode=call.episode, by="alice")
                acknowledged[call.id] = time.time()

            await asyncio.gather(*(acknowledge(call) for call in calls))
            await until(lambda: not set(statuses(store, "phone")) & {"pending", "held", "sending"})
        rung = {json.loads(request.body)["id"] for request in phone.requests}
    outcome = {one.notice.id: one for one in store.deliveries() if one.channel == "phone"}
    assert {one for one, delivery in outcome.items() if delivery.status is DeliveryStatus.SENT} == rung
    assert {delivery.status.value for delivery in outcome.values()} <= {"sent", "dropped"}
    in_time = {one for one, when in acknowledged.items() if when < outcome[one].created_at + 2.5}
    assert in_time
    for call in calls:
        if call.id in in_time:
            assert outcome[call.id].error == "acknowledged by alice"


def test_an_acknowledgement_that_a_crash_repeats_does_not_cover_what_came_after(store: Store, tmp_path: Path) -> None:
    """The crash comes after it is durable in the store and before its file is removed."""
    requests = Requests(tmp_path / "requests")
    put(store, [notice(1)], ["chat", "phone"], 100.0)
    requests.leave(ACKNOWLEDGE, 1_000.0, episode="episode-of-aave:0xA", by="alice")
    (file,) = (tmp_path / "requests").iterdir()
    kept = file.read_bytes()
    assert obey(store, requests, CHAIN, lambda: 1_000.0) == 1
    file.write_bytes(kept)
    put(store, [notice(2, event=NoticeEvent.ESCALATED, band="urgent")], ["chat", "phone"], 900.0)
    assert obey(store, requests, CHAIN, lambda: 1_001.0) == 1
    assert statuses(store, "phone") == ["dropped", "pending"]
    assert len(list(store.audit("episode-of-aave:0xA"))) == 1


def test_what_is_no_request_is_put_aside(store: Store, tmp_path: Path) -> None:
    """A half-written or foreign file stops nothing, and is not read for ever."""
    requests = Requests(tmp_path / "requests")
    requests.folder.mkdir()
    (requests.folder / "000.json").write_text("{not json")
    (requests.folder / "001.json").write_text('["a list"]')
    (requests.folder / "002.draft").write_text('{"do": "acknowledge"')
    requests.leave(ACKNOWLEDGE, 1.0, episode="e", by="b")
    assert [one.do for one in requests.pending()] == [ACKNOWLEDGE]
    assert sorted(file.suffix for file in requests.folder.iterdir()) == [".draft", ".json", ".refused", ".refused"]


# --- channels that misbehave ------------------------------------------------------------------------------------------


async def test_channels_that_answer_500_hang_or_reset_delay_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one position of theirs delay another of a channel that works."""
    monkeypatch.setattr("keeper.notifier.webhook.TIMEOUT_S", 30.0)
    notices = [notice(number, position=f"aave:{number % 10}") for number in range(50)]
    async with (
        receiver(otherwise=500) as broken,
        receiver(otherwise=HANG) as hanging,
        receiver(otherwise=RESET) as cutting,
        receiver() as fine,
    ):
        named = {"broken": broken, "hanging": hanging, "cutting": cutting, "fine": fine}
        channels = [hook(one, name) for name, one in named.items()]
        put(store, notices, list(named))
        async with delivering(store, *channels, router=Router(())) as deliverer:
            await until(lambda: set(statuses(store, "fine")) == {"sent"})
            await until(lambda: deliverer.outcomes["fine", "sent"] == 50)  # counted once the outbox has rested
            await until(lambda: deliverer.outcomes["broken", "delayed"] > 0 < deliverer.outcomes["cutting", "delayed"])
            for name in ("broken", "hanging", "cutting"):
                assert "sent" not in statuses(store, name)
        assert [json.loads(r.body)["id"] for r in fine.requests if json.loads(r.body)["position"] == "aave:3"] == [
            f"notice-{number}" for number in range(3, 50, 10)
        ]


async def test_a_notice_that_hangs_holds_up_only_its_own_position(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver never answers the first request; forty others, and later ones, arrive while it hangs."""
    monkeypatch.setattr("keeper.notifier.webhook.TIMEOUT_S", 30.0)
    notices = [notice(number, position=f"aave:{number}") for number in range(41)]
    behind = notice(99, position="aave:0", event=NoticeEvent.CURED)
    async with receiver([HANG]) as told:
        channel = hook(told, "hook")
        put(store, [notices[0]], ["hook"])
        async with delivering(store, channel, router=Router(())) as deliverer:
            await told.until(1)
            put(store, [behind, *notices[1:]], ["hook"])
            deliverer.wake()
            await until(lambda: statuses(store, "hook").count("sent") == 40)
            ids = [json.loads(request.body)["id"] for request in told.requests]
        assert ids[0] == "notice-0"
        assert len(ids) == len(set(ids)) == 41
        assert "notice-99" not in ids


async def test_what_is_given_up_is_listed_and_can_be_revived(store: Store, tmp_path: Path) -> None:
    requests = Requests(tmp_path / "requests")
    async with receiver(otherwise=503) as told:
        router = Router.of([Route(channel="hook", give_up_s=0.3)])
        put(store, [notice(1), notice(2, event=NoticeEvent.ESCALATED, band="urgent")], ["hook"])
        async with delivering(store, hook(told, "hook"), router=router, requests=requests) as deliverer:
            await until(lambda: statuses(store, "hook") == ["dead", "dead"])
            assert "given up after" in str(store.deliveries()[0].error)
            assert "503" in str(store.deliveries()[0].error)
            told.otherwise = 200
            requests.leave("retry", time.time(), notice="notice-1", channel="hook")
            await until(lambda: statuses(store, "hook") == ["sent", "dead"])
        assert deliverer.outcomes["hook", "given_up"] == 2
    assert len({request.body for request in told.requests if b'"notice-1"' in request.body}) == 1


# --- SIGKILL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_minute", [0, 3], ids=["one by one", "together"])
def test_a_killed_delivery_loses_no_band_change_and_repeats_only_under_the_same_key(
    tmp_path: Path, per_minute: int
) -> None:
    """The process dies by SIGKILL again and again while its receiver is answering. The inbox checks that a repeated id
    has the same body and a true signature."""
    url, dice = f"sqlite:///{tmp_path}/keeper.db", random.Random(per_minute)
    notices = storm(90)
    waves = [notices[begin : begin + 30] for begin in range(0, len(notices), 30)]
    kills = 0
    with open_inbox() as inbox:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        while waves or not _all_sent(url):
            if waves:
                with closing(open_store(url, chain_id=31337)) as store:
                    put(store, waves.pop(0), ["hook"])
            worker = subprocess.Popen(
                [sys.executable, str(WORKER), url, inbox.url, str(per_minute)],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            fatal = dice.randint(1, 3 if per_minute else 12) if kills < 4 else 10**9
            seen = len(inbox.requests)

            def strike(_: Any, worker: Any = worker, fatal: int = fatal, seen: int = seen) -> None:
                if len(inbox.requests) - seen >= fatal and worker.poll() is None:
                    worker.send_signal(signal.SIGKILL)

            inbox.before_answer = strike
            deadline = time.monotonic() + 30
            while worker.poll() is None and not _all_sent(url):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            kills += worker.poll() is not None
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            worker.wait()
        bodies = inbox.notices()
    assert kills >= 3
    firsts = by_position(said(bodies))
    assert {position: list(dict.fromkeys(ids)) for position, ids in firsts.items()} == by_position(
        [(one.position, one.id) for one in notices]
    )
    assert len(inbox.requests) > len(bodies)  # something was repeated, or no kill hit an attempt


def _all_sent(url: str) -> bool:
    with closing(open_store(url, chain_id=31337, read_only=True)) as store:
        return {one.status for one in store.deliveries()} == {DeliveryStatus.SENT}


# --- the commands -----------------------------------------------------------------------------------------------------

CONFIG = """
[chain]
id = 31337
rpc = ["http://127.0.0.1:1"]
[store]
url = "sqlite:///keeper.db"
[[protocols]]
kind = "aave_v3"
name = "aave"
pool_addresses_provider = "0x0000000000000000000000000000000000000001"
[[notifiers]]
kind = "console"
name = "chat"
[[notifiers]]
kind = "console"
name = "phone"
escalates = "chat"
[acknowledgements]
secret = "a secret of at least sixteen letters"
link = "https://keeper.example/ack/{token}"
"""


def keeper(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keeper", *arguments, "--config", str(folder / "keeper.toml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Path]:
    """A deployment with a call that waits on both channels, while something else writes its database."""
    (tmp_path / "keeper.toml").write_text(CONFIG)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(1)], ["chat", "phone"])
        yield tmp_path


def test_ack_takes_the_id_of_a_call_or_a_notice_or_the_token_of_a_link(told: Path) -> None:
    secret = Secret("a secret of at least sixteen letters")
    with closing(open_store(f"sqlite:///{told}/keeper.db", chain_id=31337, read_only=True)) as store:
        episode = store.deliveries()[0].notice.episode
    token = make_token(secret, 31337, "nobody-s-episode", int(time.time()) + 60)
    for text, by in ((episode, "alice"), ("notice-1", "bob")):
        answer = keeper(told, "ack", text, "--by", by)
        assert answer.returncode == 0, answer.stderr
        assert f"acknowledged by {by}" in answer.stdout
        assert "not told any more: phone" in answer.stdout
    assert [one.fields for one in Requests(told / "keeper.db.requests").pending()] == [
        {"episode": episode, "by": "alice"},
        {"episode": episode, "by": "bob"},
    ]
    unknown = keeper(told, "ack", "notice-2")
    assert unknown.returncode == 1
    assert "did you mean notice-1?" in unknown.stderr
    forged = keeper(told, "ack", token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert (forged.returncode, "not made with our secret" in forged.stderr) == (1, True)
    assert "nobody was told of a call" in keeper(told, "ack", token).stderr


def test_undelivered_notices_are_listed_and_only_dead_ones_are_retried(told: Path) -> None:
    rows = [json.loads(line) for line in keeper(told, "calls", "--undelivered", "--json").stdout.splitlines()]
    assert [(row["id"], row["channel"], row["status"], row["attempts"]) for row in rows] == [
        ("notice-1", "chat", "pending", 0),
        ("notice-1", "phone", "pending", 0),
    ]
    assert "undelivered notices" in keeper(told, "calls", "--undelivered").stdout
    refused = keeper(told, "calls", "retry", "notice-1")
    assert (refused.returncode, "only what is dead" in refused.stderr) == (1, True)
    assert "no notice was given up" in keeper(told, "calls", "retry", "all").stderr


def test_a_dead_notice_is_asked_to_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "keeper.toml").write_text(CONFIG)
    with closing(open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)) as store:
        put(store, [notice(1)], ["chat", "phone"])
        with store.transaction() as tx:
            tx.claim("notice-1", "chat")
            tx.settle("notice-1", "chat", DeliveryStatus.DEAD, at=1.0, error="the account is closed")
    answer = keeper(tmp_path, "calls", "retry", "notice-1", "--channel", "chat")
    assert (answer.returncode, answer.stdout) == (0, "to be tried again: notice-1 on chat\n")
    (request,) = Requests(tmp_path / "keeper.db.requests").pending()
    assert request.fields == {"notice": "notice-1", "channel": "chat"}


def test_listening_is_quick_enough_for_a_person() -> None:
    assert outbox.LISTEN_S <= 1.0

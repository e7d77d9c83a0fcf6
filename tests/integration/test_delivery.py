"""Notices on their way: a real outbox, real HTTP, receivers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from keeper.core.errors import NoticeRefused, StoreError
from keeper.core.ports import Notifier, Store
from keeper.core.records import Delivery, DeliveryStatus, Notice, NoticeEvent
from keeper.core.secret import Secret
from keeper.core.types import Band
from keeper.notifier import webhook
from keeper.notifier.outbox import BURIED_AT_ONCE, Deliverer
from keeper.notifier.webhook import WebhookChannel
from keeper.store import open_store
from tests.support.notices import notice
from tests.support.receiver import HANG, RESET, Receiver, receiver

QUICK = wait_fixed(0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/keeper.db", chain_id=31337)
    yield store
    store.close()


class Scripted:
    """A channel in memory: refuses, crashes or hangs on the notices it is told to."""

    min_band = Band.CALL

    def __init__(self, name: str, *, fail: dict[str, Exception] | None = None, hang: bool = False) -> None:
        self.name = name
        self.sent: list[str] = []
        self._fail = fail or {}
        self._hang = hang

    async def send(self, notice: Notice) -> None:
        if self._hang:
            await asyncio.sleep(3600)
        self.sent.append(notice.id)
        if notice.id in self._fail:
            raise self._fail.pop(notice.id)

    async def check(self) -> str:
        return "in memory"

    async def close(self) -> None:
        return


def put(store: Store, notices: Sequence[Notice], channels: Sequence[Notifier]) -> None:
    with store.transaction() as tx:
        for each in notices:
            tx.add_notice(each, [channel.name for channel in channels], due_at=0.0)


def statuses(store: Store, channel: Notifier) -> list[DeliveryStatus]:
    return [delivery.status for delivery in store.deliveries() if delivery.channel == channel.name]


@asynccontextmanager
async def delivering(store: Store, *channels: Notifier) -> AsyncIterator[Deliverer]:
    deliverer = Deliverer(store, channels, time.time, QUICK)
    running = asyncio.create_task(deliverer.run())
    await asyncio.sleep(0)
    try:
        yield deliverer
        await deliverer.drain(5.0)
        async with asyncio.timeout(5.0):
            await running
    finally:
        running.cancel()
        for channel in channels:
            await channel.close()


async def settled(store: Store, channel: Notifier, count: int = 1) -> None:
    final = (DeliveryStatus.SENT, DeliveryStatus.DEAD)
    async with asyncio.timeout(10.0):
        while sum(status in final for status in statuses(store, channel)) < count:
            await asyncio.sleep(0.01)


def hook(receiver: Receiver, name: str = "hook", secret: str | None = None) -> WebhookChannel:
    return WebhookChannel(name, Secret(receiver.url), Secret(secret) if secret else None, Band.CALL)


# --- the webhook on the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [[500, 500], [404], [302], [429], [RESET], [RESET, 503, 401]])
async def test_a_notice_is_repeated_until_2xx_with_the_same_id_and_body(store: Store, trouble: list[int]) -> None:
    """Whatever is not 2xx, a broken connection or a redirect too, is tried again; the receiver sees one notice."""
    async with receiver(trouble) as told:
        channel = hook(told)
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            await settled(store, channel)
        assert len(told.requests) == len(trouble) + 1
        assert {request.path for request in told.requests} == {"/hook"}
        assert {request.headers["Idempotency-Key"] for request in told.requests} == {"notice-1"}
        assert len({request.body for request in told.requests}) == 1
    assert statuses(store, channel) == [DeliveryStatus.SENT]
    assert store.deliveries()[0].attempts == len(trouble) + 1


async def test_silence_beyond_the_limit_counts_as_a_failed_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    async with receiver([HANG]) as told:
        channel = hook(told)
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            await settled(store, channel)
        assert len(told.requests) == 2
    assert statuses(store, channel) == [DeliveryStatus.SENT]


async def test_the_body_is_what_the_interface_promises() -> None:
    """The notice's fields and its two texts, as UTF-8 JSON."""
    async with receiver() as told:
        channel = hook(told)
        await channel.send(notice())
        await channel.close()
        (request,) = told.requests
        body = json.loads(request.body)
        assert request.headers["Content-Type"] == "application/json"
        assert "X-Keeper-Signature" not in request.headers
        assert body == {**notice().body, "text": notice().text, "markdown": notice().markdown, "html": notice().html}


async def test_the_signature_verifies_over_timestamp_and_body() -> None:
    """A receiver that knows the secret can verify who sent it and when."""
    async with receiver() as told:
        channel = WebhookChannel("hook", Secret(told.url), Secret("s3cret"), Band.CALL, clock=lambda: 1_700_000_000.9)
        await channel.send(notice())
        await channel.close()
        (request,) = told.requests
        expected = hmac.new(b"s3cret", b"1700000000." + request.body, hashlib.sha256).hexdigest()
        assert request.headers["X-Keeper-Timestamp"] == "1700000000"
        assert request.headers["X-Keeper-Signature"] == f"sha256={expected}"


async def test_what_nobody_can_have_seen_goes_back_to_pending(store: Store) -> None:
    """Nothing listens: the delivery may still be dropped by a reorg, because nobody was told."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound but not listening: every connection is refused
        channel = WebhookChannel("hook", Secret(f"http://127.0.0.1:{reserved.getsockname()[1]}/"), None, Band.CALL)
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            async with asyncio.timeout(5.0):
                while store.deliveries()[0].attempts == 0:
                    await asyncio.sleep(0.01)
        assert statuses(store, channel) == [DeliveryStatus.PENDING]
        assert "cannot connect" in str(store.deliveries()[0].error)


async def test_what_may_have_been_seen_counts_as_told_until_it_is_settled(store: Store) -> None:
    """The connection broke after the request: a reorg must withdraw it, not forget it."""
    async with receiver(otherwise=RESET) as told:
        channel = hook(told)
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            await told.until(2)
    assert statuses(store, channel) == [DeliveryStatus.SENDING]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        *((answer, DeliveryStatus.PENDING) for answer in (400, 404, 413, 422)),
        *((answer, DeliveryStatus.SENDING) for answer in (302, 408, 425, 429, 500, 503)),
    ],
)
async def test_an_answer_that_refuses_the_request_says_that_nobody_saw_it(
    store: Store, answer: int, status: DeliveryStatus
) -> None:
    """It is tried again, and meanwhile takes up nothing of the limit. Other answers blame the moment or the receiver,
    who may have passed it on all the same."""
    async with receiver(otherwise=answer) as told:
        channel = hook(told)
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            await told.until(2)
    assert statuses(store, channel) == [status]


# --- the outbox -------------------------------------------------------------------------------------------------------


async def test_a_hanging_channel_delays_no_other(store: Store) -> None:
    stuck, quick = Scripted("stuck", hang=True), Scripted("quick")
    notices = [notice(number, position=f"aave:{number}") for number in range(40)]
    put(store, notices, [stuck, quick])
    deliverer = Deliverer(store, [stuck, quick], time.time, QUICK)
    running = asyncio.create_task(deliverer.run())
    await settled(store, quick, 40)
    await deliverer.drain(0.05)
    await running
    assert sorted(quick.sent) == sorted(each.id for each in notices)
    assert set(statuses(store, stuck)) == {DeliveryStatus.SENDING, DeliveryStatus.PENDING}


async def test_a_notice_is_on_its_way_in_the_store_before_its_first_byte_leaves(tmp_path: Path) -> None:
    """As another process sees it, so that no kill makes it forget that somebody may have been told."""
    url = f"sqlite:///{tmp_path}/keeper.db"
    seen: list[DeliveryStatus] = []

    class Looking(Scripted):
        async def send(self, notice: Notice) -> None:
            with closing(open_store(url, chain_id=31337, read_only=True)) as reader:
                seen.extend(statuses(reader, self))
            await super().send(notice)

    with closing(open_store(url, chain_id=31337)) as store:
        channel = Looking("hook")
        put(store, [notice()], [channel])
        async with delivering(store, channel):
            await settled(store, channel)
        assert (seen, statuses(store, channel)) == ([DeliveryStatus.SENDING], [DeliveryStatus.SENT])


async def test_what_a_crash_interrupted_is_sent_again_under_its_id(tmp_path: Path) -> None:
    """A delivery found SENDING at the start may or may not have arrived; the receiver can tell by the id."""
    url = f"sqlite:///{tmp_path}/keeper.db"
    channel = Scripted("hook")
    store = open_store(url, chain_id=31337)
    put(store, [notice()], [channel])
    with store.transaction() as tx:
        assert tx.claim("notice-1", "hook")
    store.close()

    store = open_store(url, chain_id=31337)
    async with delivering(store, channel):
        await settled(store, channel)
    assert channel.sent == ["notice-1"]
    store.close()


async def test_notices_of_a_position_arrive_in_their_order_whatever_fails(store: Store) -> None:
    """The closing must not overtake the opening that needs a second attempt; other positions go ahead."""
    opened, closed = notice(1), notice(2, event=NoticeEvent.CURED)
    other = notice(3, position="aave:0xB")
    channel = Scripted("hook", fail={"notice-1": TimeoutError()})
    put(store, [opened, closed, other], [channel])
    async with delivering(store, channel):
        await settled(store, channel, 3)
    assert [sent for sent in channel.sent if sent != "notice-3"] == ["notice-1", "notice-1", "notice-2"]
    assert channel.sent.index("notice-3") < channel.sent.index("notice-2")


async def test_a_refusal_is_final_and_recorded(store: Store) -> None:
    channel = Scripted("hook", fail={"notice-1": NoticeRefused("the account is closed; open a new one")})
    put(store, [notice(1), notice(2)], [channel])
    async with delivering(store, channel):
        await settled(store, channel, 2)
    first, second = store.deliveries()
    assert (first.status, first.error) == (DeliveryStatus.DEAD, "the account is closed; open a new one")
    assert second.status is DeliveryStatus.SENT


async def test_a_defect_in_a_channel_is_loud_and_tried_again(store: Store) -> None:
    """A notice is never lost to a bug in the channel, nor does the bug stop the daemon."""
    channel = Scripted("hook", fail={"notice-1": ZeroDivisionError("oops")})
    put(store, [notice()], [channel])
    async with delivering(store, channel):
        await settled(store, channel)
    assert channel.sent == ["notice-1", "notice-1"]
    assert statuses(store, channel) == [DeliveryStatus.SENT]


async def test_a_wake_brings_a_new_notice_out_at_once(store: Store) -> None:
    channel = Scripted("hook")
    async with delivering(store, channel) as deliverer:
        await asyncio.sleep(0.05)
        put(store, [notice()], [channel])
        deliverer.wake()
        async with asyncio.timeout(1.0):
            await settled(store, channel)


async def test_notices_for_a_channel_that_was_removed_do_not_wait_for_ever(store: Store) -> None:
    """They would count as told; they are dead, with the reason."""
    removed, kept = Scripted("removed"), Scripted("kept")
    put(store, [notice(1), notice(2)], [removed, kept])
    async with delivering(store, kept):
        await settled(store, kept, 2)
    assert statuses(store, removed) == [DeliveryStatus.DEAD, DeliveryStatus.DEAD]


async def test_without_a_channel_delivering_goes_on_until_it_is_drained(store: Store) -> None:
    """A deployment that tells nobody is no reason for its daemon to end."""
    deliverer = Deliverer(store, (), time.time)
    running = asyncio.create_task(deliverer.run())
    done, _ = await asyncio.wait({running}, timeout=0.1)
    assert not done
    await deliverer.drain(1.0)
    async with asyncio.timeout(1.0):
        await running


async def test_a_store_that_fails_ends_delivering_with_its_own_error(store: Store) -> None:
    """A full disk is told as what it is, with its remedy, whichever task met it."""
    channel = Scripted("hook")
    put(store, [notice()], [channel])
    taken = store.transaction

    def full() -> Any:
        if channel.sent:
            raise StoreError("the disk is full: free space")
        return taken()

    store.transaction = full  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="free space"):
        async with asyncio.timeout(5.0):
            await Deliverer(store, [channel], time.time, QUICK).run()
    store.transaction = taken  # type: ignore[method-assign]


async def test_a_slow_disk_leaves_the_loop_to_the_blocks_two_thirds_of_the_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction holds the loop for 20 ms. What ends at the same time is settled in one of them, and in between
    whoever follows the chain gets the loop again and again."""
    channel, real, held = Scripted("prompt"), store.transaction, list[float]()

    @contextmanager
    def slow() -> Iterator[Any]:
        began = time.perf_counter()
        with real() as tx:
            yield tx
            time.sleep(0.02)
        held.append(time.perf_counter() - began)

    put(store, [notice(number, position=f"aave:{number}") for number in range(60)], [channel])
    monkeypatch.setattr(store, "transaction", slow)
    deliverer = Deliverer(store, [channel], time.time)
    running, began, longest = asyncio.create_task(deliverer.run()), time.perf_counter(), 0.0
    while len(channel.sent) < 60 or store.outbox(time.time()):
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    took = time.perf_counter() - began
    await deliverer.drain(5.0)
    await running
    assert len(held) < 60
    assert sum(held) < 0.5 * took
    assert longest < 4 * max(held)


async def test_a_channel_with_nothing_to_send_looks_seldom_where_looking_is_dear(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking takes 10 ms and something wakes it a hundred times a second: a twentieth of the time is spent on it, and
    being drained does not wait."""
    channel, looks, real = Scripted("idle"), list[float](), store.outbox

    def dear(now: float, limit: int = 1000, *, channel: str | None = None) -> Sequence[Delivery]:
        if channel is not None:
            time.sleep(0.01)
            looks.append(now)
        return real(now, limit, channel=channel)

    monkeypatch.setattr(store, "outbox", dear)
    deliverer = Deliverer(store, [channel], time.time)
    running, began = asyncio.create_task(deliverer.run()), time.perf_counter()
    while time.perf_counter() - began < 0.7:
        deliverer.wake()
        await asyncio.sleep(0.01)
    assert 2 <= len(looks) <= 5
    drained = time.perf_counter()
    await deliverer.drain(5.0)
    await running
    assert time.perf_counter() - drained < 0.15


# --- channels that are gone -------------------------------------------------------------------------------------------


def reads_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, int]]:
    """Channel and size of every look into the outbox."""
    reads: list[tuple[str | None, int]] = []
    look = store.outbox

    def outbox(now: float, limit: int = 1000, *, channel: str | None = None) -> Sequence[Delivery]:
        reads.append((channel, limit))
        return look(now, limit, channel=channel)

    monkeypatch.setattr(store, "outbox", outbox)
    return reads


async def test_what_waits_for_a_channel_that_is_gone_is_given_up_a_few_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of it held, some of it behind something else of its position; the loop is left to others in between."""
    gone, chat = Scripted("gone"), Scripted("chat")
    put(store, [notice(number, position=f"aave:{number % 70}") for number in range(140)], [gone, chat])
    with store.transaction() as tx:
        tx.hold("notice-3", "gone", 1e9)
    reads = reads_of(store, monkeypatch)
    deliverer = Deliverer(store, [chat], time.time)
    running = asyncio.create_task(deliverer.run())
    async with asyncio.timeout(10):
        while list(store.waited_for()):
            await asyncio.sleep(0.01)
    await deliverer.drain(1.0)
    await running
    assert sorted(chat.sent) == sorted(f"notice-{number}" for number in range(140))
    lost = [one for one in store.deliveries() if one.channel == "gone"]
    assert {(one.status, one.error) for one in lost} == {(DeliveryStatus.DEAD, "this channel is no longer configured")}
    assert len(lost) == 140
    assert len([read for read in reads if read == ("gone", BURIED_AT_ONCE)]) == 4, "three full ones, and one in vain"


async def test_nothing_is_read_of_channels_that_are_served_elsewhere(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, [notice(number, position=f"aave:{number}") for number in range(10)], [Scripted("hook")])
    reads = reads_of(store, monkeypatch)
    deliverer = Deliverer(store, [], time.time, configured=["hook"])
    running = asyncio.create_task(deliverer.run())
    await asyncio.sleep(0.1)
    await deliverer.drain(1.0)
    await running
    assert reads == []
    assert {one.status for one in store.deliveries()} == {DeliveryStatus.PENDING}

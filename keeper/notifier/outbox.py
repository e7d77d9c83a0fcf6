"""From the outbox to the channels: at least once, in order per position, for ever if need be.

One worker per channel, so that a slow or dead one delays neither another nor the pipeline. A delivery is SENDING in the
store before its first byte leaves: after a crash it is sent again under the same id, and until it is settled it counts
as told. It goes back to PENDING only where nobody can have seen it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence

import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_exponential_jitter
from tenacity.wait import wait_base

from keeper.core.errors import KeeperError, NoticeDelayed, NoticeObsolete, NoticeTooLong, RetryableError
from keeper.core.ports import Notifier, Store, Transaction
from keeper.core.records import LONGEST_RETRY_AFTER_S, Delivery, DeliveryStatus, Notice, NoticeEvent
from keeper.notifier.obey import obey
from keeper.notifier.queue import take
from keeper.notifier.requests import Requests
from keeper.notifier.routing import Route, Router
from keeper.notifier.rules import IN_ONE

SEND_LIMIT_S = 60.0
"""A channel has its own, shorter limits; this one catches a channel that forgot."""

LONGEST_REST_S = 30.0
"""A sleeping worker looks again after this long, whatever it was told."""

BACKOFF = wait_exponential_jitter(initial=1, max=60, jitter=1)
"""1, 2, 4 … 60 seconds: a margin call that is minutes late is worth little, so the pause stays short."""

LISTEN_S = 1.0

BURIED_AT_ONCE = 50
"""Notices for a channel that is gone, settled together. No block is taken meanwhile, for some ten milliseconds."""

_YIELDS = 2
"""So many times as long as the outbox held the loop, it leaves the loop alone: blocks come first, and where a disk is
slow, notices wait for it and not the chain."""

_IDLE = 20
"""So many times as long as a look took that found nothing to send, its channel looks no more, but never longer than
`LISTEN_S`: a machine that was busy for a moment keeps no call waiting. One whose minute is spent while thousands wait
would otherwise read them for every block, and the channels beside it would wait for that."""

log = structlog.get_logger(__name__)


class Deliverer:
    """Drains the outbox of a store. All store calls happen on the event loop's thread.

    clock: unix seconds. wait: tenacity's strategy for the pause after an attempt failed. router: the rules of the
    channels; without them everything is told one by one, at once. requests: what people ask meanwhile.
    configured: channels that exist beside these, although this process does not serve them.
    """

    def __init__(
        self,
        store: Store,
        channels: Sequence[Notifier],
        clock: Callable[[], float],
        wait: wait_base = BACKOFF,
        *,
        router: Router | None = None,
        requests: Requests | None = None,
        configured: Collection[str] = (),
    ) -> None:
        self._store = store
        self._channels = tuple(channels)
        self._clock = clock
        self._latest = math.inf
        self._wait = wait
        self._router = Router(()) if router is None else router
        self._requests = requests
        self._configured = frozenset(configured) | {channel.name for channel in channels}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """How many attempts ended how, by channel: sent, delayed, dropped, refused, given_up, crashed."""
        self._news = {channel.name: asyncio.Event() for channel in channels}
        self._workers: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self._writing = asyncio.Lock()
        self._settling: list[Callable[[Transaction], None]] = []
        self._in_one = dict.fromkeys(self._news, IN_ONE)
        """Most notices of one summary, by channel: half as many as of one that was refused in this life."""

    def wake(self) -> None:
        """Look into the outbox now; called after a commit that may have put something there."""
        for news in self._news.values():
            news.set()

    async def run(self) -> None:
        """Deliver until cancelled or drained, which may be nothing at all. Raises StoreError when the store fails."""
        self._watch_clock()
        try:
            async with asyncio.TaskGroup() as group:
                self._workers = [group.create_task(self._work(channel)) for channel in self._channels]
                if self._requests is not None:
                    group.create_task(self._listen(self._requests))
                group.create_task(self._bury_unreachable())
        except ExceptionGroup as failed:
            raise _first_of(failed) from failed
        await self._draining.wait()  # without a channel there is nothing to do, but it is no end either

    async def drain(self, timeout_s: float) -> None:
        """Deliver what is due, but wait for nothing that is not, and stop; `run` then returns.

        What is cut off by the time-out stays SENDING and is sent again at the next start.
        """
        self._draining.set()
        self.wake()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=timeout_s)
            for worker in late:
                worker.cancel()

    async def _work(self, channel: Notifier) -> None:
        """One after the other of each position, several positions at once; one that hangs holds up only its own."""
        news, route = self._news[channel.name], self._router[channel.name]
        flying: dict[asyncio.Task[None], str] = {}

        def landed(sending: asyncio.Task[None]) -> None:
            del flying[sending]
            news.set()

        async with asyncio.TaskGroup() as sends:
            while True:
                news.clear()
                if route.escalates is not None:
                    self._obey()  # what was acknowledged by now is not escalated
                async with self._yielding():
                    now = self._watch_clock()
                    began = time.perf_counter()
                    due = take(self._store, route, now, frozenset(flying.values()), self._in_one[channel.name])
                    held = time.perf_counter() - began
                    for delivery in due.claimed:
                        sending = sends.create_task(self._deliver(channel, route, delivery))
                        flying[sending] = delivery.notice.id
                        sending.add_done_callback(landed)
                if due.claimed or due.moved:
                    await asyncio.sleep(0)
                elif not self._draining.is_set():
                    await self._pause(min(_IDLE * held, LISTEN_S))
                    await self._rest(news, self._next_look(channel.name, now, due.look_again_at, bool(flying)))
                elif flying:
                    await news.wait()
                else:
                    return

    def _next_look(self, channel: str, now: float, look_again_at: float | None, flying: bool) -> float | None:
        """When there may be something to send, if no news comes before. While something is on its way, what is due next
        cannot be told from it, so soon."""
        if look_again_at is not None:
            return look_again_at
        return now + LISTEN_S if flying else self._store.next_due(channel, now)

    async def _listen(self, requests: Requests) -> None:
        """Notice within a second what people ask, although no channel has anything to do."""
        while not self._draining.is_set():
            self._watch_clock()
            if self._obey():
                self.wake()
            await self._pause(LISTEN_S)

    def _watch_clock(self) -> float:
        """Now. Where the clock was set back, meanwhile or before the start, what waits was created, and is held, by
        times that are still to come: it is judged again."""
        now = self._clock()
        if now < self._latest:
            with self._store.transaction() as tx:
                count = tx.backdate(now)
            if count:
                log.warning("clock_set_back", notices=count)
                self.wake()
        self._latest = now
        return now

    async def _pause(self, seconds: float) -> None:
        """So long, but not longer than until it is to be drained."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    def _obey(self) -> int:
        return 0 if self._requests is None else obey(self._store, self._requests, self._router, self._clock)

    async def _rest(self, news: asyncio.Event, due_at: float | None) -> None:
        pause = LONGEST_REST_S if due_at is None else min(max(due_at - self._clock(), 0.0), LONGEST_REST_S)
        try:
            async with asyncio.timeout(pause):
                await news.wait()
        except TimeoutError:
            return

    async def _deliver(self, channel: Notifier, route: Route, delivery: Delivery) -> None:
        notice = delivery.notice
        about = {"channel": channel.name, "notice": notice.id, "position": notice.position, "tells": notice.event.value}
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await channel.send(notice)
        except (RetryableError, TimeoutError) as error:
            if isinstance(error, NoticeTooLong) and _carries_several(notice):
                outcome = await self._take_apart(delivery, error)
            else:
                outcome = await self._postpone(delivery, route, error)
                log.warning("notice_delayed", error=_words(error), attempt=delivery.attempts + 1, **about)
        except NoticeObsolete as error:
            outcome = "dropped"
            await self._settle(delivery, DeliveryStatus.DROPPED, error=_words(error))
            log.info("notice_dropped", reason=_words(error), **about)
        except KeeperError as error:
            log.error("notice_refused", error=_words(error), **about)
            if _carries_several(notice):
                outcome = await self._take_apart(delivery, error)
            else:
                outcome = "refused"
                await self._settle(delivery, DeliveryStatus.DEAD, error=_words(error))
        except Exception as error:
            # A defect of one channel must not stop liquidations and the other channels; it is loud, and tried again.
            await self._postpone(delivery, route, error)
            outcome = "crashed"
            log.exception("channel_crashed", attempt=delivery.attempts + 1, **about)
        else:
            outcome = "sent"
            await self._settle(delivery, DeliveryStatus.SENT)
            log.info("notice_sent", **about)
        self.outcomes[channel.name, outcome] += 1

    async def _postpone(self, delivery: Delivery, route: Route, error: Exception) -> str:
        """Have it tried again, or give it up when it has been tried for too long. Returns the outcome."""
        age = self._clock() - delivery.created_at
        if age >= route.give_up_s:
            given_up = f"given up after {age / 3600:.1f} hours: {_words(error)}"
            await self._settle(delivery, DeliveryStatus.DEAD, error=given_up)
            log.error("notice_given_up", channel=route.channel, notice=delivery.notice.id, error=given_up)
            return "given_up"
        state = RetryCallState(AsyncRetrying(), None, (), {})
        state.attempt_number = delivery.attempts + 1
        pause = float(self._wait(state))
        seen = True
        if isinstance(error, NoticeDelayed):
            pause = max(pause, min(error.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))
            seen = error.perhaps_seen
        # Once an attempt may have been seen, a later one that was not does not make it unseen.
        seen = seen or delivery.status is DeliveryStatus.SENDING
        status = DeliveryStatus.SENDING if seen else DeliveryStatus.PENDING
        await self._settle(delivery, status, due_at=self._clock() + pause, error=_words(error))
        return "delayed"

    async def _take_apart(self, summary: Delivery, error: Exception) -> str:
        """It may have been too long: what a receiver would take by itself must not wait, or be lost, with it. Returns
        the outcome."""
        name, channel, reason = summary.notice.id, summary.channel, _words(error)
        carried = len(summary.notice.body["notices"])
        self._in_one[channel] = max(min(carried // 2, self._in_one[channel]), 1)
        at = self._clock()
        self._settling.append(lambda tx: tx.take_apart(name, channel, reason, at=at))
        await self._write_settled()
        log.warning(
            "summary_taken_apart", channel=channel, notices=carried, next_at_most=self._in_one[channel], error=reason
        )
        return "refused"

    async def _settle(
        self, delivery: Delivery, status: DeliveryStatus, *, due_at: float = 0.0, error: str | None = None
    ) -> None:
        """Durable when this returns, together with whatever else is to be settled by then."""
        self._settling.append(self._settlement(delivery, status, due_at=due_at, error=error))
        await self._write_settled()

    async def _write_settled(self) -> None:
        async with self._yielding():
            settlements, self._settling = self._settling, []
            self._write(settlements)

    def _settlement(
        self, delivery: Delivery, status: DeliveryStatus, *, due_at: float = 0.0, error: str | None = None
    ) -> Callable[[Transaction], None]:
        at = self._clock()

        def write(tx: Transaction) -> None:
            tx.settle(delivery.notice.id, delivery.channel, status, at=at, due_at=due_at, error=error)
            if status is DeliveryStatus.DEAD:  # nobody will acknowledge what nobody was told
                for name in self._router.directly_after(delivery.channel):
                    tx.release(delivery.notice.id, name)
                    if name in self._news:
                        self._news[name].set()

        return write

    def _write(self, settlements: Sequence[Callable[[Transaction], None]]) -> None:
        if settlements:
            with self._store.transaction() as tx:
                for write in settlements:
                    write(tx)

    @contextlib.asynccontextmanager
    async def _yielding(self) -> AsyncIterator[None]:
        """Around whatever the outbox does in the store: one at a time, and others have the loop afterwards."""
        async with self._writing:
            began = time.perf_counter()
            yield
            await asyncio.sleep(0 if self._draining.is_set() else _YIELDS * (time.perf_counter() - began))

    async def _bury_unreachable(self) -> None:
        """Settle what waits for a channel that is no longer configured, or it would count as told for ever."""
        for channel in [name for name in self._store.waited_for() if name not in self._configured]:
            while not self._draining.is_set() and await self._bury_some(channel):
                pass

    async def _bury_some(self, channel: str) -> int:
        async with self._yielding():
            lost = self._store.outbox(math.inf, BURIED_AT_ONCE, channel=channel)
            error = "this channel is no longer configured"
            self._write([self._settlement(delivery, DeliveryStatus.DEAD, error=error) for delivery in lost])
        for delivery in lost:
            log.error("notice_without_channel", channel=channel, notice=delivery.notice.id)
        return len(lost)


def _first_of(failed: ExceptionGroup[Exception]) -> Exception:
    """What went wrong, without the groups around it: a full disk is to be told as one."""
    error: Exception = failed
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _carries_several(notice: Notice) -> bool:
    return notice.event is NoticeEvent.SUMMARY and len(notice.body["notices"]) > 1


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__

"""From the outbox to the channels: at least once, in order per position, for ever if need be.

One worker per channel, so that a slow or dead one delays neither another nor the pipeline. A delivery is SENDING in the
store before its first byte leaves: after a crash it is sent again under the same id, and until it is settled it counts
as told. It goes back to PENDING only where nobody can have seen it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

import structlog
from tenacity import AsyncRetrying, RetryCallState, wait_exponential_jitter
from tenacity.wait import wait_base

from keeper.core.errors import KeeperError, NoticeDelayed, RetryableError
from keeper.core.ports import Notifier, Store
from keeper.core.records import Delivery, DeliveryStatus

AT_ONCE = 8
"""Notices in flight per channel; they are of different positions, so their order among themselves is free."""

SEND_LIMIT_S = 60.0
"""A channel has its own, shorter limits; this one catches a channel that forgot."""

LONGEST_REST_S = 30.0
"""A sleeping worker looks again after this long, whatever it was told."""

BACKOFF = wait_exponential_jitter(initial=1, max=60, jitter=1)
"""1, 2, 4 … 60 seconds: a margin call that is minutes late is worth little, so the pause stays short."""

LONGEST_RETRY_AFTER_S = 600.0

log = structlog.get_logger(__name__)


class Deliverer:
    """Drains the outbox of a store. All store calls happen on the event loop's thread.

    clock: unix seconds. wait: tenacity's strategy for the pause after an attempt failed.
    """

    def __init__(
        self, store: Store, channels: Sequence[Notifier], clock: Callable[[], float], wait: wait_base = BACKOFF
    ) -> None:
        self._store = store
        self._channels = tuple(channels)
        self._clock = clock
        self._wait = wait
        self._news = {channel.name: asyncio.Event() for channel in channels}
        self._workers: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()

    def wake(self) -> None:
        """Look into the outbox now; called after a commit that may have put something there."""
        for news in self._news.values():
            news.set()

    async def run(self) -> None:
        """Deliver until cancelled or drained, which may be nothing at all. Raises StoreError when the store fails."""
        self._bury_unreachable()
        async with asyncio.TaskGroup() as group:
            self._workers = [group.create_task(self._work(channel)) for channel in self._channels]
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
        news = self._news[channel.name]
        while True:
            news.clear()
            due = self._store.outbox(self._clock(), AT_ONCE, channel=channel.name)
            if due:
                claimed = self._claim(due)
                await asyncio.gather(*(self._deliver(channel, delivery) for delivery in claimed))
            elif self._draining.is_set():
                return
            else:
                await self._rest(channel, news)

    def _claim(self, due: Sequence[Delivery]) -> list[Delivery]:
        with self._store.transaction() as tx:
            return [delivery for delivery in due if tx.claim(delivery.notice.id, delivery.channel)]

    async def _rest(self, channel: Notifier, news: asyncio.Event) -> None:
        due_at = self._store.next_due(channel.name)
        pause = LONGEST_REST_S if due_at is None else min(max(due_at - self._clock(), 0.0), LONGEST_REST_S)
        try:
            async with asyncio.timeout(pause):
                await news.wait()
        except TimeoutError:
            return

    async def _deliver(self, channel: Notifier, delivery: Delivery) -> None:
        notice = delivery.notice
        about = {"channel": channel.name, "notice": notice.id, "position": notice.position, "tells": notice.event.value}
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await channel.send(notice)
        except (RetryableError, TimeoutError) as error:
            self._postpone(delivery, error)
            log.warning("notice_delayed", error=_words(error), attempt=delivery.attempts + 1, **about)
        except KeeperError as error:
            self._settle(delivery, DeliveryStatus.DEAD, error=_words(error))
            log.error("notice_refused", error=_words(error), **about)
        except Exception as error:
            # A defect of one channel must not stop liquidations and the other channels; it is loud, and tried again.
            self._postpone(delivery, error)
            log.exception("channel_crashed", attempt=delivery.attempts + 1, **about)
        else:
            self._settle(delivery, DeliveryStatus.SENT)
            log.info("notice_sent", **about)

    def _postpone(self, delivery: Delivery, error: Exception) -> None:
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
        self._settle(delivery, status, due_at=self._clock() + pause, error=_words(error))

    def _settle(
        self, delivery: Delivery, status: DeliveryStatus, *, due_at: float = 0.0, error: str | None = None
    ) -> None:
        with self._store.transaction() as tx:
            tx.settle(delivery.notice.id, delivery.channel, status, at=self._clock(), due_at=due_at, error=error)

    def _bury_unreachable(self) -> None:
        """Settle what waits for a channel that is no longer configured, or it would count as told for ever."""
        while lost := [d for d in self._store.outbox(math.inf, 1_000_000) if d.channel not in self._news]:
            for delivery in lost:
                self._settle(delivery, DeliveryStatus.DEAD, error="this channel is no longer configured")
                log.error("notice_without_channel", channel=delivery.channel, notice=delivery.notice.id)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__

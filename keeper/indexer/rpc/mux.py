"""Many requests and subscriptions over one two-way connection.

Replies find their request by id and by nothing else: Anvil answers pipelined requests in reverse, others split or
reorder batches. Pushes go to bounded queues that nobody has to read for replies to flow; a queue that overflows says so
to its reader instead of losing one message silently.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from keeper.core.errors import KeeperError, RetryableError, RpcMalformed, RpcUnavailable
from keeper.indexer.rpc.wire import Message, Push, decode_messages, decode_push

Replies = Sequence[Message | None]
"""Replies in the order of their requests; None where the answer left a request out."""

_UNCLAIMED_SUBSCRIPTIONS = 16
_UNCLAIMED_PUSHES = 64


class SubscriptionOverflow(RetryableError):
    """The reader of a subscription fell too far behind; what it missed must be fetched."""


class SubscriptionRefused(RpcUnavailable):
    """The node answers, but will not push."""


Then = Callable[[Replies | KeeperError], None]
"""Called with what came of a message, or with why nothing will come, while the bytes that said so are taken in."""


class Exchange:
    """One message sent, waiting for all of its replies. then: called at once when they are there, before whoever waits
    for the future has a turn; it must not raise."""

    __slots__ = ("_replies", "_then", "first_id", "future", "size")

    def __init__(self, first_id: int, size: int, future: asyncio.Future[Replies], then: Then | None = None) -> None:
        self.first_id = first_id
        self.size = size
        self.future = future
        self._then = then
        self._replies: dict[int, Message] = {}

    def accept(self, message_id: int, message: Message) -> None:
        self._replies[message_id] = message
        if len(self._replies) == self.size:
            self.finish()

    def finish(self) -> None:
        """Hand over what has come; gaps stay visible as None."""
        if not self.future.done():
            replies = [self._replies.get(self.first_id + i) for i in range(self.size)]
            self.future.set_result(replies)
            if self._then is not None:
                self._then(replies)

    def fail(self, error: KeeperError) -> None:
        """Nothing more will come."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen: its waiter may have been cancelled meanwhile
            if self._then is not None:
                self._then(error)


class Subscription:
    """Pushes of one subscription, oldest first, at most `limit` of them.

    lossy: what is too much drops the oldest and is counted in `dropped`, instead of being told as an error.
    holds: asked of each push as it comes; one that it holds is queued with `release`, or before whatever comes next.
    """

    def __init__(self, limit: int, *, lossy: bool = False) -> None:
        self.dropped = 0
        self.holds: Callable[[msgspec.Raw], bool] | None = None
        self._held: msgspec.Raw | None = None
        self._lossy = lossy
        self._limit = limit
        self._queue: deque[msgspec.Raw] = deque()
        self._wake = asyncio.Event()
        self._error: KeeperError | None = None

    def put(self, item: msgspec.Raw) -> None:
        self.release()
        if self.holds is not None and self.holds(item):
            self._held = item
        else:
            self._put(item)

    def release(self) -> None:
        """Queue what is held, if anything is."""
        held, self._held = self._held, None
        if held is not None:
            self._put(held)

    def _put(self, item: msgspec.Raw) -> None:
        if len(self._queue) >= self._limit and self._lossy:
            self._queue.popleft()
            self._queue.append(item)
            self.dropped += 1
        elif len(self._queue) >= self._limit:
            self._queue.clear()
            self._error = SubscriptionOverflow(
                f"more than {self._limit} unread pushes; fetch what was missed and go on"
            )
        else:
            self._queue.append(item)
        self._wake.set()

    def fail(self, error: KeeperError) -> None:
        self.release()
        self._error = error
        self._wake.set()

    async def get(self) -> msgspec.Raw:
        """The oldest push; waits for one.

        Raises SubscriptionOverflow once after an overflow, and whatever ended the connection after the pushes that
        came before.
        """
        while not self._queue:
            if self._error is not None:
                error = self._error
                if isinstance(error, SubscriptionOverflow):
                    self._error = None
                raise error
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    async def newest(self) -> msgspec.Raw:
        """The newest push, forgetting older ones; waits for one. Raises as `get`."""
        item = await self.get()
        while self._queue:
            item = self._queue.popleft()
        return item

    def waiting(self, most: int) -> list[msgspec.Raw]:
        """Up to so many pushes that are there already, oldest first."""
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]


class Mux:
    """The table of who waits for what on one connection."""

    def __init__(self) -> None:
        self._next_id = 1
        self._waiting: dict[int, Exchange] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._unclaimed: dict[str, deque[msgspec.Raw]] = {}

    def expect(self, size: int, then: Then | None = None) -> Exchange:
        """Reserve ids for a message of `size` requests. then: see Exchange."""
        exchange = Exchange(self._next_id, size, asyncio.get_running_loop().create_future(), then)
        for message_id in range(self._next_id, self._next_id + size):
            self._waiting[message_id] = exchange
        self._next_id += size
        return exchange

    def forget(self, exchange: Exchange) -> None:
        """Stop waiting; replies that come later are ignored."""
        for message_id in range(exchange.first_id, exchange.first_id + exchange.size):
            self._waiting.pop(message_id, None)

    def subscribed(self, subscription_id: str, limit: int, *, lossy: bool = False) -> Subscription:
        """A queue for a subscription the node has just confirmed, with the pushes that overtook the confirmation."""
        subscription = self._subscriptions[subscription_id] = Subscription(limit, lossy=lossy)
        for item in self._unclaimed.pop(subscription_id, ()):
            subscription.put(item)
        return subscription

    def unsubscribed(self, subscription: Subscription) -> str | None:
        """Forget a subscription; returns the node's id of it."""
        for subscription_id, known in self._subscriptions.items():
            if known is subscription:
                del self._subscriptions[subscription_id]
                return subscription_id
        return None

    def feed(self, payload: bytes | str) -> None:
        """Dispatch one incoming message. Raises RpcMalformed when it cannot be dispatched: the connection is then of
        no more use, since somebody's answer was in it."""
        messages, batch = decode_messages(payload)
        touched: set[Exchange] = set()
        for message in messages:
            if message.method is not None:
                push = decode_push(message)
                if push is not None:
                    self._dispatch(push)
                continue
            if not isinstance(message.id, int):
                reason = message.error.message if message.error else "no error given"
                raise RpcMalformed(f"an answer without the id of its request ({reason})")
            exchange = self._waiting.pop(message.id, None)
            if exchange is not None:
                exchange.accept(message.id, message)
                touched.add(exchange)
        if batch:
            for exchange in touched:
                if not exchange.future.done():
                    exchange.finish()
                    self.forget(exchange)

    def fail(self, error: KeeperError) -> None:
        """The connection ended: everybody who waits learns why."""
        waiting = set(self._waiting.values())
        self._waiting.clear()
        for exchange in waiting:
            exchange.fail(error)
        for subscription in self._subscriptions.values():
            subscription.fail(error)
        self._subscriptions.clear()
        self._unclaimed.clear()

    def _dispatch(self, push: Push) -> None:
        subscription = self._subscriptions.get(push.subscription)
        if subscription is not None:
            subscription.put(push.result)
            return
        if push.subscription not in self._unclaimed and len(self._unclaimed) >= _UNCLAIMED_SUBSCRIPTIONS:
            self._unclaimed.pop(next(iter(self._unclaimed)))
        self._unclaimed.setdefault(push.subscription, deque(maxlen=_UNCLAIMED_PUSHES)).append(push.result)

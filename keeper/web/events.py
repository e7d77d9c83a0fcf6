"""Server-sent events: one look at the store twice a second, whoever listens, and the same bytes to all.

Each event has a number; a client that comes back with the last it saw (Last-Event-ID) gets what it missed, as far as it
is kept, or else a `reset`, upon which it reads everything anew. A client that takes its events too slowly is told so
and let go: it comes back by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from typing import Any

import msgspec
import structlog
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from keeper.core.errors import KeeperError
from keeper.web.problems import Problem
from keeper.web.reading import Reading

log = structlog.get_logger(__name__)

LOOK_S = 0.5
HEARTBEAT_S = 8.0
KEPT = 2_000
"""Events that can be caught up with."""

QUEUED = 256
"""Events that wait for one client at most."""

SEND_S = 20.0
"""How long a client may take for what it is sent."""

RETRY_MS = 2_000


class Listener:
    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.news = asyncio.Event()
        self.too_slow = False

    def forget(self) -> None:
        """What waits is told in another way."""
        self.waiting.clear()
        self.too_slow = False

    def put(self, event: bytes) -> None:
        if len(self.waiting) >= QUEUED:
            self.too_slow = True
            self.waiting.clear()
        elif not self.too_slow:
            self.waiting.append(event)
        self.news.set()


class Feed:
    """`run` looks, for ever. most: clients at once."""

    def __init__(self, reading: Reading, most: int) -> None:
        self._reading = reading
        self._most = most
        self._life = secrets.token_hex(4)  # numbers of another life mean nothing here
        self._count = 0
        self._past: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._ended = asyncio.Event()
        self._failing = False
        self.dropped = 0

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def failing(self) -> bool:
        """Whether the last look failed: what is served is what was known before."""
        return self._failing

    async def run(self) -> None:
        while not self._ended.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._ended.wait()

    async def look(self) -> None:
        try:
            events = await self._reading.look()
        except KeeperError as error:
            if not self._failing:
                log.error("store_not_read", error=str(error), remedy="what was read before is shown; trying again")
            self._failing = True
            return
        self._failing = False
        for name, said in events:
            self.publish(name, said)

    def publish(self, name: str, said: Any) -> None:
        self._count += 1
        event = _event(name, said, self._name(self._count))
        self._past.append((self._count, event))
        for listener in self._listeners:
            listener.put(event)

    def end(self) -> None:
        """Let everybody go."""
        self._ended.set()
        for listener in self._listeners:
            listener.news.set()

    # --- one client

    async def join(self, request: Request) -> EventStream:
        """Raises Problem when there are too many already."""
        if len(self._listeners) >= self._most:
            raise Problem(
                503,
                "too many listen already",
                limit=self._most,
                remedy="close other pages, or raise max_clients in [web]",
                headers={"Retry-After": "10"},
            )
        listener = Listener()
        self._listeners.add(listener)  # the place is taken before anything is waited for
        before = self._count
        try:
            hello = await self._reading.hello()
        except BaseException:
            self.leave(listener)
            raise
        listener.forget()  # `_missed` has them
        first = [f"retry: {RETRY_MS}\n\n".encode(), _event("hello", hello, self._name(before))]
        return EventStream(self, listener, [*first, *self._missed(request.headers.get("last-event-id"), before)])

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def _missed(self, last: str | None, before: int) -> list[bytes]:
        """Everything behind the last that was seen, or that came since `before`, the state that a hello tells."""
        if not last:
            return [event for number, event in self._past if number > before]
        life, _, number = last.rpartition("-")
        seen = int(number) if life == self._life and number.isascii() and number.isdigit() and len(number) < 16 else -1
        oldest = self._past[0][0] if self._past else self._count + 1
        if not oldest - 1 <= seen <= self._count or self._count - seen > QUEUED:
            said = {"reason": "what you missed is too much, or not kept any more"}
            return [_event("reset", said, self._name(self._count))]
        return [event for number_, event in self._past if number_ > seen]

    def _name(self, number: int) -> str:
        return f"{self._life}-{number}"


class EventStream:
    """The answer to one client, until it goes or is let go."""

    def __init__(self, feed: Feed, listener: Listener, first: list[bytes]) -> None:
        self._feed = feed
        self._listener = listener
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        gone = asyncio.ensure_future(_until_gone(receive))
        gone.add_done_callback(lambda _: self._listener.news.set())
        try:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await _send(send, b"".join(self._first))
            while not (gone.done() or self._feed.ended or self._listener.too_slow):
                await self._next(send)
            if self._listener.too_slow:
                self._feed.dropped += 1
                said = {"reason": f"more than {QUEUED} events waited for you", "remedy": "connect again"}
                async with asyncio.timeout(SEND_S):
                    await _send(send, _event("dropped", said, None))
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            self._feed.dropped += 1
        finally:
            self._feed.leave(self._listener)
            gone.cancel()

    async def _next(self, send: Send) -> None:
        """Send what waits, or after a while that we are still there."""
        listener = self._listener
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await listener.news.wait()
        listener.news.clear()
        if listener.too_slow:
            return
        waiting = b"".join(listener.waiting) or b": still here\n\n"
        listener.waiting.clear()
        async with asyncio.timeout(SEND_S):
            await _send(send, waiting)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, said: Any, number: str | None) -> bytes:
    numbered = b"" if number is None else b"id: " + number.encode() + b"\n"
    return numbered + b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(said) + b"\n\n"

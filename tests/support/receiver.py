"""A real HTTP server on the loopback that answers as it is told, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

HANG = -1
RESET = -2


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """answers: what to do with the first requests, one by one (a status, HANG or RESET); then `otherwise`.
    largest: bytes of a body that is not refused with 413."""

    answers: list[int] = field(default_factory=list)
    otherwise: int = 200
    largest: float = math.inf
    url: str = ""
    requests: list[Received] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(Received(request.path, dict(request.headers), await request.read()))
        self.changed.set()
        status = self.answers.pop(0) if self.answers else self.otherwise
        if len(self.requests[-1].body) > self.largest:
            status = 413
        if status == HANG:
            await asyncio.sleep(3600)
        if status == RESET:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else {})

    async def until(self, count: int, timeout_s: float = 10.0) -> list[Received]:
        """The requests, once there are at least this many."""
        async with asyncio.timeout(timeout_s):
            while len(self.requests) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.requests


@asynccontextmanager
async def receiver(answers: Iterable[int] = (), otherwise: int = 200) -> AsyncIterator[Receiver]:
    told = Receiver(list(answers), otherwise)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", told.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        told.url = f"http://{host}:{port}/hook"
        yield told
    finally:
        await runner.cleanup()

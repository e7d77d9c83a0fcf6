"""The dead man's switch: a real server counts the pings; silence means that nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from keeper.core.secret import Secret
from keeper.mode.heartbeat import Heartbeat
from keeper.mode.machine import Mode


class Service:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 200
        self.port = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.heard.append(request.path)
        return web.Response(status=self.status)

    def url(self, path: str) -> Secret:
        return Secret(f"http://127.0.0.1:{self.port}{path}")

    async def count(self, expected: int) -> None:
        async with asyncio.timeout(5):
            while len(self.heard) < expected:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    one = Service()
    runner = web.ServerRunner(web.Server(one))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.port = runner.addresses[0][1]
    try:
        yield one
    finally:
        await runner.cleanup()


@asynccontextmanager
async def beating(heartbeat: Heartbeat) -> AsyncIterator[None]:
    task = asyncio.create_task(heartbeat.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_pings_while_keeper_watches_and_is_silent_while_it_is_blind() -> None:
    async with service() as there:
        modes = [Mode.FOLLOWING]
        async with beating(Heartbeat(there.url("/ping"), 0.02, lambda: modes[0])):
            await there.count(3)
            modes[0] = Mode.BLIND
            await asyncio.sleep(0.1)
            silent = len(there.heard)
            await asyncio.sleep(0.2)
            assert len(there.heard) == silent
            modes[0] = Mode.CATCHING_UP
            await there.count(silent + 2)


async def test_a_service_that_can_be_told_is_told_of_blindness() -> None:
    async with service() as there:
        async with beating(Heartbeat(there.url("/ping"), 0.02, lambda: Mode.BLIND, there.url("/ping/fail"))):
            await there.count(2)
        assert set(there.heard) == {"/ping/fail"}


async def test_a_service_that_is_gone_is_said_once_without_its_address() -> None:
    """The token in the address would let anybody say that we live."""
    async with service() as there:
        there.status = 500
        heartbeat = Heartbeat(there.url("/secret-token"), 0.02, lambda: Mode.FOLLOWING)
        with structlog.testing.capture_logs() as logs:
            async with beating(heartbeat):
                await there.count(3)
                there.status = 200
                await there.count(6)
        events = [line["event"] for line in logs]
        assert events == ["heartbeat_not_heard", "heartbeat_heard_again"]
        assert "secret-token" not in str(logs) and heartbeat.pings >= 2

"""What lies between the daemon and its database server: a network that loses answers, or keeps them back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_COMMITTED = b"COMMIT\x00"
"""The tag with which PostgreSQL says that a transaction is durable."""

_CHUNK = 2**16


class Gate:
    """port: where the daemon connects. lose: the chance of the server's answer to a commit being lost with its
    connection. silent: nothing passes either way. lost, held: how often that happened."""

    def __init__(self, upstream: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self.lose: float = 0.0
        self.chance = random.Random(0)  # noqa: S311  (repeatable; whoever loses brings another)
        self.lost = 0
        self.held = 0
        self._silent = False
        self._open = asyncio.Event()
        self._upstream = upstream
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    @property
    def silent(self) -> bool:
        return self._silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._silent = silent
        self._loop.call_soon_threadsafe(self._open.clear if silent else self._open.set)

    # --- in the thread of the loop

    async def start(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            self._passing.discard(task)
            return
        ways = [
            asyncio.create_task(self._pass(reader, inner_writer, answers=False)),
            asyncio.create_task(self._pass(inner_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            inner_writer.transport.abort()
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                if not self._open.is_set():
                    self.held += 1
                    await self._open.wait()
                if answers and _COMMITTED in chunk and self.chance.random() < self.lose:
                    self.lost += 1
                    return
                writer.write(chunk)
                await writer.drain()


@contextmanager
def open_gate(upstream: int) -> Iterator[Gate]:
    """In a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gate", daemon=True)
    thread.start()
    gate = Gate(upstream, loop)
    try:
        asyncio.run_coroutine_threadsafe(gate.start(), loop).result(10)
        yield gate
    finally:
        asyncio.run_coroutine_threadsafe(gate.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

"""Reading and mining take turns.

While Anvil (1.7) mines block N + 1 it answers a read at the hash of N, its newest, with what N + 1 makes of the state:
it finds out which state is meant before it waits for the miner. That is a lie of the worst kind, which no node tells,
and whom a fault delays from one block to the next meets it now and then. So whatever is asked through a proxy waits
while a block is mined, and a block waits for what is being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

_PATIENCE_S = 5.0  # a read that takes longer is not waited for: it may be the one that hangs


class Turns:
    """`reading` in the thread of the loop, `mining` in any other."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._nobody_reads = asyncio.Event()
        self._nobody_reads.set()
        self._reading = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        await self._may_read.wait()
        self._reading += 1
        self._nobody_reads.clear()
        try:
            yield
        finally:
            self._reading -= 1
            if not self._reading:
                self._nobody_reads.set()

    @contextmanager
    def mining(self) -> Iterator[None]:
        asyncio.run_coroutine_threadsafe(self._stop_reading(), self._loop).result(2 * _PATIENCE_S)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._may_read.set)

    async def _stop_reading(self) -> None:
        self._may_read.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._nobody_reads.wait()

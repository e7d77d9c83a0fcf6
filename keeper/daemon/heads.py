"""Heads as the node tells of them: until told to stop, none left half taken, and none believed that cannot be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from keeper.core.errors import HeadRefused, StateUnavailable
from keeper.core.types import Block
from keeper.indexer.rpc.client import RpcClient


class Heads:
    """stop: when set, the block in hand is finished, and that is the end."""

    def __init__(self, rpc: RpcClient, stop: asyncio.Event) -> None:
        self._rpc = rpc
        self._stop = stop

    async def coming(self) -> AsyncIterator[Block]:
        """Heads until told to stop, without ever leaving a head half taken."""
        heads, following, waiting = self._rpc.heads(), asyncio.current_task(), False

        def interrupt(_: asyncio.Task[object]) -> None:
            if waiting and following is not None and self._stop.is_set():
                following.cancel()

        stopped = asyncio.create_task(self._stop.wait())
        stopped.add_done_callback(interrupt)
        try:
            while not self._stop.is_set():
                waiting = True  # a task for each head would take longer than anything else between it and its read
                try:
                    head = await anext(heads)
                except asyncio.CancelledError:
                    if following is None or not self._stop.is_set():
                        raise
                    following.uncancel()
                    return
                finally:
                    waiting = False
                yield head
        finally:
            stopped.cancel()

    async def newest(self) -> Block:
        head = await self._rpc.block_by_number("latest")
        if head is None:
            raise StateUnavailable("the node has no latest block; it may still be starting")
        return head

    @contextlib.asynccontextmanager
    async def doubting(self, head: Block) -> AsyncIterator[None]:
        """While the way to a head is looked for. A head that cannot be is held against whoever told of it; one to
        which no way is found, against the other endpoints' heads."""
        try:
            try:
                yield
            except StateUnavailable:
                await self._rpc.hold_against_others(head, self._rpc.settings.max_lag_blocks, moving=True)
                raise
        except HeadRefused as error:
            self._rpc.disbelieve(error)
            raise

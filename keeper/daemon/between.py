"""What is done between heads, and gives way to them: transactions are made ready, and what is left is told."""

from __future__ import annotations

import asyncio

from keeper.fastlane import FastLane
from keeper.pipeline import Pipeline


class Between:
    """turn: held while a block or a job reads and changes the books."""

    def __init__(self, pipeline: Pipeline, lane: FastLane, turn: asyncio.Lock) -> None:
        self._pipeline = pipeline
        self._lane = lane
        self._turn = turn
        self._arming: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    def head_comes(self) -> None:
        """Raises what went wrong since the last one."""
        self._stop_arming()
        self._lane.look()
        self._stop_telling()

    def head_taken(self) -> None:
        self._arming = asyncio.create_task(self._arm(), name="arm")
        if self._telling is None and self._pipeline.has_more_to_tell:
            self._telling = asyncio.create_task(self._tell_more(), name="tell more")

    def end(self) -> None:
        """Raises what went wrong since the last head."""
        self._stop_arming()
        if self._telling is not None:
            self._telling.cancel()
        self._stop_telling()

    async def _arm(self) -> None:
        """Have transactions ready for the next block, until it comes."""
        async with self._turn:
            self._lane.prepare()  # what is ready since earlier; the next head may not leave the time for more
            await self._pipeline.arm()
            self._lane.prepare()

    async def _tell_more(self) -> None:
        """What was too much to tell at once, some at a time, blocks coming first."""
        while self._pipeline.has_more_to_tell:
            async with self._turn:
                self._pipeline.tell_more()
            await asyncio.sleep(0)

    def _stop_telling(self) -> None:
        """Raises what went wrong meanwhile."""
        if self._telling is not None and self._telling.done():
            telling, self._telling = self._telling, None
            if not telling.cancelled():
                telling.result()

    def _stop_arming(self) -> None:
        """A head comes first. Raises what went wrong meanwhile: a store that cannot be written to."""
        arming, self._arming = self._arming, None
        if arming is not None and not arming.cancel() and not arming.cancelled():
            arming.result()

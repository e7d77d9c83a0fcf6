"""Writes the pulse, once a second; the daemon starts it as a task and never waits for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from keeper import __version__
from keeper.pulse.board import Board
from keeper.pulse.file import Pulse, encode_pulse, write_pulse

log = structlog.get_logger(__name__)

PERIOD_S = 1.0


class PulseWriter:
    """path: beside the store. clock: unix seconds."""

    def __init__(self, board: Board, path: Path, chain_id: int, clock: Callable[[], float]) -> None:
        self._board = board
        self._path = path
        self._chain_id = chain_id
        self._clock = clock
        self._started_at = clock()
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="write the pulse")

    async def stop(self) -> None:
        """Write once more: how it was when it ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.write()

    async def _run(self) -> None:
        while True:
            await self.write()
            await asyncio.sleep(PERIOD_S)

    async def write(self) -> None:
        """Collected on the loop, in well under a millisecond; a slow disk keeps a thread waiting, not the loop."""
        await asyncio.to_thread(self._put, self._encoded())

    def _encoded(self) -> bytes:
        sections = {name: dict(said) for name, said in self._board.read().items()}
        return encode_pulse(
            Pulse(self._clock(), self._started_at, os.getpid(), self._chain_id, __version__, sections),
        )

    def _put(self, encoded: bytes) -> None:
        """Without it nobody sees how the daemon fares, but it goes on: said once, not every second."""
        try:
            write_pulse(self._path, encoded)
        except OSError as error:
            if not self._failing:
                remedy = "give this user write permission to its folder"
                log.warning("pulse_not_written", file=str(self._path), error=str(error), remedy=remedy)
            self._failing = True
        else:
            self._failing = False

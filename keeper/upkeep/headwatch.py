"""Saying so when no block could be taken for too long: nobody is being watched then, and nothing is acted on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from keeper.core.ports import Store
from keeper.evaluator import wording as words
from keeper.evaluator.house import Trouble
from keeper.upkeep.conditions import Conditions

log = structlog.get_logger(__name__)

ABOUT = "heads"


class HeadWatch:
    """limit_s: without a block for this long operators hear of it. owners_after_s: and everybody else after this long;
    None: never. clock: seconds that only ever grow."""

    def __init__(
        self,
        store: Store,
        conditions: Conditions,
        limit_s: float,
        owners_after_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._conditions = conditions
        self._limit_s = limit_s
        self._owners_after_s = owners_after_s
        self._clock = clock
        self._since = clock()
        self._seen = False  # whether this process has taken a block at all
        self._silent = False

    def saw_block(self) -> None:
        self._since, self._seen = self._clock(), True

    def progressed(self) -> None:
        """No block was taken, but what was missed is being caught up with."""
        self._since = self._clock()

    @property
    def limit_s(self) -> float:
        return self._limit_s

    @property
    def silent_s(self) -> float:
        """Since a block was taken, or what was missed came nearer."""
        return self._clock() - self._since

    @property
    def period_s(self) -> float:
        """Between two looks."""
        return min(self._limit_s / 4, 5.0)

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self.period_s)

    def look(self) -> None:
        """Compare now with the last block; say what follows from it."""
        blind_s = self.silent_s
        if blind_s > self._limit_s:
            if not self._silent:
                remedy = "check the rpc endpoints"
                log.error("heads_stopped", silent_s=round(blind_s), limit_s=self._limit_s, remedy=remedy)
            self._silent = True
            owners_too = self._owners_after_s is not None and blind_s > self._owners_after_s
            self._conditions.begin(self._trouble(blind_s), owners_too=owners_too)
        elif self._seen:
            if self._silent:
                log.info("heads_resumed")
            self._silent = False
            self._conditions.end(ABOUT, "blocks are being taken again")

    def _trouble(self, blind_s: float) -> Trouble:
        blocks = self._store.blocks()
        last = f"The last one was block {blocks[-1].number}, {words.when(blocks[-1].timestamp)}." if blocks else ""
        return Trouble(
            ABOUT,
            f"no new block for {words.duration(blind_s)}",
            (*((last,) if last else ()), "No position is being watched, and nothing is liquidated."),
            "Check the node and the endpoints in chain.rpc.",
        )

"""What was read of blocks, held against what another endpoint says of them, or where there is none, their logs against
their own receipts: beside the head path.

logs differ     what either touched is read again; who does not stand by its own logs has lied
state differs   who answers differently when asked again has lied; where both insist, nothing new is sent for some
                blocks, and somebody has to look; no longer where the other one does not come back
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from keeper.core.errors import DecodeError, KeeperError
from keeper.executor.halt import Halt
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.wire import WireLog
from keeper.indexer.witness import Contradiction, Seen, Witness
from keeper.pipeline import Pipeline

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
AT_ONCE = 8
"""Blocks compared in one go; those in between that touched nothing of ours are left out."""


class CrossCheck:
    """turn: held by whoever reads or changes the books. hold_blocks: for how many blocks two who insist on different
    states halt transactions. proves: whether receipts are asked for where there is nobody else to ask."""

    def __init__(
        self,
        witness: Witness,
        pipeline: Pipeline,
        turn: asyncio.Lock,
        halt: Halt,
        *,
        hold_blocks: int = 3,
        proves: bool = True,
    ) -> None:
        self._witness = witness
        self._pipeline = pipeline
        self._turn = turn
        self._halt = halt
        self._hold_blocks = hold_blocks
        self._proves = proves
        self._touched: dict[str, set[bytes]] = {}
        self._in_doubt_since: int | None = None
        self._insisted_at = 0
        self.compared = 0
        self.contradictions = 0

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await self._witness.doubt.wait()
            self._witness.doubt.clear()
            await self.look()

    async def look(self) -> None:
        """Compare what was read since the last look, and read again what is in doubt."""
        others = self._witness.others()
        for seen in self._witness.take(AT_ONCE) if others or self._proves else ():
            other = next((one for one in others if one is not seen.source), None)
            if not await self._compare(seen, other) and self._proves:
                await self._prove(seen)
        self._expire()
        await self._read_again()

    async def _compare(self, seen: Seen, other: Endpoint | None) -> bool:
        """Whether there is another endpoint, and it said something of this block."""
        if other is None:
            return False
        try:
            found = await self._witness.compare(seen, other)
        except KeeperError as error:  # orphaned, or that one is behind
            log.debug("block_not_compared", block=seen.block.number, error=str(error))
            return False
        self.compared += 1
        self._conclude(seen, found)
        return True

    async def _prove(self, seen: Seen) -> None:
        try:
            found = await self._witness.prove(seen)
        except KeeperError as error:
            if seen.block.hash in self._pipeline.window:
                self._witness.not_proven(seen, error)
        else:
            if found is not None:
                self._conclude(seen, found)

    def _conclude(self, seen: Seen, found: Contradiction | None) -> None:
        if found is None:
            self._settle()
            return
        self.contradictions += 1
        liar = None if found.liar is None else found.liar.name
        log.error("endpoints_contradict", block=seen.block.number, contradiction=str(found), liar=liar)
        self._remember_touched(found.logs)
        self._take_missed(seen, found.missed)
        if found.other is None:
            return  # about logs alone
        if found.liar is not None:
            self._settle()
        elif found.calls:
            self._insisted_at = max(self._insisted_at, seen.block.number)
            if self._in_doubt_since is None:
                self._in_doubt_since = seen.block.number
            held = seen.block.number - self._in_doubt_since
            self._halt.set("doubt", str(found) if held < self._hold_blocks else None)

    def _settle(self) -> None:
        self._halt.set("doubt", None)
        self._in_doubt_since = None

    def _expire(self) -> None:
        """End what nobody concludes any more: whoever insisted may have left for good."""
        if self._in_doubt_since is None or not len(self._pipeline.window):
            return
        tip = self._pipeline.window.tip.number
        if tip - self._insisted_at >= self._hold_blocks:
            self._settle()  # whoever insists after that begins anew
        elif tip - self._in_doubt_since >= self._hold_blocks:
            self._halt.set("doubt", None)

    def _remember_touched(self, logs: Sequence[WireLog]) -> None:
        for track in self._pipeline.tracks:
            if track.book.market is None or not logs:
                continue
            wanted = track.filter
            ours = [entry for entry in logs if bytes.fromhex(entry.address[2:]) in wanted.addresses]
            try:
                self._touched.setdefault(track.name, set()).update(track.adapter.touches(track.book.market, ours))
            except DecodeError as error:
                log.warning("log_not_decoded", protocol=track.name, error=str(error))

    def _take_missed(self, seen: Seen, logs: Sequence[WireLog]) -> None:
        if logs and seen.block.hash in self._pipeline.window:
            try:
                self._pipeline.missed(logs)
            except DecodeError as error:
                log.warning("log_not_decoded", block=seen.block.number, error=str(error))

    async def _read_again(self) -> None:
        """Under the turn, since it changes the books; one round trip or two."""
        for track in self._pipeline.tracks:
            keys, touches = self._witness.take_distrusted(track.name), self._touched.pop(track.name, set())
            if not (keys or touches):
                continue
            known = {"protocol": track.name, "positions": len(keys), "touches": len(touches)}
            try:
                async with self._turn:
                    await self._pipeline.repair(track, sorted(keys), touches=sorted(touches))
            except KeeperError as error:
                for key in keys:
                    self._witness.distrust(track.name, key, at_once=False)
                self._touched.setdefault(track.name, set()).update(touches)
                log.warning("reading_again_postponed", **known, error=str(error))
            else:
                log.warning("positions_read_again", **known)

    def read(self) -> dict[str, Any]:
        """For the pulse."""
        return {
            "others": len(self._witness.others()),
            "compared": self.compared,
            "proven": self._witness.proven,
            "unproven": self._witness.unproven,
            "contradictions": self.contradictions,
            "in_doubt_since_block": self._in_doubt_since,
        }

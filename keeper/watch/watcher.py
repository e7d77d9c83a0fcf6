"""The loop: look, judge, rest. Everything that can pass is waited for; only a defect or a lost chain ends it.

A look costs four requests, however many accounts and protocols there are (until their calls no longer fit two
multicalls): the head, whether the last block looked at is still canonical, and two multicalls at the head. Now and then
come what is final and, where positions must be searched, the search, by state or by the account's own logs; when a
position changed, the logs that would tell of a liquidation.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from keeper.core.chain import Reverted
from keeper.core.errors import (
    DecodeError,
    RetryableError,
    RpcRateLimited,
    RpcRefused,
    StateUnavailable,
    UnrecoverableReorg,
)
from keeper.core.types import Block, Liquidated
from keeper.indexer.follow import canonical_ancestor
from keeper.indexer.rpc.client import RpcClient
from keeper.watch.desk import Desk
from keeper.watch.eyes import SEARCH_S, Eyes, Held
from keeper.watch.pace import Pace
from keeper.watch.trail import Tracer

log = structlog.get_logger(__name__)

FINALITY_S = 600.0
PRESUMED_FINAL = 1_000
"""Blocks after which one is final where the node does not know the tag."""

FIRST_TRACES, MORE_TRACES = 1, 10
"""Requests for an account's logs before the first assessment, which should not wait, and at each look after it."""

SHORTER_LOOKS = 3
"""So often in a row must the node be below what was looked at before that is taken for a reorg to a shorter chain; once
or twice it is another node behind the same address, which lags."""

DECODE_ATTEMPTS = 5


@dataclass
class _Headers:
    """Headers by height, each asked once per look."""

    rpc: RpcClient
    head: Block
    _known: dict[int, Block | None] = field(default_factory=dict)

    async def block_by_number(self, number: int | str) -> Block | None:
        if number == self.head.number:
            return self.head
        if isinstance(number, str):
            return await self.rpc.block_by_number(number)
        if number not in self._known:
            self._known[number] = await self.rpc.block_by_number(number)
        return self._known[number]


class Watcher:
    """finality: a block tag, or a number of confirmations. seen: called with every block that was judged."""

    def __init__(
        self,
        rpc: RpcClient,
        eyes: Eyes,
        desks: Sequence[Desk],
        finality: str | int,
        seen: Callable[[Block], None] = lambda block: None,
    ) -> None:
        self._rpc = rpc
        self._eyes = eyes
        self._desks = tuple(desks)
        self._finality = finality
        self._seen = seen
        self._final = 0
        self._final_asked_at: float | None = None
        self._shorter = 0
        self._tracer = Tracer(rpc)
        self._traced_at: float | None = None

    # --- the loop

    async def follow(self, pace: Pace, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        failures = 0
        while not stop.is_set():
            asked, began, limited = self._rpc.requests, time.monotonic(), False
            try:
                await self.look()
                await self.search()
                failures = 0
            except (RetryableError, DecodeError) as error:
                failures += 1
                limited = isinstance(error, RpcRateLimited)
                if isinstance(error, DecodeError) and failures >= DECODE_ATTEMPTS:
                    raise
                log.warning("look_failed", in_a_row=failures, kind=type(error).__name__, error=str(error))
            rest = pace.rest_s(
                requests=self._rpc.requests - asked,
                took_s=time.monotonic() - began,
                near=failures > 0 or not self.has_searched or any(desk.is_near() for desk in self._desks),
                limited=limited,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), rest)

    # --- one look

    async def look(self) -> None:
        """See the newest block, if it is another one than before, and judge it.

        Raises RetryableError when the node could not tell everything; the next look does what is left.
        """
        head = await self._rpc.block_by_number("latest")
        if head is None:
            raise StateUnavailable("the node has no latest block; it may still be starting")
        tips = [desk.tip for desk in self._desks]
        known = bool(self._eyes.sights) and all(tip is not None and tip.hash == head.hash for tip in tips)
        if known or self._lags(head):
            return
        headers = _Headers(self._rpc, head)
        await self._ask_finality(head)
        for desk in self._desks:
            await self._leave_orphaned(desk, headers)
        if not self._eyes.sights:
            await self._trace(head.number, FIRST_TRACES)
        accounts = [desk.account for desk in self._desks]
        sights = await self._eyes.see(head, accounts, {name: self._held(name) for name in self._eyes.adapters})
        for desk in self._desks:
            if desk.tip is None or desk.tip.number < head.number:
                desk.take(head, sights, await self._liquidations(desk, head), self._final)
        self._seen(head)

    def _held(self, name: str) -> Held:
        none: frozenset[bytes] = frozenset()
        return Held(
            market=next((desk.track(name).book.market for desk in self._desks), None),
            keys=none.union(*(desk.keys(name) for desk in self._desks)),
            touches=none.union(*(desk.trail(name).touches for desk in self._desks)),
        )

    # --- searching

    @property
    def has_searched(self) -> bool:
        """Whether everything that can be found by searching was, as of some moment."""
        trails = ((adapter, desk.trail(name)) for desk in self._desks for name, adapter in self._eyes.adapters.items())
        return all(self._tracer.is_complete(adapter, trail) for adapter, trail in trails)

    async def search(self) -> None:
        """The accounts' logs where positions are listed nowhere: what is old little by little, what is new now and
        then. What is found is seen at the next look, so no assessment waits for a search."""
        tips = [desk.tip for desk in self._desks]
        now = time.monotonic()
        due = self._traced_at is None or now - self._traced_at >= SEARCH_S
        if (due or not self.has_searched) and all(tips):
            self._traced_at = now if due else self._traced_at
            await self._trace(max(tip.number for tip in tips if tip is not None), MORE_TRACES)

    async def _trace(self, head: int, most: int) -> None:
        for desk in self._desks:
            for name, adapter in self._eyes.adapters.items():
                trail = desk.trail(name)
                found = await self._tracer.extend(adapter, desk.account, trail, head, most)
                if found != trail:
                    desk.keep_trail(name, found)
                    if self._tracer.is_complete(adapter, found) and not self._tracer.is_complete(adapter, trail):
                        log.info("account_logs_searched", protocol=name, account=desk.account, found=len(found.touches))

    def _lags(self, head: Block) -> bool:
        """Whether the node is only late, as far as one can tell."""
        looked_at = max((desk.tip.number for desk in self._desks if desk.tip is not None), default=0)
        self._shorter = self._shorter + 1 if head.number < looked_at else 0
        return 0 < self._shorter < SHORTER_LOOKS

    async def _ask_finality(self, head: Block) -> None:
        """Where the chain can no longer change, now and then; and the block from which a new desk begins."""
        final: Block | None = None
        if isinstance(self._finality, int):
            self._final = max(0, head.number - self._finality)
        else:
            now = time.monotonic()
            if self._final_asked_at is not None and now - self._final_asked_at < FINALITY_S:
                return
            try:
                final = await self._rpc.block_by_number(self._finality)
            except RpcRefused as error:
                log.warning("finality_unknown", tag=self._finality, presumed_blocks=PRESUMED_FINAL, error=str(error))
            known = head.number - PRESUMED_FINAL if final is None else final.number
            self._final = max(self._final, min(head.number - 1, known))
            self._final_asked_at = now
        new = [desk for desk in self._desks if desk.tip is None]
        if new and self._final < head.number:
            if final is None or final.number != self._final:
                final = await self._rpc.block_by_number(self._final)
            if final is None:
                raise StateUnavailable(f"the node has no block {self._final}, which it says is final")
            for desk in new:
                desk.begin_at(final)

    async def _leave_orphaned(self, desk: Desk, headers: _Headers) -> None:
        """A block that was looked at and is no longer canonical takes back what it said."""
        tip, window = desk.tip, desk.pipeline.window
        if tip is None or tip.number <= self._final:
            return
        theirs = await headers.block_by_number(tip.number)
        if theirs is not None and theirs.hash == tip.hash:
            return
        if theirs is None and headers.head.number > tip.number:
            raise StateUnavailable(f"the node announces block {headers.head.number} and has no block {tip.number}")
        ancestor = await canonical_ancestor(window, headers)
        if ancestor is None:
            raise UnrecoverableReorg(
                f"none of the blocks that 0x{desk.account.hex()} was judged at is on the chain whose head is "
                f"{headers.head.number} any more; check the node, and if it is right, move the account's file away"
            )
        await desk.pipeline.apply(Reverted(ancestor, window.above(ancestor.number)))

    async def _liquidations(self, desk: Desk, head: Block) -> dict[str, Sequence[Liquidated]]:
        """What liquidated positions of this account since it was last looked at; asked only where one changed."""
        found: dict[str, Sequence[Liquidated]] = {}
        for name, sight in self._eyes.sights.items():
            changed = desk.changed(name, sight)
            if desk.tip is not None and changed.keys() & desk.keys(name):
                seen = await self._eyes.liquidations(name, desk.tip.number + 1, head.number)
                found[name] = [one for one in seen if one.key in changed]
        return found

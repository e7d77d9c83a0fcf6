"""From nothing, or from long ago, to the present state at one block.

History is only asked *who* was touched; the chain then says *what* each of them is, once, at the target block. So a
backfill costs one log scan and one read per position, whatever happened in between, and no archive node.
What the scan saw is stored as it goes: a killed backfill resumes at its last checkpoint, which is seldom half a second
old. It is never above what was final: of a younger target, as on a young chain, the newest blocks may be replaced
meanwhile, and nothing is held yet by which that would be noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any, Protocol

from keeper.core.ports import ProtocolAdapter, Reads, Store
from keeper.core.types import Block, Book, Liquidated, RawLog, Update
from keeper.indexer.decoding import StateReader, read_state
from keeper.indexer.follow import Headers
from keeper.indexer.scan import LogSource, scan

Adapter = ProtocolAdapter[Any, Any]

_REMEMBERED = 300_000  # touches that are not written again, some 100 bytes each
_CHECKPOINT_S = 0.5  # what a killed scan loses at most; each costs a sync of the disk, whatever is in it
_CHECKPOINT_TOUCHES = 100_000


Missed = tuple[Adapter, Book[Any, Any], int | None]
"""A protocol, its book, and the block that the book is of. None: as far as the protocol was scanned, if ever."""


class ChainReader(Headers, LogSource, StateReader, Protocol): ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a backfill is: blocks scanned in phase "scan", state reads made in phase "read"."""

    protocol: str
    phase: str
    done: int
    total: int


Report = Callable[[Progress], None]


def beyond_head(adapter: Adapter, head: Block) -> str:
    """What is wrong with a protocol that begins where the chain is not yet."""
    return (
        f"start_block {adapter.start_block} of {adapter.name} is beyond the newest block, {head.number}: nobody of it "
        "is watched until the chain is there. Wait if the node is still syncing; else correct start_block: the block "
        "at which the protocol was deployed, or any before it"
    )


async def backfill(
    chain: ChainReader,
    store: Store,
    books: Sequence[Missed],
    target: Block,
    final: int,
    report: Report,
) -> list[Update[Any, Any]]:
    """Each adapter's state at the target block, as the update that leads there from its book.

    final: height that can no longer be reorganized; what is above is scanned again by whoever resumes.
    Raises RetryableError from the chain (call again: it resumes) and ConfigError when an address is not a market.
    """
    return [await _one(chain, store, missed, target, final, report) for missed in books]


async def _one(
    chain: ChainReader,
    store: Store,
    missed: Missed,
    target: Block,
    final: int,
    report: Report,
) -> Update[Any, Any]:
    adapter, book, of_block = missed
    reads = 0

    def read(calls: int) -> None:
        nonlocal reads
        reads += calls
        report(Progress(adapter.name, "read", reads, 0))

    [market] = await read_state(chain, target.ref, lambda: [adapter.bootstrap(book.market)], read)
    liquidations: list[Liquidated] = []
    seen_to = max(adapter.start_block - 1, store.scanned_to(adapter.name) or -1, -1 if of_block is None else of_block)
    first = seen_to + 1
    seen = _Seen(store, adapter.name, seen_to, final)

    def make(logs: Iterable[RawLog]) -> tuple[Sequence[bytes], Sequence[Liquidated]]:
        if book.market is None:
            return adapter.touches(market, logs), ()
        held = list(logs)
        return adapter.touches(market, held), adapter.liquidations(market, held)

    try:
        async for _, to_block, (touches, happened) in scan(chain, adapter.filter(market), first, target.number, make):
            seen.add(touches, to_block)
            liquidations += happened
            if seen.is_due():
                seen.store()
            report(Progress(adapter.name, "scan", to_block - first + 1, target.number - first + 1))
    finally:
        seen.store()
    touched = list(store.touches(adapter.name))

    def state() -> Reads[Update[Any, Any]]:
        head = yield adapter.head_calls(market)
        return (yield from adapter.snapshot(market, touched, target, head, book.positions))

    [update] = await read_state(chain, target.ref, lambda: [state()], read)
    found = market if update.market is None else update.market  # some is learned of only from what logs touched
    return Update(found, update.prices, update.positions, (*liquidations, *update.liquidations))


class _Seen:
    """What a scan saw. It becomes durable every now and then, as one checkpoint. after: the block it begins behind."""

    def __init__(self, store: Store, protocol: str, after: int, final: int) -> None:
        self._store = store
        self._protocol = protocol
        self._after = after
        self._final = final
        self._written: set[bytes] = set()  # the same accounts come again and again
        self._new: set[bytes] = set()
        self._to: int | None = None  # the last block that was seen, and is not stored yet
        self._due_at = time.monotonic() + _CHECKPOINT_S

    def add(self, touches: Iterable[bytes], to_block: int) -> None:
        self._new.update(filterfalse(self._written.__contains__, touches))
        self._to = to_block

    def is_due(self) -> bool:
        return len(self._new) >= _CHECKPOINT_TOUCHES or time.monotonic() >= self._due_at

    def store(self) -> None:
        if self._to is None:
            return
        with self._store.transaction() as tx:
            tx.add_touches(self._protocol, self._new, max(self._after, min(self._to, self._final)))
        if len(self._written) > _REMEMBERED:
            self._written.clear()
        self._written |= self._new
        self._new.clear()
        self._to, self._due_at = None, time.monotonic() + _CHECKPOINT_S

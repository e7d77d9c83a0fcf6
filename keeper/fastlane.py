"""What is ready leaves in the very turn in which the prices of the next block come, before the block itself is read.

    between blocks   what is armed ─▶ the few calls that decide about it, as bytes
    a head           ask them ─▶ the answer ─▶ `Firing.fire`, as of a block without a log of ours ─▶ the head goes on

The order of steps and every rule are those of the ordinary way: the very same `fire` decides, over the very same update
that the adapter makes of a block, and what it sends is held by the journal before a byte leaves. Only the reading is
less. A header that is proven has a bloom that is proven, and where it excludes every log of a protocol, its state is
that of the parent but for what the head calls return. Whatever else happened in the block is left to the ordinary way,
which takes the block as ever and finds what has left already.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from keeper.core.errors import KeeperError
from keeper.core.ports import Quickens
from keeper.core.types import Block, Book, Call, CallResult, LogFilter, Prices, Update
from keeper.executor.armed import Armed, View
from keeper.executor.ports import Venue
from keeper.indexer.bloom import Absence
from keeper.indexer.rpc.quick import QuickQuestion
from keeper.pipeline import Pipeline
from keeper.track import Track

log = structlog.get_logger(__name__)

_MOST_CALLS = 64
"""More would keep a node longer than the whole block would."""


class Asker(Protocol):
    """Who hears of heads: asks the question about the next one as it comes."""

    quick: QuickQuestion | None


@dataclass(frozen=True, slots=True)
class _Part:
    """Of one protocol. calls: what is asked, the head calls at `places`. quickens: its adapter, where these are some;
    else all."""

    track: Track
    market: Any
    places: Sequence[int]
    calls: Sequence[Call]
    quickens: Quickens[Any, Any] | None
    absence: Absence


class FastLane:
    """native_asset: whose price values gas."""

    def __init__(self, pipeline: Pipeline, asker: Asker, native_asset: bytes | None) -> None:
        self._pipeline = pipeline
        self._asker = asker
        self._assets = frozenset(() if native_asset is None else (native_asset,))
        self._absences: dict[str, tuple[LogFilter, Absence]] = {}
        self._landing_at = 0
        self._came_at_ns = 0
        self._left_for: Block | None = None
        self._error: BaseException | None = None

    def look(self) -> None:
        """Say what left since, now that nothing waits for it. Raises what went wrong in the connection's callback,
        where nobody could hear of it."""
        left_for, self._left_for = self._left_for, None
        if left_for is not None:
            log.info("transactions_left_at_once", block=left_for.number, block_hash="0x" + left_for.hash.hex())
        error, self._error = self._error, None
        if error is not None:
            raise error

    def prepare(self) -> None:
        """Have the question about the tip's child ready, where anything may be sent on its answer."""
        self._asker.quick = None
        pipeline = self._pipeline
        ready = pipeline.executor.firing.ready
        if not ready:
            return
        names = {one.draft.protocol for one in ready}
        parts = [self._part(track, ready) for track in pipeline.tracks if track.name in names]
        # Contracts of anybody are asked in requests of their own, so what depends on them is left to the ordinary way.
        parts = [part for part in parts if not any(call.anybody for call in part.calls)]
        calls = [call for part in parts for call in part.calls]
        if 0 < len(calls) <= _MOST_CALLS:
            tip = pipeline.window.tip
            answered = partial(self._answered, tip, parts)
            self._asker.quick = QuickQuestion(tip.ref, calls, partial(self._announced, tip, parts), answered)

    def _part(self, track: Track, ready: Sequence[Armed]) -> _Part:
        adapter, market, quickens = track.adapter, track.book.market, None
        calls = adapter.head_calls(market)
        places: Sequence[int] = range(len(calls))
        if isinstance(adapter, Quickens):
            quickens, positions = adapter, [one.ready.position for one in ready if one.draft.protocol == track.name]
            places = adapter.quick_places(market, positions, self._assets)
        cached = self._absences.get(track.name)
        if cached is None or cached[0] is not track.filter:
            cached = self._absences[track.name] = track.filter, Absence(track.filter)
        return _Part(track, market, places, [calls[place] for place in places], quickens, cached[1])

    def _announced(self, parent: Block, parts: Sequence[_Part], block: Block, came_at_ns: int) -> bool:
        """While the node works: whether its answer can decide anything."""
        if block.number != parent.number + 1 or block.timestamp < parent.timestamp:
            return False  # no chain allows it; the ordinary way says so
        if not all(part.absence.proven_by(block.bloom) for part in parts):
            return False
        self._landing_at, self._came_at_ns = self._pipeline.landing_at(block), came_at_ns
        try:
            self._pipeline.executor.firing.survey(block)
        except Exception as error:
            self._error = error
            return False
        return True

    def _answered(
        self, parent: Block, parts: Sequence[_Part], block: Block, results: Sequence[CallResult]
    ) -> Sequence[Future[Any]]:
        pipeline = self._pipeline
        if pipeline.window.tip is not parent or any(part.track.book.market is not part.market for part in parts):
            return ()
        try:
            views = self._views(parts, block, results)
        except KeeperError as error:  # the ordinary way meets it as well, and says so
            log.debug("block_not_judged_at_once", block=block.number, error=str(error))
            return ()
        if views is None or pipeline.executor.firing.awaits(views, self._landing_at):
            return ()  # the node's own word is needed as well
        try:
            pipeline.begin(block, self._came_at_ns)
            if not pipeline.executor.firing.fire(block, views, self._landing_at):
                return ()
            pipeline.latency.reached("quick")
        except Exception as error:
            self._error = error
            return ()
        self._left_for = block
        return pipeline.executor.firing.leaving

    def _views(self, parts: Sequence[_Part], block: Block, results: Sequence[CallResult]) -> dict[str, View] | None:
        """Each protocol as this block leaves it; None where an adapter would ask for more."""
        views, start = {}, 0
        for part in parts:
            end = start + len(part.places)
            read = _read(part, block, results[start:end])
            if read is None:
                return None
            track, book, start = part.track, Book(*read, part.track.book.positions), end
            screen = partial(track.judge.may_open, book, self._landing_at)
            views[track.name] = View(Venue(track.adapter, book), (), screen)
        return views


def _read(part: _Part, block: Block, results: Sequence[CallResult]) -> tuple[Any, Prices] | None:
    """Market and prices at a block without a log of ours; None where the adapter would ask for more."""
    book = part.track.book
    if part.quickens is not None:
        return part.quickens.quick_read(part.market, book.prices, part.places, results)
    reading = part.track.adapter.sync(book, block, (), results)
    try:
        next(reading)
    except StopIteration as done:
        update: Update[Any, Any] = done.value
        return (part.market if update.market is None else update.market), update.prices
    reading.close()
    return None

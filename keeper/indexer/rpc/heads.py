"""The newest head, for ever: pushed where the endpoint can push, polled where it cannot or falls silent.

An endpoint that tells of no head for longer than usual is asked for one, and where it has none either, so are the
others: one that stands still is left as soon as a single other one goes on.

Only the newest head matters. Whoever is slow finds one head waiting, not a queue of old ones; what lies between is
found by parent hashes downstream, as are reorgs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog

from keeper.core.errors import KeeperError, RpcMalformed, RpcUnavailable, WrongChain
from keeper.core.types import Block
from keeper.indexer.rpc.hedge import HEDGED_AFTER
from keeper.indexer.rpc.mux import Subscription, SubscriptionOverflow, SubscriptionRefused
from keeper.indexer.rpc.quick import Reflex
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.indexer.rpc.wire import read_header

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

R = TypeVar("R")

log = structlog.get_logger(__name__)

_GRACE_S = 1.0  # between finding a head by polling and calling its subscription silent
_POLL_INSTEAD_S = 60.0  # before a subscription that fell silent is tried again
_LONGEST_PAUSE_S = 5.0
_SHORTEST_SILENCE_S = 3.0
_SILENT_INTERVALS = 5.0
_SHORTEST_SILENCE_BESIDE_OTHERS_S = 1.0
_SILENT_INTERVALS_BESIDE_OTHERS = 1.5
_MOST_UNUSUAL = 4.0
_NAP_S = 0.25


async def follow_heads(pool: EndpointPool) -> AsyncGenerator[Block, None]:
    """Every new head, coalesced to the newest. Survives any endpoint's failure; ends only with WrongChain, when every
    endpoint turned out to serve another chain."""
    feed = HeadFeed(pool)
    task = asyncio.create_task(feed.run(), name="follow heads")
    try:
        while True:
            await feed.changed.wait()
            feed.changed.clear()
            if feed.newest is not None:
                yield feed.newest
            if task.done():
                task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


class HeadFeed:
    """One slot for the newest head, and what fills it."""

    def __init__(self, pool: EndpointPool) -> None:
        self.newest: Block | None = None
        self.changed = asyncio.Event()
        self._pool = pool
        self._interval_s: float | None = None
        self._new_at: float | None = None
        self._poll_until: dict[Endpoint, float] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._still: dict[Endpoint, int] = {}  # where an endpoint stood still while others went on

    async def run(self) -> None:
        try:
            while True:
                endpoint = self._choose()
                try:
                    await self._follow(endpoint)
                except WrongChain:
                    log.warning("heads_endpoint_left", endpoint=endpoint.name, reason="wrong chain")
                except KeeperError as error:
                    endpoint.failed(error)
                    await self._rest()
        finally:
            for task in self._leaving:
                task.cancel()
            self.newest = None
            self.changed.set()

    async def _rest(self) -> None:
        """Until one of them has rested, or long enough."""
        until = time.monotonic() + _LONGEST_PAUSE_S
        while (rest := self._choose().cooling_s) and time.monotonic() < until:  # noqa: ASYNC110 - a rest ends by itself
            await asyncio.sleep(min(rest, _NAP_S))

    def _choose(self) -> Endpoint:
        """The endpoint to follow: the best that pushes, else the best."""
        ranked = self._pool.ranked()
        if not ranked:
            raise WrongChain("; ".join(str(endpoint.excluded) for endpoint in self._pool.endpoints))
        well = [e for e in ranked if self._is_well(e)] or ranked
        return next((endpoint for endpoint in well if endpoint.can_push), well[0])

    def _is_well(self, endpoint: Endpoint) -> bool:
        """Whether it did not fail, and its head was seen to move since it stood still."""
        stands_still = endpoint in self._still and self._still[endpoint] == endpoint.head_number
        return not (endpoint.errors or stands_still or self._pool.is_behind(endpoint))

    async def _follow(self, endpoint: Endpoint) -> None:
        """Fill the slot from this endpoint until a better one is there. Raises when the endpoint fails."""
        timeout_s = self._pool.settings.call_timeout_s
        transport = await self._within(endpoint, endpoint.ready(timeout_s))
        until = self._poll_until.get(endpoint, 0.0)
        if not isinstance(transport, DuplexTransport) or time.monotonic() < until:
            await self._poll(endpoint, until if isinstance(transport, DuplexTransport) else None)
            return
        try:
            subscription = await self._within(endpoint, transport.subscribe("newHeads", timeout_s))
        except SubscriptionRefused as error:
            log.warning(
                "heads_subscription_refused", endpoint=endpoint.name, polling_s=_POLL_INSTEAD_S, error=str(error)
            )
            self._poll_until[endpoint] = time.monotonic() + _POLL_INSTEAD_S
            return
        try:
            # after the subscription stands, so that no head falls between the two
            self._offer(await self._latest(endpoint))
            reflex = Reflex(self._pool, endpoint, transport, subscription)
            subscription.holds = reflex.holds
            await self._listen(endpoint, subscription, reflex)
        finally:
            # beside what follows: an endpoint that hangs is not waited for
            leaving = asyncio.create_task(self._unsubscribe(transport, subscription))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _listen(self, endpoint: Endpoint, subscription: Subscription, reflex: Reflex) -> None:
        suspicious = False
        while self._choose() is endpoint:
            try:
                async with asyncio.timeout(_GRACE_S if suspicious else self._patience_s()):
                    raw = await subscription.newest()
            except SubscriptionOverflow:
                self._offer(await self._latest(endpoint))
                continue
            except TimeoutError:
                if self._choose() is not endpoint:
                    return  # it failed meanwhile, or lied: it is asked nothing
                if suspicious:
                    log.warning("heads_subscription_silent", endpoint=endpoint.name, polling_s=_POLL_INSTEAD_S)
                    self._poll_until[endpoint] = time.monotonic() + _POLL_INSTEAD_S
                    return
                suspicious = self._offer(await self._latest(endpoint))
                if not suspicious and await self._stands_still(endpoint):
                    return
                continue
            if endpoint.quarantine.active and self._choose() is not endpoint:
                return  # caught lying since: what it pushes is not taken any more
            suspicious = False
            came_at_ns = None
            if (taken := reflex.taken(raw)) is not None:
                block, came_at_ns = taken
            else:
                try:
                    block = self._header(endpoint, raw)
                except RpcMalformed as error:
                    # one bad header is no reason to lose the subscription; several make the endpoint rest
                    endpoint.failed(error)
                    continue
            rests = endpoint.rate_limited and endpoint.cooling_s  # which a push does not end: nobody asked for it
            if endpoint.errors and not rests and len(self._pool.endpoints) == 1:
                endpoint.succeeded()  # several are looked at by the pool: one may push, and answer nothing
            self._pool.saw_head(endpoint, block)
            self._offer(block, came_at_ns)

    def _header(self, endpoint: Endpoint, raw: msgspec.Raw) -> Block:
        block = read_header(raw, f"newHeads at {endpoint.name}", endpoint.pushed.check)
        if block is None:
            raise RpcMalformed(f"newHeads at {endpoint.name}: null instead of a header")
        return block

    async def _poll(self, endpoint: Endpoint, until: float | None) -> None:
        new_at = time.monotonic()
        while self._choose() is endpoint and (until is None or time.monotonic() < until):
            asked_at = time.monotonic()
            if self._offer(await self._latest(endpoint)):
                new_at = time.monotonic()
            elif time.monotonic() - new_at > self._patience_s():
                if await self._stands_still(endpoint):
                    return
                new_at = time.monotonic()
            if endpoint.errors:
                endpoint.succeeded(asked_at)
            await asyncio.sleep(self._pool.settings.poll_interval_s)

    async def _latest(self, endpoint: Endpoint) -> Block:
        return await self._within(endpoint, self._pool.latest_of(endpoint))

    async def _within(self, endpoint: Endpoint, answering: Coroutine[Any, Any, R]) -> R:
        """What it answers. Once another one is well, which may be meanwhile, it may take no longer than one that hangs
        may cost; raises RpcUnavailable then."""
        asked_at, after_s = time.monotonic(), self._pool.settings.call_timeout_s * HEDGED_AFTER
        task = asyncio.create_task(answering)
        try:
            while not task.done():
                left_s = asked_at + after_s - time.monotonic()
                if left_s <= 0 and (well := self._pool.well_beside(endpoint)):
                    raise RpcUnavailable(f"{endpoint.name}: no answer within {after_s:g} s, and {well[0].name} is well")
                await asyncio.wait([task], timeout=min(left_s, _NAP_S) if left_s > 0 else _NAP_S)
            return task.result()
        finally:
            if task.cancel():
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # marks it as seen

    async def _stands_still(self, endpoint: Endpoint) -> bool:
        """Whether others go on while this one does not. Where there are several others, two of them have to."""
        others = self._pool.well_beside(endpoint)
        if endpoint.head_number is None or not others:
            return False
        heads = [head for head in await asyncio.gather(*map(self._head_of, others)) if head is not None]
        if len(heads) < min(2, len(others)):
            return False
        furthest = sorted(heads)[-min(2, len(others))]
        if furthest <= endpoint.head_number or furthest <= (await self._latest(endpoint)).number:
            return False  # it was about to tell of the same
        self._still[endpoint] = endpoint.head_number
        log.warning(
            "heads_endpoint_stands_still", endpoint=endpoint.name, block=endpoint.head_number, others_at=furthest
        )
        return True

    async def _head_of(self, endpoint: Endpoint) -> int | None:
        try:
            return (await self._latest(endpoint)).number
        except KeeperError as error:
            endpoint.failed(error)
            return None

    def _offer(self, block: Block, came_at_ns: int | None = None) -> bool:
        """Put a head into the slot; whether it is another one than before. came_at_ns: where it is not just now."""
        if self.newest is not None and self.newest.ref == block.ref:
            return False
        self.newest = block
        self._pool.head_at_ns = time.perf_counter_ns() if came_at_ns is None else came_at_ns
        self.changed.set()
        self._measure()
        return True

    def _measure(self) -> None:
        """Keep a running average of the time between heads."""
        now = time.monotonic()
        if self._new_at is not None:
            seen = now - self._new_at
            usual = self._interval_s or seen
            # an outage, or a burst after it, is not how long blocks take
            seen = min(max(seen, usual / _MOST_UNUSUAL), usual * _MOST_UNUSUAL)
            self._interval_s = 0.8 * usual + 0.2 * seen
        self._new_at = now

    def _patience_s(self) -> float:
        """How long silence is normal: a few blocks' time on this chain, within bounds; less beside others to ask."""
        longest = self._pool.settings.silence_s
        if self._interval_s is None:
            return longest
        alone = len(self._pool.trusted()) == 1
        shortest = _SHORTEST_SILENCE_S if alone else _SHORTEST_SILENCE_BESIDE_OTHERS_S
        intervals = _SILENT_INTERVALS if alone else _SILENT_INTERVALS_BESIDE_OTHERS
        return min(longest, max(shortest, intervals * self._interval_s))

    async def _unsubscribe(self, transport: DuplexTransport, subscription: Subscription) -> None:
        try:
            await transport.unsubscribe(subscription, _GRACE_S)
        except RpcUnavailable as error:
            log.debug("heads_unsubscribe_unanswered", error=str(error))

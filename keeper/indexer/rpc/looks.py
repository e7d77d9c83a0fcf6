"""Looking at endpoints beside the work: at all of them now and then, and at one that failed as soon as it rested.

failed              its head is asked for, until it comes; no read has to find out whether it is well again
in quarantine       it may prove itself once its time is over
all others fail     one in quarantine that proves itself is on parole: it is asked until one of the others is well, and
                    its time runs on. The others must have failed twice in a row, so that one lost connection frees
                    nobody, or have asked for a long rest.
all lied            so may each, after a twelfth of its time: nobody is left whose word could wait for it
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from keeper.core.errors import KeeperError
from keeper.indexer.rpc.forkrules import accept_changed, may_have_changed
from keeper.indexer.rpc.hedge import HEDGED_AFTER
from keeper.indexer.rpc.quarantine import PARTS
from keeper.indexer.rpc.readmission import prove

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

log = structlog.get_logger(__name__)

_FAILS = 2  # errors in a row: with fewer it may merely have lost a connection
_REMEMBERED_S = 60.0
_LONGEST_NAP_S = 1.0  # what an endpoint's rest is may change meanwhile
_SHORTEST_NAP_S = 0.05
_LONG_REST_S = 5.0
_ALL, _LIARS = "rpc endpoints", "rpc endpoints that all lied"


class Looks:
    """The tasks that look. Begun by `start`, ended by `close`."""

    def __init__(self, pool: EndpointPool) -> None:
        self._pool = pool
        self._tasks: dict[Endpoint | str, asyncio.Task[None]] = {}
        self._proving: set[Endpoint] = set()
        self._closed = False
        if len(pool.endpoints) > 1:
            for endpoint in pool.endpoints:
                endpoint.on_change = self._changed
                endpoint.remembers_s = _REMEMBERED_S

    def start(self) -> None:
        if _ALL not in self._tasks:
            self._begin(_ALL, self._now_and_then())

    async def close(self) -> None:
        self._closed = True
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, whom: Endpoint | str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"look at {whom if isinstance(whom, str) else whom.name}")
        self._tasks[whom] = task
        task.add_done_callback(_ended)

    def _idle(self, whom: Endpoint | str) -> bool:
        task = self._tasks.get(whom)
        return not self._closed and (task is None or task.done())

    def _changed(self, endpoint: Endpoint) -> None:
        """It failed, or is well again."""
        if not endpoint.errors:
            if not endpoint.quarantine.active:
                self._end_parole()
            return
        if self._idle(endpoint):
            self._begin(endpoint, self._until_well(endpoint))
        if self._all_lied() and self._idle(_LIARS):
            self._begin(_LIARS, self._until_believed())

    async def _now_and_then(self) -> None:
        """At each of them, so that one that stands still is noticed; one that lied may prove itself when it is due."""
        pool = self._pool
        while True:
            await asyncio.sleep(min(pool.settings.probe_interval_s, pool.settings.quarantine_s))
            if accept_changed(pool.usable()):
                continue
            for endpoint in pool.usable() if len(pool.endpoints) > 1 else pool.lying():
                due = not endpoint.quarantine.active or endpoint.quarantine.due or may_have_changed(pool.usable())
                if due and not endpoint.cooling_s:
                    await self._look_at(endpoint)

    async def _until_well(self, endpoint: Endpoint) -> None:
        while endpoint.errors and endpoint.excluded is None:
            await asyncio.sleep(max(_SHORTEST_NAP_S, min(endpoint.cooling_s, _LONGEST_NAP_S)))
            if endpoint.quarantine.active and not endpoint.quarantine.paroled:
                return
            if not endpoint.errors:
                continue
            well = not endpoint.rate_limited if endpoint.cooling_s else await self._look_at(endpoint)
            if not well:
                await self._parole()

    async def _until_believed(self) -> None:
        while self._all_lied():
            await asyncio.sleep(min(_LONGEST_NAP_S, self._pool.settings.quarantine_s / PARTS))
            early = [one for one in self._pool.lying() if one.quarantine.early and not one.cooling_s]
            await asyncio.gather(*map(self._may_return, early))

    def _all_lied(self) -> bool:
        """Whether each of them is in quarantine, and none on parole."""
        usable = self._pool.usable()
        return bool(usable) and all(one.quarantine.active and not one.quarantine.paroled for one in usable)

    async def _look_at(self, endpoint: Endpoint) -> bool:
        """Its head; of one that lied and is due, the proof. Whether it did well."""
        asked_at = time.monotonic()
        try:
            if endpoint.quarantine.due:
                if not await self._prove(endpoint):
                    return False
                endpoint.readmit()
                self._end_parole()
            else:
                beside_others = len(self._pool.endpoints) > 1
                timeout_s = self._pool.settings.call_timeout_s
                await self._pool.latest_of(endpoint, timeout_s * HEDGED_AFTER if beside_others else timeout_s)
        except KeeperError as error:
            endpoint.failed(error)
            return False
        endpoint.succeeded(asked_at)
        return True

    async def _parole(self) -> None:
        """Where every endpoint fails that is in no quarantine, let those that are prove themselves."""
        if self._all_fail():
            lying = [endpoint for endpoint in self._pool.lying() if not endpoint.quarantine.paroled]
            await asyncio.gather(*(self._may_return(endpoint) for endpoint in lying if not endpoint.cooling_s))

    def _end_parole(self) -> None:
        """Somebody is well whose time is over."""
        for endpoint in self._pool.endpoints:
            endpoint.quarantine.paroled = False

    def _all_fail(self) -> bool:
        return all(_fails(one) for one in self._pool.usable() if not one.quarantine.active)

    async def _may_return(self, endpoint: Endpoint) -> None:
        asked_at = time.monotonic()
        try:
            if not await self._prove(endpoint):
                return
        except KeeperError as error:
            endpoint.failed(error)
            return
        if self._all_fail():
            endpoint.parole()
        endpoint.succeeded(asked_at)

    async def _prove(self, endpoint: Endpoint) -> bool:
        """As `prove` does; False where it is proving itself already."""
        if endpoint in self._proving:
            return False
        self._proving.add(endpoint)
        try:
            return await prove(self._pool, endpoint)
        finally:
            self._proving.discard(endpoint)


def _fails(endpoint: Endpoint) -> bool:
    return endpoint.errors >= _FAILS or (endpoint.rate_limited and endpoint.cooling_s > _LONG_REST_S)


def _ended(task: asyncio.Task[None]) -> None:
    """Nobody waits for such a task, so that a defect in it is told here."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("rpc_look_ended", task=task.get_name(), kind=type(error).__name__, error=str(error))

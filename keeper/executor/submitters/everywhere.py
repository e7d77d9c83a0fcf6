"""Several routes as one: every transaction goes all of them at once, and is accepted when one accepts it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import zip_longest

import structlog

from keeper.core.errors import KeeperError, RetryableError, RpcRefused
from keeper.executor.ports import Route

log = structlog.get_logger(__name__)

Outcomes = Sequence[KeeperError | None]


class Everywhere:
    def __init__(self, name: str, routes: Sequence[Route]) -> None:
        self.name = name
        self._routes = tuple(routes)
        self.ordered_by_fee = all(route.ordered_by_fee for route in routes)
        self._late: set[asyncio.Task[Outcomes]] = set()

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """Returns once every transaction is accepted somewhere, or all have answered: nobody waits for the slowest."""
        running = {asyncio.create_task(self._submit(route, raws)) for route in self._routes}
        self._late |= running
        answered: list[Outcomes] = []
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            self._late -= done
            answered += [task.result() for task in done]
            if all(outcome is None for outcome in _merged(answered)):
                break
        for task in running:
            task.add_done_callback(self._late.discard)
        return _merged(answered)

    async def check(self) -> str:
        return "; ".join([await route.check() for route in self._routes])

    async def close(self) -> None:
        """What is not answered by now is asked of the chain."""
        late = list(self._late)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for route in self._routes:
            await route.close()

    async def _submit(self, route: Route, raws: Sequence[bytes]) -> Outcomes:
        try:
            outcomes: Outcomes = await route.submit_many(raws)
        except KeeperError as error:
            outcomes = [error] * len(raws)
        failed = [outcome for outcome in outcomes if outcome is not None]
        if failed and len(self._routes) > 1:
            log.warning("submitter_failed", submitter=route.name, failed=len(failed), error=str(failed[0]))
        return outcomes


def _merged(answered: Sequence[Outcomes]) -> list[KeeperError | None]:
    """Per transaction: accepted if anybody did; perhaps, if anybody may have; else why all refused it."""
    return [_merge(outcomes) for outcomes in zip_longest(*answered)]


def _merge(outcomes: Outcomes) -> KeeperError | None:
    if any(outcome is None for outcome in outcomes):
        return None
    unknown = next((outcome for outcome in outcomes if isinstance(outcome, RetryableError)), None)
    if unknown is not None:
        return unknown
    return RpcRefused("; ".join(dict.fromkeys(str(outcome) for outcome in outcomes)))

"""Transactions that one endpoint did not get to the network, brought to all of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from itertools import zip_longest
from typing import Any

from eth_hash.auto import keccak

from keeper.core.errors import KeeperError, RetryableError

_REMEMBERED = 4_096

Outcomes = list[KeeperError | None]


class Submitted:
    """Which transactions this process has sent before. Forgotten by a restart: then the first endpoint gets another
    chance, and a block later the others do."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def add(self, raws: Sequence[bytes]) -> bool:
        """Whether none of them was sent before."""
        hashes = [keccak(raw) for raw in raws]
        fresh = not any(one in self._hashes for one in hashes)
        for one in hashes:
            self._hashes[one] = None
            self._hashes.move_to_end(one)
        while len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
        return fresh


async def first_acceptance(
    submissions: Sequence[Coroutine[Any, Any, Outcomes]], late: set[asyncio.Task[Outcomes]]
) -> Outcomes:
    """Per transaction the best that any endpoint said, as soon as each is accepted by one, or all have answered.

    late: where those who still have to answer are kept; nobody waits for them.
    """
    running = {asyncio.create_task(one, name="submit everywhere") for one in submissions}
    late |= running
    for task in running:
        task.add_done_callback(late.discard)
    answered: list[Outcomes] = []
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        answered += [task.result() for task in done]
        if all(outcome is None for outcome in _merged(answered)):
            break
    return _merged(answered)


def _merged(answered: Sequence[Outcomes]) -> Outcomes:
    """Accepted if anybody did; perhaps, if anybody may have; else the first refusal."""
    return [_best(outcomes) for outcomes in zip_longest(*answered)]


def _best(outcomes: Sequence[KeeperError | None]) -> KeeperError | None:
    if any(outcome is None for outcome in outcomes):
        return None
    return next((outcome for outcome in outcomes if isinstance(outcome, RetryableError)), outcomes[0])

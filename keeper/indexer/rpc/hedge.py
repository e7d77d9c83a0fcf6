"""A question that takes long is asked a second time, elsewhere: a node that hangs costs a moment, not a time-out.

Dean and Barroso, "The Tail at Scale" (2013), call it a hedged request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keeper.core.errors import KeeperError
from keeper.indexer.rpc.endpoint import is_worth_asking_elsewhere

R = TypeVar("R")

HEDGED_AFTER = 0.25
"""Of the time that an answer may take."""


async def hedged(
    usual: Coroutine[Any, Any, R], stand_in: Callable[[], Coroutine[Any, Any, R] | None], after_s: float
) -> R:
    """What `usual` gives or, where that takes longer than `after_s`, `stand_in` if that comes first; that one is called
    only then, and gives None where nobody can stand in.

    Whoever is not needed any more is cancelled. An error that is the same everywhere is raised at once; where both fail
    otherwise, the usual one's.
    """
    first = asyncio.create_task(usual)
    tasks = [first]
    try:
        await asyncio.wait(tasks, timeout=after_s)
        if not first.done() and (other := stand_in()) is not None:
            tasks.append(asyncio.create_task(other))
        running = set(tasks)
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=tasks.index):
                error = task.exception()
                if error is None:
                    return task.result()
                if not (isinstance(error, KeeperError) and is_worth_asking_elsewhere(error)):
                    raise error
        return first.result()
    finally:
        if late := [task for task in tasks if task.cancel()]:
            await asyncio.wait(late)
        for task in tasks:  # marks as seen what nobody needs to know any more
            if not task.cancelled():
                task.exception()

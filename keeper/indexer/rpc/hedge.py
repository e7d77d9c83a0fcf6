"""A question that takes long is asked a second time, elsewhere: a node that hangs costs a moment, not a time-out.

Dean and Barroso, "The Tail at Scale" (2013), call it a hedged request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keeper.core.errors import KeeperError

R = TypeVar("R")

HEDGED_AFTER = 0.25
"""Of the time that an answer may take."""


async def hedged(
    usual: Coroutine[Any, Any, R], stand_in: Callable[[], Coroutine[Any, Any, R]], after_s: float
) -> tuple[R, bool]:
    """What `usual` gives or, where that takes longer than `after_s`, `stand_in` if that comes first; whether it was the
    stand-in's.

    Whoever is not needed any more is cancelled. Raises what `usual` raises; that the stand-in fails is not the end.
    """
    first = asyncio.create_task(usual)
    running = {first}
    try:
        await asyncio.wait(running, timeout=after_s)
        if not first.done():
            running.add(asyncio.create_task(stand_in()))
        while True:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if first in done:
                return first.result(), False
            for second in done:
                error = second.exception()
                if error is None:
                    return second.result(), True
                if not isinstance(error, KeeperError):
                    raise error
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

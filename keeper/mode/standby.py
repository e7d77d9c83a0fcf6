"""A hot standby: the same daemon on the same store, waiting until the one that writes it is gone.

The journal and the chain's nonce make a takeover safe at any instant: it is what every start after a crash is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from keeper.core.errors import StoreInUse
from keeper.core.ports import Store

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 1.0


async def open_when_free(open_store: Callable[[], Store], stop: asyncio.Event) -> Store | None:
    """The store, once nobody else writes it; None when told to stop before. Raises whatever else keeps it closed."""
    holder = ""
    while True:
        try:
            store = open_store()
        except StoreInUse as error:
            if str(error) != holder:
                log.info("standing_by", reason=str(error))
            holder = str(error)
        else:
            if holder:
                log.warning("took_over", before=holder)
            return store
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_AGAIN_S)
        if stop.is_set():
            return None

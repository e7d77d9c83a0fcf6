"""A process that delivers what is in a store, by the rules it is given, until it is killed.

usage: delivery_worker.py STORE_URL WEBHOOK_URL PER_MINUTE
"""

from __future__ import annotations

import asyncio
import sys
import time

from tenacity import wait_fixed

from keeper.core.secret import Secret
from keeper.core.types import Band
from keeper.notifier import queue
from keeper.notifier.outbox import Deliverer
from keeper.notifier.routing import Route, Router
from keeper.notifier.webhook import WebhookChannel
from keeper.store import open_store
from tests.support.inbox import SECRET


async def main(store_url: str, webhook_url: str, per_minute: int) -> None:
    queue.MINUTE_S = 0.05  # so that a test sees several minutes
    store = open_store(store_url, chain_id=31337)
    channel = WebhookChannel("hook", Secret(webhook_url), Secret(SECRET), Band.CALL)
    router = Router.of([Route(channel="hook", per_minute=per_minute or None)])
    await Deliverer(store, [channel], time.time, wait_fixed(0.01), router=router).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

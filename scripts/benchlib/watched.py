"""The shipped daemon with two stop-watches: `python watched.py keeper.toml`, until SIGTERM. JSON Lines on stdout.

`{"block"}` when a block has been taken whole. `{"sent_block", "seconds", "processor_s"}` when the node has answered the
transactions sent because of a block: seconds since its head arrived, and what of them our own code was busy. Arrived is
when the operating system said that there is something to read, so that the websocket's own work counts as ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keeper.core.chain import Committed, Step
from keeper.core.errors import KeeperError
from keeper.core.ports import Notifier, Store
from keeper.daemon import run_daemon
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.pipeline import Pipeline
from keeper.wire import House, open_house


class StampingSelector(selectors.DefaultSelector):
    """Remembers when it last woke up because there was something to read, by the clock and by our processor time."""

    woke_at = (0.0, 0.0)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        if events:
            self.woke_at = (time.perf_counter(), time.thread_time())
        return events


class WatchedHouse(House):
    selector = StampingSelector()
    head_at = (0.0, 0.0)
    applying = 0

    async def connect(self) -> RpcClient:
        rpc = await super().connect()
        transport = await rpc.endpoints[0].ready(1.0)
        if not isinstance(transport, DuplexTransport):
            raise TypeError("give the daemon a websocket or an IPC path: over HTTP no head is pushed")
        feed, submit_many = transport.mux.feed, rpc.submit_many

        def stamp_heads(payload: bytes) -> None:
            if b"eth_subscription" in bytes(payload[:120]):
                WatchedHouse.head_at = self.selector.woke_at
            feed(payload)

        async def time_submission(raws: Sequence[bytes]) -> list[KeeperError | None]:
            outcomes = await submit_many(raws)
            if raws:
                clock, processor = time.perf_counter() - self.head_at[0], time.thread_time() - self.head_at[1]
                say(sent_block=self.applying, seconds=clock, processor_s=processor)
            return outcomes

        transport.mux.__dict__["feed"] = stamp_heads
        rpc.__dict__["submit_many"] = time_submission
        return rpc

    def pipeline(
        self, rpc: RpcClient, store: Store, channels: Sequence[Notifier], wake: Callable[[], None]
    ) -> Pipeline:
        pipeline = super().pipeline(rpc, store, channels, wake)
        apply, skip_to = pipeline.apply, pipeline.skip_to

        async def tell_applied(step: Step) -> None:
            WatchedHouse.applying = step.block.number if isinstance(step, Committed) else 0
            await apply(step)
            say(block=pipeline.window.tip.number)

        def tell_skipped(*args: Any, **named: Any) -> None:
            skip_to(*args, **named)
            say(block=pipeline.window.tip.number)

        pipeline.__dict__.update(apply=tell_applied, skip_to=tell_skipped)
        return pipeline


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main() -> int:
    opened = open_house(argparse.Namespace(config=Path(sys.argv[1]), log_format="json", verbose=0))
    house = WatchedHouse(opened.file, opened.config)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(house.selector)) as runner:
        return runner.run(run_daemon(house, lambda _: None, None))


if __name__ == "__main__":
    sys.exit(main())

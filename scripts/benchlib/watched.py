"""The shipped daemon with two stop-watches: `python watched.py keeper.toml`, until SIGTERM. JSON Lines on stdout.

`{"block"}` when a block has been taken whole; `{"armed"}` when transactions are ready for the next one. `{"sent_block",
"hash", "seconds", "left_s", "processor_s", "count", "messages"}` when the node has answered so many transactions sent
because of a block: seconds since its head arrived until then, and until they left; what of these our own code was busy,
and every message to the node meanwhile, as lists of requests. Arrived is when the operating system said that
there is something to read, so that the websocket's own work counts as ours.
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
from typing import Any, ClassVar

from keeper.core.chain import Committed, Step
from keeper.core.errors import KeeperError
from keeper.core.ports import Notifier, Store
from keeper.core.types import Block, BlockRef
from keeper.daemon import run_daemon
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.mux import Exchange, Replies, Then
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.indexer.rpc.wire import Request
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
    applying = BlockRef(0, b"")
    messages: ClassVar[list[Sequence[Request] | bytes]] = []

    async def connect(self) -> RpcClient:
        rpc = await super().connect()
        transport = await rpc.endpoints[0].ready(1.0)
        if not isinstance(transport, DuplexTransport):
            raise TypeError("give the daemon a websocket or an IPC path: over HTTP no head is pushed")
        feed, exchange, submit_many = transport.mux.feed, transport.exchange, rpc.submit_many
        ask_now, begin = transport.ask_now, rpc.begin

        def stamp_heads(payload: bytes) -> None:
            if b"eth_subscription" in bytes(payload[:120]):
                WatchedHouse.head_at = self.selector.woke_at
                self.messages.clear()
            feed(payload)

        async def note(requests: Sequence[Request], timeout_s: float) -> Replies:
            self.messages.append(requests)
            return await exchange(requests, timeout_s)

        def note_at_once(size: int, payload: Callable[[int], bytes], then: Then) -> Exchange:
            def noted(first_id: int) -> bytes:
                self.messages.append(made := payload(first_id))
                return made

            return ask_now(size, noted, then)

        async def time_submission(raws: Sequence[bytes]) -> list[KeeperError | None]:
            left = self._since_head()
            outcomes = await submit_many(raws)
            if raws:
                self._tell_sent(len(raws), left)
            return outcomes

        def time_beginning(raws: Sequence[bytes]) -> asyncio.Future[Sequence[KeeperError | None]] | None:
            left = self._since_head()
            begun = begin(raws)
            if begun is not None:
                begun.add_done_callback(lambda _: self._tell_sent(len(raws), left))
            return begun

        transport.mux.__dict__["feed"] = stamp_heads
        transport.__dict__.update(exchange=note, ask_now=note_at_once)
        rpc.__dict__.update(submit_many=time_submission, begin=time_beginning)
        return rpc

    def _since_head(self) -> tuple[float, float]:
        """Seconds by the clock, and of our processor time."""
        return time.perf_counter() - self.head_at[0], time.thread_time() - self.head_at[1]

    def _tell_sent(self, count: int, left: tuple[float, float]) -> None:
        seconds, _ = self._since_head()
        messages = [requests_of(one) if isinstance(one, bytes) else one for one in self.messages]
        what = {"seconds": seconds, "left_s": left[0], "processor_s": left[1], "count": count, "messages": messages}
        say(sent_block=self.applying.number, hash="0x" + self.applying.hash.hex(), **what)

    def pipeline(
        self, rpc: RpcClient, store: Store, channels: Sequence[Notifier], wake: Callable[[], None], **others: Any
    ) -> Pipeline:
        pipeline = super().pipeline(rpc, store, channels, wake, **others)
        apply, skip_to, arm, begin = pipeline.apply, pipeline.skip_to, pipeline.arm, pipeline.begin

        async def tell_applied(step: Step) -> None:
            WatchedHouse.applying = step.block.ref if isinstance(step, Committed) else step.ancestor
            await apply(step)
            say(block=pipeline.window.tip.number)

        def tell_skipped(*args: Any, **named: Any) -> None:
            skip_to(*args, **named)
            say(block=pipeline.window.tip.number)

        async def tell_armed() -> None:
            await arm()
            say(armed=pipeline.window.tip.number, protocols=sorted(pipeline.executor.armed))

        def note_block(block: Block, at_ns: int | None) -> None:
            WatchedHouse.applying = block.ref
            begin(block, at_ns)

        pipeline.__dict__.update(begin=note_block, apply=tell_applied, skip_to=tell_skipped, arm=tell_armed)
        return pipeline


def requests_of(message: bytes) -> list[Request]:
    """What a message asks."""
    said = json.loads(message)
    return [(one["method"], one["params"]) for one in (said if isinstance(said, list) else [said])]


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main() -> int:
    opened = open_house(argparse.Namespace(config=Path(sys.argv[1]), log_format="json", verbose=0))
    house = WatchedHouse(opened.file, opened.config)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(house.selector)) as runner:
        return runner.run(run_daemon(house, lambda _: None, None))


if __name__ == "__main__":
    sys.exit(main())

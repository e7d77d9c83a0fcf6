"""One of two endpoints is lost, or answers nonsense: the daemon goes on with the other one, such as it is."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

from keeper.core.chain import Step, Window
from keeper.core.types import Block
from keeper.daemon import Daemon
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from tests.integration.test_absurd_head import Taking
from tests.support.fault_node import FakeChain, FaultNode

SETTINGS = RpcSettings(call_timeout_s=0.5, probe_interval_s=0.05, silence_s=0.3)


class SoonFinal(Taking):
    """Finality follows two blocks behind the tip, and nothing below it is held. heads: heights of those heard of."""

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.heads: list[int] = []

    def heard(self, head: Block, at_ns: int) -> None:
        self.heads.append(head.number)

    async def apply(self, step: Step) -> None:
        await super().apply(step)
        self.window.forget_below(self.window.tip.number - 2)


async def test_an_endpoint_that_is_later_than_finality_ends_nothing() -> None:
    """Its heads are below all that is held, until it is there as well: then they are followed."""
    chain, late = FakeChain(10), FakeChain(10)
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(chain.serve(FaultNode()))
        other = await stack.enter_async_context(late.serve(FaultNode()))
        rpc = await RpcClient.connect([first.ws, other.ws], 31337, settings=SETTINGS)
        stack.push_async_callback(rpc.close)
        tip = await rpc.block_by_number(9)
        assert tip is not None
        pipeline = SoonFinal(Window([tip]))
        house = SimpleNamespace(config=SimpleNamespace(chain=SimpleNamespace(id=31337, wrapped_native=None)))
        daemon = Daemon(cast(Any, house), rpc, cast(Any, None), cast(Any, pipeline), lambda step: None)
        following = asyncio.create_task(daemon.follow(until_block=18))
        async with asyncio.timeout(20):
            while pipeline.window.tip.number < 16:
                if len(chain.blocks) - 1 == pipeline.window.tip.number:
                    await first.push(chain.mine())
                await asyncio.sleep(0.01)
            await first.stop()
            pipeline.heads.clear()
            while not following.done():
                if len(late.blocks) < 19:
                    await other.push(late.mine())
                await asyncio.sleep(0.05)
            await following
        assert min(pipeline.heads) < 14
        assert pipeline.window.tip.number == 18

"""One of two endpoints is lost, or answers nonsense: the daemon goes on with the other one, such as it is."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from keeper.core.chain import Step, Window
from keeper.core.types import Block
from keeper.daemon import Daemon
from keeper.devnet.chain import DevChain
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from tests.integration.test_absurd_head import Taking
from tests.support.daemon import deploy
from tests.support.fault_node import FakeChain, FaultNode
from tests.support.fault_proxy import fault_proxy
from tests.support.onchain import assert_parity

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


def test_what_does_not_decode_is_read_from_the_other_endpoint(dev_chain: DevChain, tmp_path: Path) -> None:
    """Logs without their last word, as often as the first endpoint is asked: no block has to be begun again."""
    account = dev_chain.accounts[0]
    dev_chain.aave.supply(account, "WETH", Decimal(10))
    with (
        fault_proxy(dev_chain) as odd,
        deploy(tmp_path, dev_chain, rpc=[odd.ws, dev_chain.ws_url]) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        cut = lambda logs: [{**log, "data": log["data"][:-64]} for log in logs]  # noqa: E731
        odd.tamper("eth_getLogs", cut, times=1_000, when=lambda params: bool(dev_chain.rpc("eth_getLogs", params[0])))
        for _ in range(2):
            dev_chain.aave.borrow(account, "USDC", Decimal(500))
            keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        assert not keeper.said("retrying")
        failed = keeper.said("rpc_endpoint_failed")
        assert {one["endpoint"] for one in failed} == {odd.ws}
        assert all("it decodes" in one["error"] for one in failed)

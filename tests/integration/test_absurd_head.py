"""One endpoint of three announces a head that cannot be: the daemon follows the other two, and knows who lied."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keeper.core.chain import Committed, Step, Window
from keeper.core.errors import HeadRefused
from keeper.core.types import Block
from keeper.daemon import Daemon
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from tests.support.fault_node import FakeChain, FaultNode

SETTINGS = RpcSettings(call_timeout_s=0.5, probe_interval_s=0.05, silence_s=0.3, quarantine_s=60)
FORGED = "0x" + "5a" * 32


class Taking:
    """A pipeline that takes blocks and reads nothing."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.newcomers = self.tracks = ()
        self.executor = SimpleNamespace(firing=SimpleNamespace(ready=()))
        self.has_more_to_tell = False

    def load(self) -> None:
        pass

    def heard(self, head: Block, at_ns: int) -> None:
        pass

    async def arm(self) -> None:
        pass

    async def apply(self, step: Step) -> None:
        assert isinstance(step, Committed)
        self.window.extend(step.block)


def forged(chain: FakeChain, change: dict[str, str]) -> Any:
    def latest(number: str, full: bool) -> Any:
        return {**chain.tip, "hash": FORGED, **change} if number == "latest" else chain.by_number(number, full)

    return latest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"number": hex(10**9), "parentHash": "0x" + "5b" * 32}, "2 other endpoints are at"),
        ({"number": hex(40), "parentHash": "0x" + "5b" * 32}, "2 other endpoints are at"),
        ({"number": hex(9)}, "names block 2 as its parent"),
    ],
    ids=["absurd", "a little too far", "on our own tip"],
)
async def test_the_daemon_follows_the_honest_two(change: dict[str, str], words: str) -> None:
    chain = FakeChain(3)
    if "parentHash" not in change:
        change = {**change, "parentHash": chain.tip["hash"]}
    async with contextlib.AsyncExitStack() as stack:
        first, second, liar = [await stack.enter_async_context(chain.serve(FaultNode())) for _ in range(3)]
        liar.on("eth_getBlockByNumber", forged(chain, change))
        rpc = await RpcClient.connect([node.ws for node in (first, second, liar)], 31337, settings=SETTINGS)
        stack.push_async_callback(rpc.close)
        tip = await rpc.block_by_number(2)
        assert tip is not None
        async with asyncio.timeout(20):
            while rpc.endpoints[2].head_number is None:
                await asyncio.sleep(0.01)
            pipeline = Taking(Window([tip]))
            house = SimpleNamespace(config=SimpleNamespace(chain=SimpleNamespace(id=31337, wrapped_native=None)))
            daemon = Daemon(cast(Any, house), rpc, cast(Any, None), cast(Any, pipeline), lambda step: None)
            following = asyncio.create_task(daemon.follow(until_block=7))
            waited = 0
            while not following.done():
                is_reached, waited = pipeline.window.tip.number == len(chain.blocks) - 1, waited + 1
                if (is_reached or waited % 10 == 0) and len(chain.blocks) < 8:
                    chain.mine()
                await asyncio.sleep(0.05)
            await following
        assert [block.number for block in pipeline.window.blocks] == [2, 3, 4, 5, 6, 7]
        one, two, odd = rpc.status()
        assert words in (odd.quarantined or "") and odd.head_number is None
        assert one.quarantined is None and two.quarantined is None
        assert not any(rpc.is_behind(endpoint) for endpoint in rpc.endpoints[:2])


async def test_two_that_stand_still_prove_nothing_against_one_that_goes_on() -> None:
    """Its way cannot be found for a moment, in a reorg of its own; once another moves on, it is the odd one out."""
    chain = FakeChain(3)
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(chain.serve(FaultNode())) for _ in range(3)]
        ahead = forged(chain, {"number": hex(40), "parentHash": "0x" + "5b" * 32})
        nodes[2].on("eth_getBlockByNumber", ahead)
        rpc = await RpcClient.connect([node.ws for node in nodes], 31337, settings=SETTINGS)
        stack.push_async_callback(rpc.close)
        head = await rpc.latest_of(rpc.endpoints[2])
        for _ in range(3):
            await rpc.hold_against_others(head, 3, moving=True)
        chain.mine()
        with pytest.raises(HeadRefused, match="2 other endpoints are at 3 at most"):
            await rpc.hold_against_others(head, 3, moving=True)

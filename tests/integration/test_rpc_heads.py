"""Heads keep coming, whatever happens to the endpoint that announces them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keeper.core.errors import RpcRateLimited, RpcUnavailable
from keeper.core.types import Block
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.heads import HeadFeed
from keeper.indexer.rpc.pool import RpcSettings
from tests.support.fault_node import FakeChain, FaultNode, Hang, Refuse

FAST = RpcSettings(call_timeout_s=0.5, poll_interval_s=0.05, silence_s=0.2, probe_interval_s=0.2)


class Heads:
    """A consumer of heads with a deadline on each."""

    def __init__(self, rpc: RpcClient) -> None:
        self._heads = rpc.heads()

    async def next(self, within_s: float = 5.0) -> Block:
        return await asyncio.wait_for(anext(self._heads), within_s)

    async def until(self, header: dict[str, str], within_s: float = 8.0) -> None:
        """Read heads until this one."""
        async with asyncio.timeout(within_s):
            while "0x" + (await anext(self._heads)).hash.hex() != header["hash"]:
                pass

    async def close(self) -> None:
        await self._heads.aclose()


@asynccontextmanager
async def following(*urls: str, settings: RpcSettings = FAST) -> AsyncIterator[Heads]:
    rpc = await RpcClient.connect(urls, 31337, settings=settings)
    heads = Heads(rpc)
    try:
        yield heads
    finally:
        await heads.close()
        await rpc.close()


async def test_the_current_head_comes_first_and_then_each_push() -> None:
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        for number in (3, 4):
            await node.push(chain.mine())
            assert (await heads.next()).number == number


async def test_a_slow_consumer_finds_the_newest_head_only() -> None:
    """No queue grows: what lies between is found by parent hashes."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        for _ in range(3000):
            await node.push(chain.mine())
        await asyncio.sleep(0.3)
        seen = [(await heads.next()).number]
        while seen[-1] != 3002:
            seen.append((await heads.next()).number)
        assert len(seen) <= 2


async def test_a_head_of_another_branch_at_the_same_height_is_told() -> None:
    """A reorg announces itself as a head; it is not for this part to judge."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        chain.blocks.pop()
        replacement = chain.mine(branch=1)
        await node.push(replacement)
        assert "0x" + (await heads.next()).hash.hex() == replacement["hash"]


async def test_a_lost_connection_is_opened_again_and_the_current_head_told() -> None:
    """What was announced meanwhile is not missed."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        await node.drop_connections()
        missed = chain.mine()
        await heads.until(missed)
        while not node.subscribers:
            await asyncio.sleep(0.02)
        await node.push(chain.mine())
        assert (await heads.next()).number == 4


async def test_a_restarted_node_is_followed_again() -> None:
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        await node.stop()
        await asyncio.sleep(0.3)
        await node.start()
        await heads.until(chain.mine())


async def test_a_silent_subscription_is_replaced_by_polling() -> None:
    """The connection stands, requests are answered, and no push ever comes."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        node.deaf = True
        for _ in range(3):
            await heads.until(chain.mine())


async def test_a_quiet_chain_is_no_silent_subscription() -> None:
    """No blocks for a while: still subscribed, and the next push is told at once."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        await asyncio.sleep(1.0)
        assert node.count("eth_subscribe") == 1
        await node.push(chain.mine())
        assert (await heads.next(0.2)).number == 3


async def test_a_node_that_cannot_push_is_polled() -> None:
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node:
        node.answers["eth_subscribe"] = lambda *_: Refuse(-32601, "notifications not supported")
        async with following(node.ws) as heads:
            assert (await heads.next()).number == 2
            await heads.until(chain.mine())


async def test_http_is_polled() -> None:
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.http) as heads:
        assert (await heads.next()).number == 2
        node.fail("eth_getBlockByNumber", Hang())
        await heads.until(chain.mine())


async def test_a_pushed_head_does_not_end_a_rest_that_was_asked_for() -> None:
    """Of the only endpoint; any other trouble of it is over with a push."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node:
        rpc = await RpcClient.connect([node.ws], 31337, settings=FAST)
        heads = Heads(rpc)
        try:
            assert (await heads.next()).number == 2
            for error, rests in ((RpcUnavailable("no answer"), False), (RpcRateLimited("too many", 60.0), True)):
                rpc.endpoints[0].failed(error)
                await node.push(chain.mine())
                await heads.until(chain.tip)
                assert (rpc.endpoints[0].cooling_s > 50) == rests
        finally:
            await heads.close()
            await rpc.close()


async def test_a_malformed_header_is_skipped_and_counted() -> None:
    """Not a reason to end, nor to lose the subscription."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.ws) as heads:
        assert (await heads.next()).number == 2
        for bad in ({**chain.tip, "hash": "0x12"}, {**chain.tip, "logsBloom": "0x"}, {}, None, "head"):
            await node.push(bad)
        await node.push(chain.mine())
        await heads.until(chain.tip)


async def test_an_endpoint_that_stands_still_is_left_for_one_that_moves() -> None:
    """It answers everything, only its chain has stopped."""
    stuck, moving = FakeChain(), FakeChain()
    async with (
        stuck.serve(FaultNode()) as first,
        moving.serve(FaultNode()) as second,
        following(first.ws, second.ws) as heads,
    ):
        assert (await heads.next()).number == 2
        for _ in range(6):
            moving.mine()
        await heads.until(moving.tip)
        assert second.subscribers == 1


@pytest.mark.parametrize("answers", [True, False], ids=["stands still", "hangs"])
async def test_one_that_falls_silent_is_left_within_two_blocks_and_stays_left(answers: bool) -> None:
    """As a process that was stopped, or a network that swallows packets: connections stand, and nothing comes."""
    alive, dead = FakeChain(), FakeChain()
    settings = RpcSettings(call_timeout_s=8.0, poll_interval_s=0.05)
    async with (
        dead.serve(FaultNode()) as first,
        alive.serve(FaultNode()) as second,
        following(first.ws, second.ws, settings=settings) as heads,
    ):
        for _ in range(4):
            await first.push(dead.mine())
            alive.mine()
            await heads.until(dead.tip)
            await asyncio.sleep(1.0)
        if not answers:
            for method in list(first.answers):
                first.fail(method, *[Hang()] * 1_000)
        came: dict[str, float] = {}

        async def read() -> None:
            while True:
                came.setdefault("0x" + (await heads.next(60)).hash.hex(), time.monotonic())

        reading, mined = asyncio.create_task(read()), {}
        for _ in range(8):
            head = alive.mine()
            mined[head["hash"]] = time.monotonic()
            await second.push(head)
            await asyncio.sleep(1.0)
        reading.cancel()
        await asyncio.wait([reading])
        late = [came[each] - at if each in came else None for each, at in mined.items()]
        assert all(each is not None and each < 0.3 for each in late[3:]), late
        assert first.count("eth_subscribe") == 1


async def test_a_block_that_comes_while_others_are_asked_is_no_standing_still() -> None:
    """It is pushed by both, and the other one happened to be asked in between."""
    chain, armed = FakeChain(), False
    async with (
        chain.serve(FaultNode()) as first,
        chain.serve(FaultNode()) as second,
        following(first.ws, second.ws, settings=RpcSettings()) as heads,
    ):
        pushing: set[asyncio.Task[None]] = set()

        def told_just_now(number: str, full: bool) -> dict[str, str] | None:
            nonlocal armed
            if number == "latest" and armed:
                armed = False
                head = chain.mine()
                pushing.update(asyncio.create_task(node.push(head)) for node in (first, second))
            return chain.by_number(number, full)

        second.on("eth_getBlockByNumber", told_just_now)
        for _ in range(4):
            head = chain.mine()
            await first.push(head)
            await heads.until(head)
            await asyncio.sleep(0.6)
        armed = True
        await asyncio.sleep(1.5)
        assert not armed and len(pushing) == 2
        assert (first.count("eth_subscribe"), second.count("eth_subscribe")) == (1, 0)
        await asyncio.gather(*pushing)


async def test_an_outage_is_not_how_long_blocks_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the burst behind it: silence is noticed as soon as before."""
    async with FakeChain().serve(FaultNode()) as one, FakeChain().serve(FaultNode()) as other:
        rpc = await RpcClient.connect([one.ws, other.ws], 31337)
        feed, now = HeadFeed(rpc), 0.0
        monkeypatch.setattr("keeper.indexer.rpc.heads.time.monotonic", lambda: now)
        for pause in [2.0] * 20 + [600.0, 0.01, 0.01]:
            now += pause
            feed._measure()
        assert 2.0 < feed._patience_s() < 5.0
        monkeypatch.undo()
        await rpc.close()


async def test_the_second_endpoint_takes_over_and_gives_back() -> None:
    chain = FakeChain()
    async with (
        chain.serve(FaultNode()) as first,
        chain.serve(FaultNode()) as second,
        following(first.ws, second.http) as heads,
    ):
        assert (await heads.next()).number == 2
        await first.stop()
        await heads.until(chain.mine())
        assert second.count("eth_getBlockByNumber") > 0
        await first.start()
        async with asyncio.timeout(10):
            while not first.subscribers:
                await asyncio.sleep(0.05)
        await first.push(chain.mine())
        await heads.until(chain.tip)


@pytest.mark.parametrize("hangs_at", ["eth_chainId", "eth_subscribe", "eth_getBlockByNumber"])
async def test_one_that_hangs_is_left_once_another_one_is_back(hangs_at: str) -> None:
    """Nobody was well when it was chosen: whether anybody is meanwhile is asked again while it keeps us waiting."""
    chain, settings = FakeChain(), RpcSettings(call_timeout_s=3, probe_interval_s=60)
    async with chain.serve(FaultNode()) as hanging, chain.serve(FaultNode()) as other:
        rpc = await RpcClient.connect([hanging.ws, other.ws], 31337, settings=settings)
        await hanging.drop_connections()
        hanging.on(hangs_at, lambda *_: Hang())
        await other.stop()
        rpc.endpoints[1].failed(RpcUnavailable("away"))
        heads = Heads(rpc)
        first = asyncio.create_task(heads.next(within_s=2.5))
        await asyncio.sleep(0.2)
        await other.start()
        try:
            assert (await first).number == 2
        finally:
            await heads.close()
            await rpc.close()


async def test_nobody_reachable_is_waited_out() -> None:
    """The iterator ends for nothing that can pass."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as node, following(node.http) as heads:
        assert (await heads.next()).number == 2
        await node.stop()
        try:
            await heads.next(1.0)
        except TimeoutError:
            pass
        except RpcUnavailable as error:
            raise AssertionError("an outage ended the heads") from error

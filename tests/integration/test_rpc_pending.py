"""Pending transactions from nodes that push them whole, by hash, not at all, or far too many of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.core.errors import ConfigError
from keeper.indexer.rpc import pending as module
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.mux import Subscription
from keeper.indexer.rpc.pending import PendingTransactions
from keeper.indexer.rpc.pool import RpcSettings
from tests.support.fault_node import FakeChain, FaultNode, Hang, Refuse

WANTED, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20


def transaction(number: int, to: str | None = WANTED) -> dict[str, Any]:
    return {"hash": f"0x{number:064x}", "to": to, "input": "0x", "blockNumber": None}


class Listener:
    def __init__(self, rpc: RpcClient) -> None:
        self.taken: list[Mapping[str, Any]] = []
        self.feed = PendingTransactions(rpc, lambda to: to == WANTED, self.taken.append)

    async def until(self, count: int) -> list[str]:
        """Hashes, once so many were taken."""
        async with asyncio.timeout(5):
            while len(self.taken) < count:
                await asyncio.sleep(0.005)
        return [one["hash"] for one in self.taken]


@pytest.fixture
async def node() -> AsyncIterator[FaultNode]:
    async with FaultNode() as node:
        FakeChain().serve(node)
        node.on("eth_getBlockByNumber", lambda number, full: {"transactions": []})
        yield node


@asynccontextmanager
async def listening(url: str, timeout_s: float = 2.0) -> AsyncIterator[Listener]:
    rpc = await RpcClient.connect([url], 31337, settings=RpcSettings(call_timeout_s=timeout_s))
    listener = Listener(rpc)
    task = asyncio.create_task(listener.feed.run())
    try:
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await rpc.close()


async def subscribed(node: FaultNode) -> None:
    async with asyncio.timeout(5):
        while not node.subscribers:
            await asyncio.sleep(0.005)


async def test_whole_transactions_are_taken_by_their_addressee(node: FaultNode) -> None:
    """In whatever case the node writes it; what makes a contract has none."""
    async with listening(node.ws) as listener:
        await subscribed(node)
        for one in (transaction(1, OTHER), transaction(2, None), transaction(3), transaction(4, WANTED.upper())):
            await node.push({**one, "to": one["to"] and one["to"].replace("0X", "0x")})
        assert await listener.until(2) == [transaction(3)["hash"], transaction(4)["hash"]]
        assert ("eth_subscribe", ["newPendingTransactions", True]) in node.asked
        assert node.count("eth_getTransactionByHash") == 0


@pytest.mark.parametrize("refuses", [False, True])
async def test_hashes_are_asked_for_together(node: FaultNode, refuses: bool) -> None:
    """Some nodes refuse to push whole transactions, some ignore that they were asked to."""
    known = {transaction(n)["hash"]: transaction(n, WANTED if n % 2 else OTHER) for n in range(6)}
    node.on("eth_getTransactionByHash", lambda tx_hash: known.get(tx_hash))
    if refuses:
        node.fail("eth_subscribe", Refuse(-32602, "invalid params"))
    async with listening(node.ws) as listener:
        await subscribed(node)
        for n in range(8):  # the last two are gone already when they are asked for
            await node.push(transaction(n)["hash"])
        assert await listener.until(3) == [transaction(n)["hash"] for n in (1, 3, 5)]


async def test_what_waited_before_is_taken_from_the_block_being_built(node: FaultNode) -> None:
    waiting = [{**transaction(1), "blockNumber": "0x7"}, transaction(2, OTHER)]
    node.on("eth_getBlockByNumber", lambda number, full: {"transactions": waiting})
    async with listening(node.ws) as listener:
        assert await listener.until(1) == [transaction(1)["hash"]]
        assert listener.taken[0]["blockNumber"] is None


async def test_a_node_that_pushes_nothing_is_said_once_and_tried_again(
    node: FaultNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    node.fail("eth_subscribe", *[Refuse(-32601, "no such subscription")] * 6)
    with capture_logs() as logs:
        async with listening(node.ws) as listener:
            listener.feed._pause_s = 0.01
            await subscribed(node)
            await node.push(transaction(1))
            await listener.until(1)
    said = [entry["event"] for entry in logs if entry["event"].startswith("pending_")]
    assert said == ["pending_transactions_unavailable", "pending_transactions_followed"]


@pytest.mark.parametrize(("refusals", "expected"), [(0, "whole transactions"), (1, "their hashes"), (2, None)])
async def test_check_says_what_would_be_pushed(node: FaultNode, refusals: int, expected: str | None) -> None:
    node.on("eth_unsubscribe", lambda subscription: True)
    node.fail("eth_subscribe", *[Refuse(-32601, "no such subscription")] * refusals)
    rpc = await RpcClient.connect([node.ws], 31337)
    try:
        if expected is None:
            with pytest.raises(ConfigError, match="pending_prices"):
                await Listener(rpc).feed.probe()
        else:
            assert await Listener(rpc).feed.probe() == expected
    finally:
        await rpc.close()


async def test_a_question_without_an_answer_leaves_no_subscription_behind(node: FaultNode) -> None:
    """The connection lives on, and so would what it pushes: we end it, and listen again."""
    closed: list[str] = []
    node.on("eth_unsubscribe", lambda subscription: closed.append(subscription) or True)
    node.on("eth_getTransactionByHash", lambda tx_hash: transaction(int(tx_hash, 16)))
    node.fail("eth_getTransactionByHash", Hang())
    async with listening(node.ws, timeout_s=0.3) as listener:
        await subscribed(node)
        await node.push(transaction(1)["hash"])
        async with asyncio.timeout(10):
            while node.count("eth_subscribe") < 2:
                await asyncio.sleep(0.01)
        assert len(closed) == 1
        await node.push(transaction(2)["hash"])
        await listener.until(1)


async def test_after_a_lost_connection_it_listens_again(node: FaultNode) -> None:
    async with listening(node.ws) as listener:
        await subscribed(node)
        await node.drop_connections()
        async with asyncio.timeout(5):
            while node.count("eth_subscribe") < 2:
                await asyncio.sleep(0.01)
        await subscribed(node)
        await node.push(transaction(9))
        assert await listener.until(1) == [transaction(9)["hash"]]


async def test_without_an_endpoint_that_pushes_the_reason_is_said(node: FaultNode) -> None:
    with capture_logs() as logs:
        async with listening(node.http):
            await asyncio.sleep(0.05)
    [entry] = [entry for entry in logs if entry["event"] == "pending_transactions_unavailable"]
    assert "websocket or IPC" in entry["error"]


async def test_a_flood_is_dropped_and_counted_and_others_get_their_turn(
    node: FaultNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hash, whose reader has to ask: it keeps the newest it has room for, whatever comes meanwhile."""
    asked = asyncio.Event()
    node.on("eth_getTransactionByHash", lambda tx_hash: transaction(int(tx_hash, 16)))
    turns = arrived = 0
    put = Subscription.put

    def counted(subscription: Subscription, item: Any) -> None:
        nonlocal arrived
        arrived += 1
        put(subscription, item)

    monkeypatch.setattr(Subscription, "put", counted)

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with listening(node.ws) as listener:
        await subscribed(node)
        batch = listener.feed._rpc.batch

        async def slow(requests: Any, timeout_s: float | None = None) -> list[Any]:
            await asked.wait()
            return await batch(requests, timeout_s)

        monkeypatch.setattr(listener.feed._rpc, "batch", slow)
        task = asyncio.create_task(others())
        for n in range(3_000):
            await node.push(transaction(n)["hash"])
        async with asyncio.timeout(30):
            while arrived < 3_000:
                await asyncio.sleep(0.005)
        asked.set()
        async with asyncio.timeout(30):
            while not listener.taken or listener.taken[-1]["hash"] != transaction(2_999)["hash"]:
                await asyncio.sleep(0.005)
        task.cancel()
        assert listener.feed.dropped > 1_500
        assert listener.feed.dropped + listener.feed.seen == 3_000
        assert turns > 100

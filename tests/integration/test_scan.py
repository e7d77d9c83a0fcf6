"""A scan returns every log once and in order, whatever limits the node has."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keeper.core.errors import DecodeError, LogRangeTooLarge, RpcMalformed, RpcRateLimited, StateUnavailable
from keeper.core.types import LogFilter
from keeper.indexer.ranges import RangeSize
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.wire import WireLog
from keeper.indexer.scan import scan
from tests.integration.test_fetch import wire_log
from tests.support.fault_node import Cut, FakeChain, FaultNode, Http, Refuse, Text

ADDRESSES = [bytes([i]) * 20 for i in range(1, 5)]
TOPICS = [b"\x77" * 32, b"\x78" * 32]
WANTED = LogFilter(frozenset(ADDRESSES), frozenset(TOPICS))
LENGTH = 200


def busy_chain() -> FakeChain:
    """200 blocks; each holds one log of each address, some two."""
    chain = FakeChain(LENGTH)
    for block in chain.blocks:
        pairs = list(itertools.product(ADDRESSES, TOPICS))[: 4 + int(block["number"], 16) % 5]
        chain.logs[block["hash"]] = [wire_log(block, i, *pair) for i, pair in enumerate(pairs)]
    return chain


@asynccontextmanager
async def connected(*nodes: FaultNode) -> AsyncIterator[RpcClient]:
    rpc = await RpcClient.connect([node.http for node in nodes], 31337, call_timeout_s=5)
    try:
        yield rpc
    finally:
        await rpc.close()


async def collect(rpc: RpcClient, **options: Any) -> list[WireLog]:
    """Everything a scan yields, its pieces proven to be consecutive."""
    found: list[WireLog] = []
    expected = 0
    async for first, last, logs in scan(rpc, WANTED, 0, LENGTH - 1, list, **options):
        assert first == expected
        assert all(first <= int(log.block_number, 16) <= last for log in logs)
        expected = last + 1
        found += logs
    assert expected == LENGTH
    return found


def places(logs: list[WireLog]) -> list[tuple[int, int]]:
    return [(int(log.block_number, 16), int(log.log_index, 16)) for log in logs]


def everything(chain: FakeChain) -> list[tuple[int, int]]:
    return [(number, i) for number, block in enumerate(chain.blocks) for i in range(len(chain.logs[block["hash"]]))]


def limited(chain: FakeChain, allows: Callable[[dict[str, Any], list[Any]], str | None]) -> Callable[..., Any]:
    """eth_getLogs that refuses with the message `allows` returns."""

    def answer(query: dict[str, Any]) -> Any:
        logs = chain.get_logs(query)
        assert isinstance(logs, list)
        refusal = allows(query, logs)
        return logs if refusal is None else Refuse(-32005, refusal)

    return answer


def blocks(query: dict[str, Any]) -> int:
    return int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1


async def test_a_willing_node_is_asked_in_few_ranges() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        assert places(await collect(rpc)) == everything(chain)
        assert node.count("eth_getLogs") == 1


@pytest.mark.parametrize("limit", [1, 7, 64])
async def test_a_limit_on_results_is_found_by_halving(limit: int) -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        answer = limited(
            chain, lambda _, logs: f"query returned more than {limit} results" if len(logs) > limit else None
        )
        node.on("eth_getLogs", answer)
        assert places(await collect(rpc)) == everything(chain)


async def test_a_range_the_provider_suggests_is_taken() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        message = "exceed maximum block range: 50"
        node.on("eth_getLogs", limited(chain, lambda query, _: message if blocks(query) > 50 else None))
        assert places(await collect(rpc)) == everything(chain)
        assert node.count("eth_getLogs") == 1 + 4


async def test_one_address_and_topic_of_one_block_is_the_least_that_is_asked() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        node.on("eth_getLogs", limited(chain, lambda *_: "query exceeds max results"))
        with pytest.raises(LogRangeTooLarge, match="block 0 is refused even for one address and topic"):
            await collect(rpc)


async def test_passing_trouble_loses_and_repeats_nothing() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        node.fail(
            "eth_getLogs", Http(502), Cut(), Cut(10), Text('[{"jsonrpc":"2.0","id":1'), Refuse(-32002, "timed out")
        )
        assert places(await collect(rpc, size=RangeSize(size=20))) == everything(chain)


async def test_a_rate_limit_is_waited_for() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        node.fail("eth_getLogs", *[Http(429, headers={"Retry-After": "0.2"})] * 3)
        assert places(await collect(rpc, size=RangeSize(size=20))) == everything(chain)


async def test_a_long_rest_that_one_endpoint_asks_for_is_not_waited_for_beside_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one was away for a moment only. Whoever asked for rest is asked nothing meanwhile."""
    monkeypatch.setattr("keeper.indexer.scan._LONGEST_PAUSE_S", 0.2)
    chain = busy_chain()
    async with (
        chain.serve(FaultNode()) as resting,
        chain.serve(FaultNode()) as away,
        connected(resting, away) as rpc,
        asyncio.timeout(10),
    ):
        resting.fail("eth_blockNumber", Http(429, headers={"Retry-After": "3600"}))
        away.fail("eth_blockNumber", Http(503), Http(503))
        assert places(await collect(rpc)) == everything(chain)
        assert (resting.count("eth_blockNumber"), away.count("eth_blockNumber")) == (1, 3)


async def test_a_node_that_is_behind_is_not_believed() -> None:
    """It would leave out what it has not got, without a word; another endpoint has it."""
    chain, short = busy_chain(), busy_chain()
    del short.blocks[150:]
    async with short.serve(FaultNode()) as behind, chain.serve(FaultNode()) as ahead, connected(behind, ahead) as rpc:
        assert places(await collect(rpc, size=RangeSize(size=40))) == everything(chain)


async def test_trouble_that_does_not_pass_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After several tries; what was yielded before stays valid."""
    monkeypatch.setattr("keeper.indexer.scan._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("keeper.indexer.scan._LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("keeper.indexer.rpc.endpoint._LONGEST_COOL_DOWN_S", 0.05)
    short = busy_chain()
    del short.blocks[150:]
    async with short.serve(FaultNode()) as node, connected(node) as rpc:
        with pytest.raises(StateUnavailable, match="only at block 149"):
            await collect(rpc, size=RangeSize(size=20))
        node.on("eth_getLogs", lambda _: Refuse(429, "too many requests", {"backoff_seconds": 0.01}))
        with pytest.raises(RpcRateLimited):
            await collect(rpc, size=RangeSize(size=20))


async def test_logs_outside_of_the_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keeper.indexer.scan._FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("keeper.indexer.scan._LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("keeper.indexer.rpc.endpoint._LONGEST_COOL_DOWN_S", 0.05)
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        node.on("eth_getLogs", lambda query: chain.get_logs({**query, "toBlock": hex(LENGTH)}))
        with pytest.raises(RpcMalformed, match="outside of"):
            await collect(rpc, size=RangeSize(size=20))


async def test_what_does_not_decode_is_read_once_more_elsewhere() -> None:
    """What is well formed and of no event's shape is one endpoint's nonsense where another tells better, and the first
    is to blame; where all say so it is nobody's, and told."""
    chain, odd = busy_chain(), busy_chain()
    for logs in odd.logs.values():
        for one in logs:
            one["data"] = "0x"

    def shaped(logs: Iterable[WireLog]) -> list[WireLog]:
        found = list(logs)
        if any(log.data == "0x" for log in found):
            raise DecodeError("an event with one word of data was expected")
        return found

    async with odd.serve(FaultNode()) as node, chain.serve(FaultNode()) as honest, connected(node, honest) as rpc:
        found = [log async for _, _, logs in scan(rpc, WANTED, 0, LENGTH - 1, shaped) for log in logs]
        assert places(found) == everything(chain)
        assert "one word of data was expected; read once more, it decodes" in (
            rpc.endpoints[0].status().last_error or ""
        )
        assert rpc.endpoints[1].status().last_error is None
    async with odd.serve(FaultNode()) as node, connected(node) as rpc:
        with pytest.raises(DecodeError, match="one word of data was expected"):
            _ = [piece async for piece in scan(rpc, WANTED, 0, LENGTH - 1, shaped)]
        assert rpc.endpoints[0].status().last_error is None


async def test_a_scan_that_is_abandoned_leaves_nothing_running() -> None:
    chain = busy_chain()
    async with chain.serve(FaultNode()) as node, connected(node) as rpc:
        pieces = scan(rpc, WANTED, 0, LENGTH - 1, list, size=RangeSize(size=5))
        await anext(pieces)
        await pieces.aclose()
        asked = node.count("eth_getLogs")
        await rpc.request("eth_blockNumber")
        assert node.count("eth_getLogs") == asked

"""A block is read in one round trip, and logs that cannot be all of them are noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.core.errors import RpcMalformed, RpcRefused, StateUnavailable
from keeper.core.types import Block, Call, Log, LogFilter
from keeper.indexer.bloom import log_mask
from keeper.indexer.fetch import read_head
from keeper.indexer.rpc.client import RpcClient
from tests.support.fault_node import FakeChain, FaultNode, Refuse

POOL, TOKEN = b"\x0a" * 20, b"\x0b" * 20
SUPPLY, TRANSFER = keccak(b"Supply"), keccak(b"Transfer")
WANTED = LogFilter(frozenset({POOL, TOKEN}), frozenset({SUPPLY, TRANSFER}))
CALLS = [Call(POOL, b"\x01" * 4), Call(TOKEN, b"\x02" * 4)]


def wire_log(block: dict[str, Any], index: int, address: bytes, topic: bytes) -> dict[str, Any]:
    return {
        "address": "0x" + address.hex(),
        "topics": ["0x" + topic.hex()],
        "data": "0x" + "00" * 32,
        "blockNumber": block["number"],
        "blockHash": block["hash"],
        "transactionHash": "0x" + "33" * 32,
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        "removed": False,
    }


def chain_with_logs() -> FakeChain:
    """A chain whose tip holds a Supply of the pool and a Transfer of the token, and a bloom that says so."""
    chain = FakeChain()
    entries = ((POOL, SUPPLY), (TOKEN, TRANSFER))
    bits = 0
    for address, topic in entries:
        bits |= log_mask(Log("0x" + address.hex(), ("0x" + topic.hex(),)))
    block = chain.mine(bloom=bits.to_bytes(256, "big"))
    chain.logs[block["hash"]] = [wire_log(block, i, *entry) for i, entry in enumerate(entries)]
    return chain


def node_for(chain: FakeChain) -> FaultNode:
    node = chain.serve(FaultNode())
    results = encode(["(bool,bytes)[]"], [[(True, b"one"), (True, b"two")]])
    node.on("eth_call", lambda *_: "0x" + results.hex())
    node.on("eth_getTransactionCount", lambda *_: "0x5")
    return node


@asynccontextmanager
async def at_tip(*nodes: FaultNode) -> AsyncIterator[tuple[RpcClient, Block]]:
    rpc = await RpcClient.connect([node.ws for node in nodes], 31337, call_timeout_s=1)
    try:
        block = await rpc.block_by_number("latest")
        assert block is not None
        yield rpc, block
    finally:
        await rpc.close()


async def test_logs_calls_and_extras_cost_one_round_trip() -> None:
    async with node_for(chain_with_logs()) as node, at_tip(node) as (rpc, block):
        before = node.messages
        read = await read_head(
            rpc, block, WANTED, CALLS, [("eth_getTransactionCount", ["0x", "latest"]), ("eth_x", [])]
        )
        assert [log.log_index for log in read.logs] == ["0x0", "0x1"]
        assert read.results == [b"one", b"two"]
        assert read.extra[0] == "0x5"
        assert isinstance(read.extra[1], RpcRefused)
        assert node.messages - before == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"blockHash": "0x" + "44" * 32},
        {"blockNumber": "0x1"},
        {"address": "0x" + "55" * 20},
        {"topics": ["0x" + "66" * 32]},
        {"data": "0x123"},
        {"data": None},
        {"transactionHash": "0x12"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_log_that_cannot_be_true_is_asked_elsewhere_or_refused(changes: dict[str, Any]) -> None:
    chain = chain_with_logs()
    async with node_for(chain) as liar, node_for(chain) as honest:
        liar.on("eth_getLogs", lambda _: [wire_log(chain.tip, 0, POOL, SUPPLY) | changes])
        async with at_tip(liar, honest) as (rpc, block):
            assert len((await read_head(rpc, block, WANTED, CALLS)).logs) == 2
        async with at_tip(liar) as (rpc, block):
            with pytest.raises(RpcMalformed, match=r"eth_getLogs|127\.0\.0\.1"):
                await read_head(rpc, block, WANTED, CALLS)


@pytest.mark.parametrize("kept", [0, 1])
async def test_dropped_logs_are_found_by_the_bloom_and_read_elsewhere(kept: int) -> None:
    """The first endpoint gives fewer logs than the header admits; the second is believed, its receipts prove it."""
    chain = chain_with_logs()
    async with node_for(chain) as liar, node_for(chain) as honest:
        liar.on("eth_getLogs", lambda query: chain.get_logs(query)[:kept])
        async with at_tip(liar, honest) as (rpc, block):
            assert len((await read_head(rpc, block, WANTED, CALLS)).logs) == 2
            assert [status.consecutive_errors for status in rpc.status()] == [1, 0]


async def test_dropped_logs_of_the_only_endpoint_are_an_error_that_names_block_and_endpoint() -> None:
    """Its own receipts contradict it."""
    chain = chain_with_logs()
    async with node_for(chain) as liar, at_tip(liar) as (rpc, block):
        liar.on("eth_getLogs", lambda _: [])
        with pytest.raises(
            RpcMalformed, match=rf"block 3 \(0x0+4\) at ws://127\.0\.0\.1:{liar.port} gave 0 logs"
        ) as error:
            await read_head(rpc, block, WANTED, CALLS)
        assert "0x" + TOKEN.hex() in str(error.value)


async def test_receipts_that_lack_the_same_logs_do_not_clear_the_suspicion() -> None:
    """A node whose logs and receipts agree on too little is contradicted by the header itself."""
    chain = chain_with_logs()
    async with node_for(chain) as liar, at_tip(liar) as (rpc, block):
        liar.on("eth_getLogs", lambda _: [])
        liar.on("eth_getBlockReceipts", lambda _: [])
        with pytest.raises(RpcMalformed, match="do not make up the header's bloom"):
            await read_head(rpc, block, WANTED, CALLS)


async def test_where_receipts_are_not_served_logs_are_asked_by_height() -> None:
    chain = chain_with_logs()
    async with node_for(chain) as node, at_tip(node) as (rpc, block):
        node.on("eth_getBlockReceipts", lambda _: Refuse(-32601, "the method does not exist/is not available"))
        node.on("eth_getLogs", lambda query: [] if "blockHash" in query else chain.get_logs(query))
        with pytest.raises(RpcMalformed, match="gave 0 logs"):
            await read_head(rpc, block, WANTED, CALLS)


async def test_a_suspicion_that_receipts_clear_costs_one_more_round_trip() -> None:
    """Our token emitted something we do not follow, while others emitted what we do: nothing is missing."""
    chain = FakeChain()
    foreign = ((TOKEN, keccak(b"Approval")), (b"\x0c" * 20, TRANSFER))
    bits = 0
    for address, topic in foreign:
        bits |= log_mask(Log("0x" + address.hex(), ("0x" + topic.hex(),)))
    block_json = chain.mine(bloom=bits.to_bytes(256, "big"))
    chain.logs[block_json["hash"]] = [wire_log(block_json, i, *entry) for i, entry in enumerate(foreign)]
    async with node_for(chain) as node, at_tip(node) as (rpc, block):
        before = node.messages
        assert (await read_head(rpc, block, WANTED, CALLS)).logs == []
        assert node.messages - before == 2


async def test_a_block_nobody_has_is_unavailable() -> None:
    chain = chain_with_logs()
    async with node_for(chain) as node, at_tip(node) as (rpc, block):
        chain.blocks.pop()
        with pytest.raises(StateUnavailable, match="unknown block"):
            await read_head(rpc, block, WANTED, CALLS)

"""The RPC client on a real node, over each of its transports."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from eth_account import Account

from keeper.core.errors import RpcRefused, StateUnavailable
from keeper.core.multicall import MULTICALL3
from keeper.core.types import Block, BlockRef, Call, LogFilter
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain
from keeper.indexer.fetch import read_head
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from keeper.indexer.scan import scan

PUBLIC_TEST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # Anvil's first public test key
BLOCK_NUMBER = bytes.fromhex("42cbb15c")
REVERTS = bytes.fromhex("deadbeef")

# echo returns its call data, burner loops for ever, height returns the block's number
ECHO, BURNER, HEIGHT = b"\xe0" * 20, b"\xe1" * 20, b"\xe2" * 20
CODES = {ECHO: "0x365f5f37365ff3", BURNER: "0x5b5f56", HEIGHT: "0x435f5260205ff3"}


@pytest.fixture(scope="module")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    ipc = tmp_path_factory.mktemp("ipc") / "anvil.ipc"
    with Anvil.start(ipc=ipc, gas_limit=30_000_000) as running:
        for address, code in CODES.items():
            running.rpc("anvil_setCode", "0x" + address.hex(), code)
        running.mine()
        yield running


@pytest.fixture(params=["ws", "http", "ipc"])
async def rpc(request: pytest.FixtureRequest, anvil: Anvil) -> AsyncIterator[RpcClient]:
    """A client on each transport in turn."""
    ipc = Path(request.getfixturevalue("tmp_path_factory").getbasetemp())
    urls = {"ws": anvil.ws_url, "http": anvil.rpc_url, "ipc": str(next(ipc.glob("ipc*/anvil.ipc")))}
    client = await RpcClient.connect([urls[request.param]], 31337)
    yield client
    await client.close()


async def latest(rpc: RpcClient) -> Block:
    block = await rpc.block_by_number("latest")
    assert block is not None
    return block


async def test_calls_without_multicall3_are_made_one_by_one(rpc: RpcClient) -> None:
    """A bare chain has no Multicall3; the answers are the same."""
    calls = [Call(ECHO, b"one"), Call(b"\x99" * 20, b"x"), Call(ECHO, b"two")]
    assert await rpc.call_many(calls, (await latest(rpc)).ref) == [b"one", None, b"two"]


async def test_a_call_that_never_ends_is_no_revert(rpc: RpcClient) -> None:
    """It is starved, and says nothing of the contract's will."""
    with pytest.raises(RpcRefused, match=r"(?i)gas"):
        await rpc.call_many([Call(BURNER, b""), Call(ECHO, b"one")], (await latest(rpc)).ref)


async def test_a_block_hash_the_node_does_not_know_is_unavailable(rpc: RpcClient) -> None:
    with pytest.raises(StateUnavailable):
        await rpc.call_many([Call(ECHO, b"one")], BlockRef(1, b"\x01" * 32))


async def test_state_is_read_at_the_block_asked_for(rpc: RpcClient, anvil: Anvil) -> None:
    """By hash, however far the chain has moved on."""
    before = await latest(rpc)
    anvil.mine(3)
    calls = [Call(HEIGHT, b""), Call(HEIGHT, b"")]
    assert await rpc.call_many(calls, before.ref) == [before.number.to_bytes(32, "big")] * 2


async def test_an_orphaned_block_is_unavailable(rpc: RpcClient, anvil: Anvil) -> None:
    anvil.mine(2)
    orphan = await latest(rpc)
    anvil.reorg(1)
    assert await rpc.block_by_hash(orphan.hash) is None
    with pytest.raises(StateUnavailable):
        await rpc.call_many([Call(ECHO, b"one")], orphan.ref)


async def test_a_transaction_is_accepted_and_a_second_time_known(rpc: RpcClient, anvil: Anvil) -> None:
    """What Anvil says to a transaction it already has, and to one that comes too late."""
    sender = Account.from_key(PUBLIC_TEST_KEY)

    def sign(nonce: int, value: int) -> bytes:
        fields = {"nonce": nonce, "to": "0x" + "55" * 20, "value": value, "gas": 21_000, "chainId": 31337}
        fields |= {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "type": 2}
        return bytes(sender.sign_transaction(fields).raw_transaction)

    nonce = int(await rpc.request("eth_getTransactionCount", sender.address, "latest"), 16)
    anvil.rpc("evm_setAutomine", False)
    try:
        assert await rpc.submit_many([sign(nonce, 1), sign(nonce + 1, 2)]) == [None, None]
        await rpc.submit(sign(nonce, 1))
    finally:
        anvil.rpc("evm_setAutomine", True)
        anvil.mine()
    assert int(await rpc.request("eth_getTransactionCount", sender.address, "latest"), 16) == nonce + 2
    with pytest.raises(RpcRefused, match="nonce too low"):
        await rpc.submit(sign(nonce, 3))


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux acknowledges on request")
async def test_bursts_on_a_websocket_do_not_wait_for_delayed_acknowledgements(anvil: Anvil) -> None:
    """Anvil leaves Nagle's algorithm on: without asking for quick acknowledgements most bursts take over 40 ms."""
    client = await RpcClient.connect([anvil.ws_url], 31337)
    took = []
    for _ in range(25):
        started = time.perf_counter()
        await asyncio.gather(*(client.request("eth_getBalance", "0x" + "11" * 20, "latest") for _ in range(20)))
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.03)
    await client.close()
    assert statistics.median(took) < 0.035


async def test_heads_follow_blocks_and_reorgs(rpc: RpcClient, anvil: Anvil) -> None:
    """The newest head arrives, whether it was mined on top or replaces a branch."""
    rpc.settings = RpcSettings(poll_interval_s=0.05)
    heads = rpc.heads()
    try:
        for act in (lambda: anvil.mine(3), lambda: anvil.reorg(2), lambda: anvil.mine(1)):
            await asyncio.wait_for(anext(heads), 5)
            await asyncio.to_thread(act)
            tip = await latest(rpc)
            async with asyncio.timeout(5):
                while (await anext(heads)).hash != tip.hash:
                    pass
            anvil.mine()
    finally:
        await heads.aclose()


# --- with the real contracts

PROVING = RpcSettings(prove_multicall_gas=True)


@pytest.fixture
async def market(dev_chain: DevChain) -> AsyncIterator[RpcClient]:
    client = await RpcClient.connect([dev_chain.ws_url], dev_chain.chain_id)
    yield client
    await client.close()


async def test_a_multicall_equals_its_calls_one_by_one(market: RpcClient) -> None:
    """In one round trip; a second one only because a revert without data has to be asked alone."""
    block = await latest(market)
    good = [Call(MULTICALL3, BLOCK_NUMBER) for _ in range(300)]
    before = market.round_trips
    assert await market.call_many(good, block.ref) == [block.number.to_bytes(32, "big")] * 300
    assert market.round_trips - before == 1
    mixed = [*good[:2], Call(MULTICALL3, REVERTS), Call(b"\x99" * 20, b"x")]
    assert await market.call_many(mixed, block.ref) == [*[block.number.to_bytes(32, "big")] * 2, None, None]
    assert market.round_trips - before == 3


async def test_calls_starved_within_a_multicall_are_found_out(market: RpcClient, dev_chain: DevChain) -> None:
    """A greedy neighbour takes the gas; the others' failure is not believed."""
    for address, code in CODES.items():
        await market.request("anvil_setCode", "0x" + address.hex(), code)
    dev_chain.mine()
    block = await latest(market)
    hungry = [Call(BURNER, b"") for _ in range(3)]
    with pytest.raises(RpcRefused, match=r"(?i)gas"):
        await market.call_many([*hungry, Call(ECHO, b"one")], block.ref)


async def test_with_proof_of_gas_an_empty_failure_needs_no_second_request(dev_chain: DevChain) -> None:
    """And starved calls are still found out: then there is no gas for the proof either."""
    client = await RpcClient.connect([dev_chain.ws_url], dev_chain.chain_id, settings=PROVING)
    try:
        for address, code in CODES.items():
            await client.request("anvil_setCode", "0x" + address.hex(), code)
        dev_chain.mine()
        block = await latest(client)
        mixed = [Call(MULTICALL3, BLOCK_NUMBER), Call(MULTICALL3, REVERTS), Call(b"\x99" * 20, b"x")]
        before = client.requests
        assert await client.call_many(mixed, block.ref) == [block.number.to_bytes(32, "big"), None, None]
        assert client.requests - before == 1
        with pytest.raises(RpcRefused, match=r"(?i)gas"):
            await client.call_many([*[Call(BURNER, b"")] * 3, Call(ECHO, b"one")], block.ref)
    finally:
        await client.close()


async def test_every_block_of_a_real_market_fits_its_bloom_in_one_round_trip(market: RpcClient) -> None:
    """No block of the deployment raises a suspicion that needs a second opinion, and a scan finds the same logs."""
    tip = await latest(market)
    everything = await market.request("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
    by_block: dict[int, list[str]] = {}
    for log in everything:
        by_block.setdefault(int(log["blockNumber"], 16), []).append(log["logIndex"])
    wanted = LogFilter(
        frozenset(bytes.fromhex(log["address"][2:]) for log in everything),
        frozenset(bytes.fromhex(log["topics"][0][2:]) for log in everything if log["topics"]),
    )
    for number, indices in list(by_block.items())[:40]:
        block = await market.block_by_number(number)
        assert block is not None
        before = market.round_trips
        read = await read_head(market, block, wanted, [Call(MULTICALL3, BLOCK_NUMBER)])
        assert [log.log_index for log in read.logs] == sorted(indices, key=lambda index: int(index, 16))
        assert read.results == [number.to_bytes(32, "big")]
        assert market.round_trips - before == 1
    scanned = [log async for _, _, logs in scan(market, wanted, 0, tip.number, list) for log in logs]
    assert len(scanned) == len(everything) > 50

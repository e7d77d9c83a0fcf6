"""How much an asynchronous client costs over a blocking socket: sequential eth_call on Anvil.

The floor is the least a client can do on a blocking socket of the same kind: write the JSON of a request, read one
reply, parse it. It has no time-outs, no ids, no second endpoint and can do nothing else meanwhile. Both are measured in
turn, in small rounds, so that other load on the machine hits them alike. The call is what a block costs: one multicall
of a few hundred reads.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from keeper.core.multicall import MULTICALL3, encode_aggregate3
from keeper.core.types import Call
from keeper.devnet.anvil import Anvil
from keeper.devnet.client import Client
from keeper.devnet.multicall import install
from keeper.indexer.rpc.client import RpcClient

from .profiling import shares
from .rawsocket import RawIpc, RawWebSocket
from .row import Row, timed

_ROUNDS = 60
_CALLS = 10
_TARGET = 1.1
_GET_ETH_BALANCE = bytes.fromhex("4d2301cc")


def measure(reads: int = 200) -> list[Row]:
    """One row per transport, seconds per call."""
    with tempfile.TemporaryDirectory() as scratch:
        ipc = Path(scratch) / "anvil.ipc"
        with Anvil.start(ipc=ipc) as anvil, RawWebSocket(anvil.port) as websocket, RawIpc(ipc) as pipe:
            install(Client(anvil))
            params = _multicall(reads)
            what = f"eth_call of {reads} reads over a blocking socket"
            return [
                _row(f"websocket: {what}", websocket.ask, params, anvil.ws_url),
                _row(f"IPC: {what}", pipe.ask, params, str(ipc)),
            ]


def _multicall(reads: int) -> list[Any]:
    accounts = [index.to_bytes(32, "big") for index in range(1, reads + 1)]
    calls = [Call(MULTICALL3, _GET_ETH_BALANCE + account) for account in accounts]
    return [{"to": "0x" + MULTICALL3.hex(), "data": "0x" + encode_aggregate3(calls).hex()}, "latest"]


def _row(what: str, exchange: Callable[[bytes], bytes], params: list[Any], url: str) -> Row:
    floor_s, ours_s = asyncio.run(_alternate(exchange, params, url))
    return timed(what, floor_s, ours_s, _TARGET, reason=lambda: shares(lambda: asyncio.run(_asked(params, url))))


async def _asked(params: list[Any], url: str) -> None:
    """Ours alone."""
    client = await RpcClient.connect([url], 31337)
    try:
        for _ in range(_ROUNDS * _CALLS):
            await client.request("eth_call", *params)
    finally:
        await client.close()


async def _alternate(exchange: Callable[[bytes], bytes], params: list[Any], url: str) -> tuple[float, float]:
    """The best round of each, in seconds per call: whatever else runs on the machine only ever adds."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": params}
    client = await RpcClient.connect([url], 31337)
    try:
        floors, ours = [], []
        for _ in range(_ROUNDS):
            floors.append(_time(lambda: msgspec.json.decode(exchange(msgspec.json.encode(request)))["result"]))
            ours.append(await _time_async(lambda: client.request("eth_call", *params)))
        return min(floors), min(ours)
    finally:
        await client.close()


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter() - started) / _CALLS


async def _time_async(call: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        await call()
    return (time.perf_counter() - started) / _CALLS

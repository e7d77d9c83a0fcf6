"""How much an asynchronous client costs over a blocking socket: sequential eth_call on Anvil.

The floor is the least a client can do on a blocking socket of the same kind: write the JSON of a request, read one
reply, parse it. It has no time-outs, no ids, no second endpoint and can do nothing else meanwhile. Both are measured in
turn, in small rounds, so that other load on the machine hits them alike. The call is what a block costs: one multicall
of a few hundred reads.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from keeper.core.types import Call
from keeper.devnet.anvil import Anvil
from keeper.devnet.client import Client
from keeper.devnet.multicall import install
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.multicall import MULTICALL3, encode_aggregate3

_ROUNDS = 60
_CALLS = 10
_TARGET = 1.1
_GET_ETH_BALANCE = bytes.fromhex("4d2301cc")


def measure(reads: int = 200) -> list[dict[str, Any]]:
    """One row per transport: what, floor_s and ours_s per call, their ratio and its target."""
    with tempfile.TemporaryDirectory() as scratch:
        ipc = str(Path(scratch) / "anvil.ipc")
        with Anvil.start(ipc=Path(ipc)) as anvil:
            install(Client(anvil))
            params = _multicall(reads)
            return [
                _row(f"websocket: eth_call of {reads} reads", _blocking_websocket(anvil.port), params, anvil.ws_url),
                _row(f"IPC: eth_call of {reads} reads", _blocking_ipc(ipc), params, ipc),
            ]


def _multicall(reads: int) -> list[Any]:
    accounts = [index.to_bytes(32, "big") for index in range(1, reads + 1)]
    calls = [Call(MULTICALL3, _GET_ETH_BALANCE + account) for account in accounts]
    return [{"to": "0x" + MULTICALL3.hex(), "data": "0x" + encode_aggregate3(calls).hex()}, "latest"]


def _row(what: str, exchange: Callable[[bytes], bytes], params: list[Any], url: str) -> dict[str, Any]:
    floor_s, ours_s = asyncio.run(_alternate(exchange, params, url))
    return {"what": what, "floor_s": floor_s, "ours_s": ours_s, "ratio": ours_s / floor_s, "target": _TARGET}


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


def _blocking_websocket(port: int) -> Callable[[bytes], bytes]:
    """Sends one masked frame, reads one frame."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    greeting = connection.recv(4096)
    if b" 101 " not in greeting:
        raise RuntimeError(f"no websocket: {greeting!r}")

    def exchange(request: bytes) -> bytes:
        size = len(request)
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big") if size < 1 << 16 else b"\xff" + size.to_bytes(8, "big")
        connection.sendall(b"\x81" + length + bytes(4) + request)  # a mask of zeroes leaves the payload as it is
        reply = connection.recv(1 << 18)
        head, announced = 2, reply[1]
        if announced >= 126:
            head = 4 if announced == 126 else 10
            announced = int.from_bytes(reply[2:head], "big")
        while len(reply) < head + announced:
            reply += connection.recv(1 << 18)
        return reply[head:]

    return exchange


def _blocking_ipc(path: str) -> Callable[[bytes], bytes]:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)

    def exchange(request: bytes) -> bytes:
        connection.sendall(request + b"\n")
        reply = connection.recv(1 << 18)
        while not reply.endswith(b"\n"):
            reply += connection.recv(1 << 18)
        return reply

    return exchange

"""The shipped backfill, from a node over loopback HTTP to durable checkpoints, against receiving the same bytes.

The node answers from memory and its process is not ours. What a market is, and what its positions hold at the end, is
not asked of it: that is a read per position, whatever its history was.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keeper.core.ports import Reads
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Prices, Update
from keeper.indexer.backfill import Progress, backfill
from keeper.indexer.rpc.client import RpcClient
from keeper.protocols.aave_v3 import AaveV3
from keeper.protocols.aave_v3.options import Options
from keeper.protocols.aave_v3.state import Account, Market
from keeper.store import open_store

from . import decode
from .profiling import shares
from .row import Row, timed

_CHAIN = 31337
_RANGE = 2_000  # blocks a request, as the scan begins with
_ROUNDS = 5


class KnownMarket(AaveV3):
    """The shipped adapter, which is told what it would read at the target block."""

    def __init__(self, market: Market) -> None:
        super().__init__("aave", 0, Options(pool_addresses_provider=market.provider))
        self._market = market

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        yield from ()
        return self._market

    def head_calls(self, market: Market) -> Sequence[Call]:
        return ()

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Account] | None = None,
    ) -> Reads[Update[Market, Account]]:
        yield from ()
        prices: Prices = {}
        return Update(market, prices, {})


def measure(logs: int = 200_000) -> list[Row]:
    """The best of rounds in turn."""
    chance = random.Random(1)  # noqa: S311  the same logs every time
    market = decode.market(chance)
    rows = decode.rows(chance, market, logs)
    tip = int(rows[-1]["blockNumber"], 16)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, _node(Path(name), rows) as port:
        rows.clear()  # the node has them; a daemon would not, and the collector need not walk them
        floors, ours = [], []
        for number in range(_ROUNDS):
            floors.append(_bytes_only(port, tip))
            ours.append(asyncio.run(_backfill(Path(name) / f"{number}.db", port, market, tip)))
        reason = shares(lambda: asyncio.run(_backfill(Path(name) / "why.db", port, market, tip)))
    floor_s, ours_s = min(floors), min(ours)
    what = f"backfill of {logs:,} logs over loopback HTTP with durable checkpoints, over receiving the bytes"
    remark = f"{logs / ours_s / 1e3:.0f}k logs a second, {floor_s / ours_s:.3f} of the bytes' rate"
    return [timed(what, floor_s, ours_s, 10.0, remark, reason)]


async def _backfill(database: Path, port: int, market: Market, tip: int) -> float:
    """Seconds of what the daemon does between two blocks that lie far apart."""
    target = Block(BlockRef(tip, b"\x01" * 32), b"", 0)
    book: Book[Any, Any] = Book()

    def report(_: Progress) -> None: ...

    rpc = await RpcClient.connect([f"http://127.0.0.1:{port}"], _CHAIN)
    try:
        with closing(open_store(f"sqlite:///{database}", chain_id=_CHAIN)) as store:
            begin = time.perf_counter()
            await backfill(rpc, store, [(KnownMarket(market), book, None)], target, tip, report)
            took = time.perf_counter() - begin
            if store.scanned_to("aave") != tip:
                raise RuntimeError(f"scanned to {store.scanned_to('aave')}, not {tip}")
            return took
    finally:
        await rpc.close()


def _bytes_only(port: int, tip: int) -> float:
    """Seconds of receiving the same answers one after the other, and of nothing else."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begin = time.perf_counter()
    for first in range(0, tip + 1, _RANGE):
        where = {"fromBlock": hex(first), "toBlock": hex(min(first + _RANGE - 1, tip))}
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [where]}
        connection.request("POST", "/", json.dumps(request))
        connection.getresponse().read()
    took = time.perf_counter() - begin
    connection.close()
    return took


@contextmanager
def _node(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    file = folder / "logs.json"
    file.write_text(json.dumps(rows))
    node = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("canned_node.py")), str(file)], stdout=subprocess.PIPE
    )
    try:
        assert node.stdout is not None
        yield int(node.stdout.readline())
    finally:
        node.kill()
        node.wait()

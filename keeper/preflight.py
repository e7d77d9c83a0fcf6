"""`keeper check`: everything a run stands on, looked at once, one line each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from keeper import observe
from keeper.config import MULTICALL3
from keeper.core.errors import ConfigError, KeeperError
from keeper.core.types import Block
from keeper.core.units import format_units
from keeper.indexer.reads import drive
from keeper.indexer.rpc.client import RpcClient
from keeper.wire import Adapter, House

OLD_HEAD_S = 120


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    ok: bool
    detail: str


def check(house: House, out: TextIO) -> int:
    """Print a line per precondition; 1 if any fails."""
    return asyncio.run(_print(house, out))


async def _print(house: House, out: TextIO) -> int:
    failed = 0
    async for finding in findings(house):
        failed += not finding.ok
        mark = "ok  " if finding.ok else "FAIL"
        print(f"{mark}  {finding.what:<28} {observe.redact(finding.detail)}", file=out, flush=True)
    return 1 if failed else 0


async def findings(house: House) -> AsyncIterator[Finding]:
    yield await _try("configuration", partial(_said, str(house.file)))
    yield await _try("store", partial(_store, house))
    rpc: RpcClient | None = None
    try:
        rpc = await house.connect()
    except KeeperError as error:
        yield Finding("rpc", False, str(error))
    try:
        if rpc is not None:
            async for finding in _on_chain(house, rpc):
                yield finding
        for channel in house.notifiers():
            yield await _try(f"notifier {channel.name}", channel.check)
            await channel.close()
    finally:
        if rpc is not None:
            await rpc.close()


async def _on_chain(house: House, rpc: RpcClient) -> AsyncIterator[Finding]:
    for endpoint in rpc.status():
        fine = endpoint.connected and not endpoint.excluded
        detail = f"{endpoint.kind}, chain {house.config.chain.id}" if fine else str(endpoint.last_error)
        yield Finding(f"rpc {endpoint.url}", fine, detail)
    head = await rpc.block_by_number("latest")
    if head is None:
        yield Finding("head", False, "the node has no latest block; wait until it has started")
        return
    age = max(0, round(time.time()) - head.timestamp)
    old = "" if age <= OLD_HEAD_S else "; old: is the node still syncing?"
    yield Finding("head", True, f"block {head.number}, {age} s old{old}")
    yield await _try("multicall", partial(_code, rpc, MULTICALL3))
    for adapter in house.adapters():
        for name, address in adapter.addresses().items():
            yield await _try(f"{adapter.name} {name}", partial(_code, rpc, address))
        yield await _try(f"{adapter.name} market", partial(_market, rpc, adapter, head))
    if house.config.executor.mode == "off":
        yield Finding("executor", True, "off: alerts only, nothing is ever sent")
    else:
        yield await _try("executor key", partial(_wallet, house, rpc))


async def _try(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, True, await look())
    except KeeperError as error:
        return Finding(what, False, str(error))


async def _said(text: str) -> str:
    return text


async def _store(house: House) -> str:
    with closing(house.open_store()) as store:
        cursor = store.cursor()
        return "empty; indexing begins at start_block" if cursor is None else f"indexed up to block {cursor.number}"


async def _code(rpc: RpcClient, address: bytes) -> str:
    code = await rpc.request("eth_getCode", "0x" + address.hex(), "latest")
    if not isinstance(code, str) or len(code) <= 2:
        raise ConfigError(f"0x{address.hex()} has no code on this chain; correct the address or the chain id")
    return f"0x{address.hex()}, {len(code) // 2 - 1} bytes of code"


async def _market(rpc: RpcClient, adapter: Adapter, head: Block) -> str:
    market: Any = (await drive([adapter.bootstrap()], lambda calls: rpc.call_many(calls, head.ref)))[0]
    return f"{len(adapter.wallet_tokens(market))} assets, {len(adapter.filter(market).addresses)} contracts followed"


async def _wallet(house: House, rpc: RpcClient) -> str:
    signer = house.signer()
    account = signer.address if signer is not None else house.config.executor.account
    if account is None:
        raise ConfigError("no key and no account; give executor.private_key or a keystore")
    balance = int(str(await rpc.request("eth_getBalance", "0x" + account.hex(), "latest")), 16)
    if balance == 0 and house.config.executor.mode == "live":
        raise ConfigError(f"wallet 0x{account.hex()} has no native coin and cannot pay gas; send it some")
    return f"{house.config.executor.mode}, wallet 0x{account.hex()} with {format_units(balance, 18, 4)} native coin"

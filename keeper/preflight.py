"""`keeper check`: everything a run stands on, looked at once, one line each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from keeper import observe
from keeper.core.errors import ConfigError, KeeperError, StoreInUse
from keeper.core.multicall import MULTICALL3
from keeper.core.ports import Store
from keeper.core.types import Block, Call
from keeper.core.units import format_units
from keeper.executor.guard import REMEDY, read_tripped
from keeper.executor.planning.ports import Needs, Permission, SpenderPermission
from keeper.executor.planning.readiness import protocol_needs
from keeper.indexer.backfill import beyond_head
from keeper.indexer.reads import drive
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pending import PendingTransactions
from keeper.privacy import exposures
from keeper.protocols.addresses import checksummed
from keeper.queries.views import load_market
from keeper.wire import Adapter, House

if TYPE_CHECKING:
    from keeper.executor.planning.planner import Planner

OLD_HEAD_S = 120
_IS_POSTER = bytes.fromhex("948078f8")  # is_poster(address)
_BALANCE_OF = bytes.fromhex("70a08231")  # balanceOf(address)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. detail: what was found; of a failure, what is wrong and the remedy."""

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
    """Each is looked at even when others fail, as far as it can be."""
    yield await _try("configuration", partial(_configuration, house))
    yield await _try("files", partial(_files, house))
    yield await _try("store", partial(_store, house))
    if house.config.executor.mode != "off":
        yield await _try("breakers", partial(_breakers, house))
    try:
        rpc = await house.connect()
    except KeeperError as error:
        yield Finding("rpc", False, str(error))
    else:
        try:
            async for finding in _on_chain(house, rpc):
                yield finding
        except KeeperError as error:
            yield Finding("rpc", False, str(error))
        finally:
            await rpc.close()
    for channel in house.telling.notifiers():
        yield await _try(f"notifier {channel.name}", channel.check)
        await channel.close()


async def _try(what: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(what, True, await look())
    except KeeperError as error:
        return Finding(what, False, str(error))


async def _configuration(house: House) -> str:
    house.adapters()
    return str(house.file)


async def _files(house: House) -> str:
    if found := [*exposures(house.files.secrets)]:
        raise ConfigError("; ".join(map(str, found)))
    return "what holds secrets is its owner's alone"


async def _store(house: House) -> str:
    try:
        with closing(house.open_store()) as store:
            return _indexed(store)
    except StoreInUse:
        with closing(house.open_store(read_only=True)) as store:
            return f"{_indexed(store)}; a daemon is writing it"


async def _breakers(house: House) -> str:
    with closing(house.open_store(read_only=True)) as store:
        trips = read_tripped(store).trips
    held = [f"{trip.name} tripped at block {trip.block}: {trip.detail}" for trip in trips]
    if house.acting.switch().paused:
        held.append(f"paused by {house.acting.switch().pause_file}")
    if held:
        raise ConfigError(f"nothing new is sent: {'; '.join(held)}; {REMEDY}")
    return "none tripped"


def _indexed(store: Store) -> str:
    cursor = store.cursor()
    return "empty; indexing begins at start_block" if cursor is None else f"indexed up to block {cursor.number}"


# --- on chain ---------------------------------------------------------------------------------------------------------


async def _on_chain(house: House, rpc: RpcClient) -> AsyncIterator[Finding]:
    chain = house.config.chain
    for endpoint in rpc.status():
        fine = endpoint.connected and not endpoint.excluded
        detail = f"{endpoint.kind}, chain {chain.id}" if fine else str(endpoint.last_error)
        yield Finding(f"rpc {endpoint.url}", fine, detail)
    head = await rpc.block_by_number("latest")
    if head is None:
        yield Finding("head", False, "the node has no latest block; wait until it has started")
        return
    age = max(0, round(time.time()) - head.timestamp)
    old = "" if age <= OLD_HEAD_S else "; old: is the node still syncing?"
    yield Finding("head", True, f"block {head.number}, {age} s old{old}")
    yield await _try("multicall", partial(_code, rpc, MULTICALL3))
    if chain.wrapped_native is not None:
        yield await _try("wrapped native coin", partial(_code, rpc, chain.wrapped_native))
    tokens: set[bytes] = set()
    spenders: set[bytes] = set()
    needs: list[tuple[str, Permission | SpenderPermission]] = []
    for adapter in house.adapters():
        async for finding in _protocol(rpc, adapter, _known_market(house, adapter), head, tokens, spenders, needs):
            yield finding
    board = house.board
    if board is not None:
        yield await _try(f"notifier {board['name']} contract", partial(_board, house, rpc, board["address"], head))
    if house.config.executor.mode == "off":
        sends = "nothing is ever sent" if board is None else f"nothing is sent but what {board['name']} posts"
        yield Finding("executor", True, f"off: alerts only, {sends}")
        return
    account: bytes | None = None
    try:
        account = _account(house)
    except KeeperError as error:  # told once: what else stands on the key has nothing to say then
        yield Finding("executor wallet", False, str(error))
    else:
        yield await _try("executor wallet", partial(_wallet, house, rpc, account))
        yield await _try("executor journal", partial(_journal, house, account))
    for route in house.acting.routes(rpc):
        yield await _try(f"submitter {route.name}", route.check)
        await route.close()
    if house.config.executor.pending_prices != "off":
        yield await _try("pending prices", partial(_pending_prices, rpc))
    planner = house.acting.planner()
    if planner is not None:
        if account is not None:
            async for finding in _contract(rpc, planner, account, needs, head):
                yield finding
    elif house.config.venues or house.config.funding:
        unused = "none: the wallet pays; [[venues]] and [[funding]] wait for executor.liquidator (`keeper deploy`)"
        yield Finding("liquidator", True, unused)
    if planner is None or planner.inventory is not None:
        if account is not None:
            yield await _try("executor tokens", partial(_funds, house, rpc, account, sorted(tokens), head))
        yield await _try("executor spenders", partial(_spenders, house, spenders))


async def _pending_prices(rpc: RpcClient) -> str:
    """What the node can do about price updates that are not mined yet."""
    pushes = await PendingTransactions(rpc, lambda to: False, lambda transaction: None).probe()
    options = {"blockStateCalls": [{"calls": []}], "validation": False}
    [answer] = await rpc.batch([("eth_simulateV1", [options, "latest"])])
    if isinstance(answer, KeeperError):
        return f"the node pushes {pushes}; no eth_simulateV1 ({answer}): ours can follow by bundle alone"
    return f"the node pushes {pushes}, and runs them in front of reads"


async def _contract(
    rpc: RpcClient, planner: Planner, account: bytes, needs: Needs, head: Block
) -> AsyncIterator[Finding]:
    """Our contract, what it may call, and that this is there."""
    from keeper.executor.planning.readiness import readiness

    yield await _try("liquidator code", partial(_code, rpc, planner.contract))
    for party in planner.counterparties:
        for name, address in party.addresses().items():
            yield await _try(f"{party.name} {name}", partial(_code, rpc, address))
    reads = readiness(planner, account, needs)
    for found in (await drive([reads], lambda calls: rpc.call_many(calls, head.ref)))[0]:
        yield Finding(found.what, found.ready, found.detail)


async def _protocol(
    rpc: RpcClient,
    adapter: Adapter,
    known: Any,
    head: Block,
    tokens: set[bytes],
    spenders: set[bytes],
    needs: list[tuple[str, Permission | SpenderPermission]],
) -> AsyncIterator[Finding]:
    """Its addresses, then its market; adds to the tokens with which liquidations can be paid, to whom these are
    approved for, and to what liquidations call.

    known: the market as indexed, which tells what contracts cannot list.
    """
    yield await _try(f"{adapter.name} start_block", partial(_begun, adapter, head))
    for name, address in adapter.addresses().items():
        finding = await _try(f"{adapter.name} {name}", partial(_code, rpc, address))
        yield finding
        if not finding.ok:
            return
    market: Any = None

    async def look() -> str:
        nonlocal market
        market = (await drive([adapter.bootstrap(known)], lambda calls: rpc.call_many(calls, head.ref)))[0]
        tokens.update(adapter.wallet_tokens(market))
        spenders.update(adapter.spenders(market))
        needs.extend(protocol_needs(adapter, market))
        return (
            f"{len(adapter.wallet_tokens(market))} assets, {len(adapter.filter(market).addresses)} contracts followed"
        )

    yield await _try(f"{adapter.name} market", look)
    if market is not None:
        yield await _try(f"{adapter.name} prices", partial(_prices, rpc, adapter, market, head))


async def _begun(adapter: Adapter, head: Block) -> str:
    if adapter.start_block > head.number:
        raise ConfigError(beyond_head(adapter, head))
    return f"block {adapter.start_block}"


def _known_market(house: House, adapter: Adapter) -> Any:
    """None before anything was indexed, or when the store cannot be read, which is another line's matter."""
    try:
        with closing(house.open_store(read_only=True)) as store:
            return load_market(store, adapter)
    except KeeperError:
        return None


async def _code(rpc: RpcClient, address: bytes) -> str:
    code = await rpc.request("eth_getCode", "0x" + address.hex(), "latest")
    if not isinstance(code, str) or len(code) <= 2:
        raise ConfigError(f"{checksummed(address)} has no code on this chain; correct the address or the chain id")
    return f"{checksummed(address)}, {len(code) // 2 - 1} bytes of code"


async def _prices(rpc: RpcClient, adapter: Adapter, market: Any, head: Block) -> str:
    results = await rpc.call_many(adapter.head_calls(market), head.ref)
    reads = adapter.snapshot(market, [], head, results, {})
    update = (await drive([reads], lambda calls: rpc.call_many(calls, head.ref)))[0]
    assets = adapter.wallet_tokens(market)
    without = [checksummed(asset) for asset in assets if asset not in update.prices]
    if without:
        raise ConfigError(
            f"{len(without)} of {len(assets)} assets have no usable price at block {head.number} "
            f"({', '.join(without[:3])}): the oracle reverts, or answers zero or less; look at its feed. "
            "Positions that hold one cannot be judged until it answers again"
        )
    return f"all {len(assets)} usable at block {head.number}"


# --- the wallet -------------------------------------------------------------------------------------------------------


def _account(house: House) -> bytes:
    account = house.acting.wallet()
    if account is None:
        raise ConfigError("no key and no account; give executor.private_key or a keystore")
    return account


async def _wallet(house: House, rpc: RpcClient, account: bytes) -> str:
    balance = int(str(await rpc.request("eth_getBalance", "0x" + account.hex(), "latest")), 16)
    if balance == 0 and house.config.executor.mode == "live":
        raise ConfigError(f"{checksummed(account)} has no native coin and cannot pay gas; send it some")
    return f"{house.config.executor.mode}, {checksummed(account)} with {format_units(balance, 18, 4)} native coin"


async def _journal(house: House, account: bytes) -> str:
    """Whether what this database says was sent was sent by this wallet."""
    from keeper.executor.signer import read_signed

    try:
        store = house.open_store(read_only=True)
    except KeeperError:
        return "not read"  # another line says why
    with closing(store):
        attempts = sorted((one.created_at, one.raw) for intent in store.intents() for one in intent.attempts)
        open_by = [read_signed(one.raw) for intent in store.intents(unsettled=True) for one in intent.attempts]
    others = sorted({signed[1] for signed in open_by if signed is not None} - {account})
    if others:
        raise ConfigError(
            f"transactions of {', '.join(map(checksummed, others))} are not settled, and the configured key is that of "
            f"{checksummed(account)}: run with the old key until `keeper transactions` shows none that is pending, "
            "then change it"
        )
    last = read_signed(attempts[-1][1]) if attempts else None
    if last is None or last[1] == account:
        return f"{len(attempts)} signed transactions"
    return (
        f"the last transaction was signed by {checksummed(last[1])}, the configured key is that of "
        f"{checksummed(account)}: its count of transactions is believed once final, or after `keeper resume`"
    )


async def _board(house: House, rpc: RpcClient, address: bytes, head: Block) -> str:
    """The contract to which notices are posted, and whether our wallet may, and can pay for it."""
    account = _account(house)
    found = await _code(rpc, address)
    (answer,) = await rpc.call_many([Call(address, _IS_POSTER + account.rjust(32, b"\0"))], head.ref)
    if answer is None:
        raise ConfigError(f"{checksummed(address)} does not answer as a MarginCallBoard; correct the address")
    if not int.from_bytes(answer[:32], "big"):
        raise ConfigError(
            f"{checksummed(address)} takes no notices from our {checksummed(account)}; let its owner call "
            f"allow_poster({checksummed(account)}, true)"
        )
    balance = int(str(await rpc.request("eth_getBalance", "0x" + account.hex(), "latest")), 16)
    if balance == 0:
        raise ConfigError(f"{checksummed(account)} has no native coin and cannot pay for postings; send it some")
    return f"{found}; {checksummed(account)} may post, with {format_units(balance, 18, 4)} native coin"


async def _spenders(house: House, named: set[bytes]) -> str:
    """Whom the wallet's tokens may be approved for."""
    configured = frozenset(house.config.executor.spenders)
    if not configured:
        line = ", ".join(f'"{checksummed(spender)}"' for spender in sorted(named))
        return f"whoever the protocols name; to allow those of today alone, write spenders = [{line}]"
    if others := named - configured:
        raise ConfigError(
            f"{', '.join(map(checksummed, sorted(others)))}: named by a protocol, but not in executor.spenders, so "
            "nothing is approved for it; make sure that it is the protocol's, then add it"
        )
    return f"{len(configured)}, as configured"


async def _funds(house: House, rpc: RpcClient, account: bytes, tokens: list[bytes], head: Block) -> str:
    if not tokens:
        return "no market is known before the first index: run `keeper backfill`, then check again"
    calls = [Call(token, _BALANCE_OF + account.rjust(32, b"\0")) for token in tokens]
    results = await rpc.call_many(calls, head.ref)
    held = sum(result is not None and int.from_bytes(result[:32], "big") > 0 for result in results)
    if held == 0 and house.config.executor.mode == "live":
        raise ConfigError(
            f"{checksummed(account)} holds none of the {len(tokens)} tokens with which liquidations are paid; "
            "send it the debt tokens that it shall repay"
        )
    return f"{held} of the {len(tokens)} tokens with which liquidations are paid"

"""`keeper deploy` and `keeper skim`: what they would do and cost, a question, and then it is done."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from keeper import observe
from keeper.abis import contract as contract_file
from keeper.core.errors import ConfigError, OrderFailed, StateUnavailable, StoreInUse
from keeper.core.ports import Store
from keeper.core.reads import drive
from keeper.core.records import MARKET_KEY
from keeper.core.types import BlockRef, Book, Call, Price
from keeper.core.units import format_units
from keeper.deployment.bill import Bill, coins
from keeper.deployment.counter import Counter, Missing
from keeper.executor.deployment import (
    PROXY,
    PROXY_CODE,
    Order,
    contract_address,
    init_code,
    owner_of,
    skim,
    standing,
)
from keeper.executor.liquidator_calls import NATIVE
from keeper.executor.planning.planner import Planner
from keeper.executor.planning.ports import ManyLenders, Permission, SpenderPermission
from keeper.executor.planning.readiness import protocol_needs
from keeper.executor.planning.words import BALANCE_OF, call, number
from keeper.executor.ports import Venue
from keeper.indexer.rpc.client import RpcClient
from keeper.protocols.addresses import checksummed
from keeper.queries.report import account_of
from keeper.wire import House, open_house

_DECIMALS = bytes.fromhex("313ce567")
_IS_OPERATOR = bytes.fromhex("66610f03")


def deploy(args: argparse.Namespace) -> int:
    """Exit code 0 when our contract is there and may do what plans ask of it."""
    if args.board:
        from keeper.deployment.board import deploy_board

        return asyncio.run(deploy_board(args))
    return asyncio.run(_deploy(args))


def skim_all(args: argparse.Namespace) -> int:
    return asyncio.run(_skim(args))


@dataclass
class Visit:
    """What both commands stand on, read at one block. needs: of all protocols. tokens: symbols of those they list.

    venues: every market at that block, whose prices value gas.
    native: price of the native coin, counted in so many decimals of a currency.
    """

    house: House
    rpc: RpcClient
    store: Store
    account: bytes
    native_asset: bytes
    block: BlockRef
    needs: list[tuple[str, Permission | SpenderPermission]] = field(default_factory=list)
    tokens: dict[bytes, str] = field(default_factory=dict)
    venues: list[Venue] = field(default_factory=list)
    native: Price | None = None
    base_decimals: int = 8
    currency: str = ""

    async def read(self, reads: Any, block: BlockRef | None = None) -> Any:
        return (await drive([reads], lambda calls: self.rpc.call_many(calls, block or self.block)))[0]


@asynccontextmanager
async def visiting(args: argparse.Namespace) -> AsyncIterator[Visit]:
    """The deployment with its key, alone with its database, and every market read once."""
    house = open_house(args)
    if not args.verbose:
        observe.quieten("keeper.executor")  # everything that it would say is said here, for a person
    signer = house.acting.signer()
    if signer is None:
        raise ConfigError(
            "there is no key: add executor.private_key or a keystore, and set the environment variable that it names"
        )
    native = house.config.chain.wrapped_native
    if native is None and not getattr(args, "board", False):
        raise ConfigError("chain.wrapped_native is not set; our contract needs to know it")
    try:
        store = house.open_store()
    except StoreInUse as error:
        error.add_note("keeper: this uses the daemon's nonces and its journal, so the two must not run at once")
        raise
    try:
        rpc = await house.connect()
        try:
            head = await rpc.block_by_number("latest")
            if head is None:
                raise StateUnavailable("the node has no latest block; it may still be starting")
            visit = Visit(house, rpc, store, signer.address, native or b"", head.ref)
            for adapter in house.adapters():
                payload = store.fact(adapter.name, "market", MARKET_KEY)
                known = None if payload is None else adapter.load_market(payload)  # what contracts cannot list
                market = await visit.read(adapter.bootstrap(known))
                visit.needs += protocol_needs(adapter, market)
                for asset in adapter.wallet_tokens(market):
                    token = adapter.token(market, asset)
                    visit.tokens[asset] = token.symbol if token is not None and token.symbol.isprintable() else ""
                results = await rpc.call_many(adapter.head_calls(market), head.ref)
                prices = (await visit.read(adapter.snapshot(market, [], head, results, {}))).prices
                visit.venues.append(Venue(adapter, Book(market, prices)))
                if visit.native is None and native in prices:
                    visit.native, visit.currency = prices[native], adapter.currency(market)
                    visit.base_decimals = adapter.base_decimals(market)
            yield visit
        finally:
            await rpc.close()
    finally:
        store.close()


# --- deploy -----------------------------------------------------------------------------------------------------------


async def _deploy(args: argparse.Namespace) -> int:
    heir = None if args.heir is None else account_of(args.heir)
    async with visiting(args) as visit:
        configured = visit.house.config.executor.liquidator
        bytecode = bytes.fromhex(contract_file("keeper", "Liquidator")["bytecode"][2:])
        code = None if configured is not None else init_code(bytecode, visit.account, visit.native_asset)
        contract = configured if code is None else contract_address(code)
        if contract is None:
            raise ConfigError("executor.liquidator is empty; correct it")
        planner = _planner(visit.house, contract)
        if args.pools:
            for lender in (one for one in planner.fundings if isinstance(one, ManyLenders)):
                found = await visit.read(lender.lenders(visit.tokens, 0))
                visit.needs += [(lender.name, permission) for permission in found]
        if code is not None and await visit.read(owner_of(contract)) is None:
            await require_proxy(visit)

        async def missing(block: BlockRef) -> Sequence[Order]:
            reads = standing(planner, visit.account, visit.needs, code=code, heir=heir)
            orders: Sequence[Order] = (await visit.read(reads, block)).orders
            return orders

        if not await carry_out_orders(args, visit, contract, missing, "deploy"):
            return 0
        await _ready(visit, planner)
        print(f'liquidator = "{checksummed(contract)}"')
        if configured is None:
            say("deploy", "put this line into [executor] of your configuration; then `keeper check`, `keeper rehearse`")
    return 0


def _planner(house: House, contract: bytes) -> Planner:
    """Raises ConfigError when plans could neither sell nor borrow."""
    planner = house.acting.planner(contract)
    if planner is None or not planner.venues or not planner.fundings:
        raise ConfigError(
            "what our contract must be allowed to call follows from where it sells and borrows: configure [[venues]] "
            "(such as uniswap_v3) and [[funding]] (such as aave_v3 or morpho) first; docs/liquidator.md has an example"
        )
    return planner


async def require_proxy(visit: Visit) -> None:
    """Raises ConfigError where there is nothing that could deploy our contract: a call of it would succeed in vain."""
    there = await visit.rpc.request("eth_getCode", "0x" + PROXY.hex(), "latest")
    if there != "0x" + PROXY_CODE.hex():
        raise ConfigError(
            f"this chain has no deterministic deployment proxy at {checksummed(PROXY)}, by which our contract is "
            "deployed; anybody can put it there: see github.com/Arachnid/deterministic-deployment-proxy"
        )


async def _ready(visit: Visit, planner: Planner) -> None:
    """Raises OrderFailed when the chain does not say what was ordered of it."""
    head = await visit.rpc.block_by_number("latest")
    block = visit.block if head is None else head.ref
    found = await visit.read(standing(planner, visit.account, visit.needs, code=None), block)
    if found.orders:
        raise OrderFailed(f"mined, but still missing: {'; '.join(order.what for order in found.orders)}; run it again")


# --- skim -------------------------------------------------------------------------------------------------------------


async def _skim(args: argparse.Namespace) -> int:
    async with visiting(args) as visit:
        contract = visit.house.config.executor.liquidator
        if contract is None:
            raise ConfigError("executor.liquidator is not set; there is nothing to skim")
        owner = await visit.read(owner_of(contract))
        [operator] = await visit.rpc.call_many([call(contract, _IS_OPERATOR, visit.account)], visit.block)
        if owner is None:
            raise ConfigError(f"{checksummed(contract)} does not answer as our Liquidator; correct executor.liquidator")
        if owner != visit.account and not number(operator):
            raise ConfigError(f"{checksummed(visit.account)} is neither owner nor operator of {checksummed(contract)}")
        tokens = [_token(text) for text in args.token] or sorted({*visit.tokens, visit.native_asset, NATIVE})

        async def missing(block: BlockRef) -> Sequence[Order]:
            return await _holdings(visit, contract, tokens, block)

        say("skim", f"everything goes to the owner, {checksummed(owner)}")
        await carry_out_orders(args, visit, contract, missing, "skim")
    return 0


async def _holdings(visit: Visit, contract: bytes, tokens: Sequence[bytes], block: BlockRef) -> Sequence[Order]:
    """An order for every token of which there is any."""
    asked = [token for token in tokens if token != NATIVE]
    calls = [Call(token, BALANCE_OF + contract.rjust(32, b"\0")) for token in asked]
    results = await visit.rpc.call_many([*calls, *(call(token, _DECIMALS) for token in asked)], block)
    balances, decimals = results[: len(asked)], results[len(asked) :]
    orders = []
    for token, balance, places in zip(asked, balances, decimals, strict=True):
        if held := number(balance):
            amount = format_units(held, number(places) or 0)
            symbol = visit.tokens.get(token) or "of"
            orders.append(skim(contract, token, f"{amount} {symbol} {checksummed(token)}"))
    if NATIVE in tokens:
        at = {"blockHash": "0x" + block.hash.hex()}
        held = int(str(await visit.rpc.request("eth_getBalance", "0x" + contract.hex(), at)), 16)
        if held:
            orders.append(skim(contract, NATIVE, f"{coins(held)} of the native coin"))
    return orders


def _token(text: str) -> bytes:
    return NATIVE if text == "native" else account_of(text)


# --- both -------------------------------------------------------------------------------------------------------------


async def carry_out_orders(
    args: argparse.Namespace, visit: Visit, contract: bytes | None, missing: Missing, command: str
) -> bool:
    """Whether everything is done; False for a dry run, and where nobody agreed."""
    counter = Counter(
        visit.house.live_with(contract), visit.rpc, visit.store, visit.account, missing, _saying(command), visit.venues
    )
    try:
        await counter.open()
        waiting, missing_now = counter.on_their_way(), await counter.missing()
        orders = [order for order in missing_now if order.cause not in waiting]
        if waiting:
            say(command, f"{len(waiting)} transactions of an earlier run are on their way and are seen to first")
        elif not orders:
            say(command, "nothing is missing" if command == "deploy" else "it holds nothing")
        if orders:
            bill = await counter.bill(orders)
            for line in bill.shown(visit.native, visit.base_decimals, visit.currency):
                print(line, file=sys.stderr)
            await _afford(visit, bill)
            if args.dry_run:
                say(command, "a dry run: nothing was sent")
                return False
            if not (args.yes or _agreed(command)):
                say(command, "nothing was sent")
                return False
        counter.agree(missing_now)
        await counter.carry_out()
    finally:
        await counter.close()
    return True


async def _afford(visit: Visit, bill: Bill) -> None:
    balance = int(str(await visit.rpc.request("eth_getBalance", "0x" + visit.account.hex(), "latest")), 16)
    if balance < bill.most_wei:
        raise ConfigError(
            f"{checksummed(visit.account)} has {coins(balance)} of the native coin, and this may cost "
            f"{coins(bill.most_wei)}; send it more"
        )


def _agreed(command: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to agree: give --yes, or --dry-run to look only")
    print(f"keeper {command}: send these? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _saying(command: str) -> Callable[[str], None]:
    return lambda text: say(command, text)


def say(command: str, text: str) -> None:
    print(f"keeper {command}: {text}", file=sys.stderr, flush=True)

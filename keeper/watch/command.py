"""`keeper watch`: from arguments to a running watch."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from typing import cast

import structlog

from keeper import observe, privacy
from keeper.core.errors import ConfigError, StateUnavailable
from keeper.core.ports import Watchable
from keeper.core.types import Block, Book, Call, CallResult
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.lines import Lines
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from keeper.patience import Patience
from keeper.protocols.addresses import checksummed
from keeper.watch import show
from keeper.watch.accounts import Owner, check_accounts, resolve_accounts
from keeper.watch.deployment import Deployment, Wishes, parse_markets
from keeper.watch.desk import Desk
from keeper.watch.eyes import Eyes, Held
from keeper.watch.look import Watched
from keeper.watch.pace import Pace
from keeper.watch.trail import REMEDY, Tracer, trace_once
from keeper.watch.watcher import Watcher
from keeper.wire import House

log = structlog.get_logger(__name__)

BLIND_LOOKS = 5
"""After as many looks in vain owners hear that nobody is watching."""

NEAR_PART = 4
"""While a position is not safe it is looked at this much more often."""

SETTINGS = RpcSettings(multicall_calls=480, prove_multicall_gas=True, call_timeout_s=20.0)
"""Few requests: a large Aave market fits two multicalls, and no probe is asked again alone."""

ONCE_TRACES = 2
"""Requests for an account's logs, where positions are listed nowhere: an assessment stays within fifteen in all."""

_ATTEMPTS = 4


def run(args: argparse.Namespace) -> int:
    observe.configure(args.log_format, verbose=bool(args.verbose))
    privacy.withdraw()
    check_accounts(args.account)
    lines = {name: getattr(args, name) for name in ("call", "urgent", "target") if getattr(args, name) is not None}
    markets = parse_markets(args.market)
    deployment = Deployment(Wishes(tuple(args.rpc), tuple(args.notify), args.config, args.store, lines))
    return asyncio.run(_watch(args, deployment, markets))


async def _watch(args: argparse.Namespace, deployment: Deployment, markets: Sequence[bytes]) -> int:
    async with contextlib.AsyncExitStack() as stack:
        rpc = await RpcClient.connect(deployment.endpoints(), deployment.chain_id, settings=SETTINGS)
        stack.push_async_callback(rpc.close)
        stop = _stop_on_signals()
        owners = await Patience(stop, _ATTEMPTS)("resolve accounts", lambda: _owners(args.account, rpc))
        if owners is None:
            return 0
        houses = {owner.account: deployment.house(rpc.chain_id, owner.account, owner.name) for owner in owners}
        house = next(iter(houses.values()))
        eyes = Eyes(rpc, watched_adapters(house), markets)
        if args.once:
            return await _once(args.json, rpc, eyes, owners, house.rule(), stop)
        desks = []
        for account, one in houses.items():
            blind_s = max(one.config.chain.stale_after_s, BLIND_LOOKS * args.every)
            desks.append(Desk.open(account, one, rpc, blind_s))
            stack.push_async_callback(desks[-1].close)
        return await _follow(args, rpc, eyes, owners, house, desks, stop)


async def _once(
    as_json: bool, rpc: RpcClient, eyes: Eyes, owners: Sequence[Owner], rule: BandRules | Adaptive, stop: asyncio.Event
) -> int:
    """One assessment per position; nothing is stored and nobody is told."""
    accounts = [owner.account for owner in owners]
    unfinished: list[tuple[str, bytes]] = []

    async def attempt() -> Block:
        nonlocal unfinished
        head = await _newest(rpc)
        adapters = eyes.adapters.values()
        found, unfinished = await trace_once(Tracer(rpc), adapters, accounts, head.number, ONCE_TRACES)
        await eyes.see(head, accounts, {name: Held(touches=touches) for name, touches in found.items()})
        return head

    block = await Patience(stop, _ATTEMPTS)("look", attempt)
    if block is None:
        return 0
    lines = Lines(rule)

    def rules_of(name: str, key: bytes) -> BandRules:
        sight = eyes.sights[name]
        return lines.of(
            eyes.adapters[name], Book(sight.market, sight.prices, dict(sight.positions)), key, block.timestamp
        )

    positions = list(show.positions(eyes, block, rules_of))
    show.print_positions(positions, block, as_json=as_json)
    if not positions:
        print(f"keeper: {show.nothing_found(owners, eyes, rpc.chain_id)}", file=sys.stderr)
    for name, account in unfinished:
        what = f"{checksummed(account)}: not all of its logs were searched for positions in {name}"
        print(f"keeper: {what}; {REMEDY}, or watch without --once, which searches on", file=sys.stderr)
    for position in eyes.differing:
        print(f"keeper: {position}: our view is not the protocol's own; do not rely on it", file=sys.stderr)
    return 1 if eyes.differing else 0


async def _follow(
    args: argparse.Namespace,
    rpc: RpcClient,
    eyes: Eyes,
    owners: Sequence[Owner],
    house: House,
    desks: Sequence[Desk],
    stop: asyncio.Event,
) -> int:
    """Look until told to stop. The first positions are shown; without any, and never having had one, that is said once
    everything was searched, and is the end unless asked to wait."""
    first, shown, known = True, False, any(not desk.is_new for desk in desks)

    def rules_of(name: str, key: bytes) -> BandRules:
        account = eyes.adapters[name].account(key)
        return next(desk for desk in desks if desk.account == account).rules_of(name, key)

    def seen(block: Block) -> None:
        nonlocal first, shown
        positions = list(show.positions(eyes, block, rules_of)) if args.json or not shown else []
        show.print_positions(positions, block, as_json=args.json)
        shown = shown or bool(positions)
        if first:
            names = [show.named(owner) for owner in owners]
            log.info("watching", accounts=names, chain_id=rpc.chain_id, block=block.number, positions=len(positions))
        first = False
        if not (shown or known or args.wait) and watcher.has_searched:
            raise ConfigError(f"{show.nothing_found(owners, eyes, rpc.chain_id)}; add --wait to watch for one")

    watcher = Watcher(rpc, eyes, desks, house.config.chain.finality, seen)
    pace = Pace(args.every, args.every / NEAR_PART, args.budget)
    following = asyncio.create_task(watcher.follow(pace, stop), name="watch")
    tasks = [following, *(task for desk in desks for task in desk.start())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    log.info("stopped", requests=rpc.requests)
    return 0


# --- parts ------------------------------------------------------------------------------------------------------------


def watched_adapters(house: House) -> list[Watched]:
    """Raises ConfigError for a protocol that cannot be watched by state alone."""
    adapters = house.adapters()
    for adapter in adapters:
        if not isinstance(adapter, Watchable):
            raise ConfigError(
                f"{adapter.name}: kind {adapter.kind!r} cannot be watched by state alone yet; leave it out of the "
                "configuration, or run the daemon with it (`keeper run --alert-only`)"
            )
    return cast(list[Watched], adapters)


async def _owners(texts: Sequence[str], rpc: RpcClient) -> list[Owner]:
    async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
        return await rpc.call_many(calls, (await _newest(rpc)).ref)

    return await resolve_accounts(texts, rpc.chain_id, execute)


async def _newest(rpc: RpcClient) -> Block:
    head = await rpc.block_by_number("latest")
    if head is None:
        raise StateUnavailable("the node has no latest block; it may still be starting")
    return head


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop

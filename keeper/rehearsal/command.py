"""`keeper rehearse`: arguments in, findings out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keeper import observe
from keeper.core.errors import ConfigError
from keeper.core.stress import Lever
from keeper.devnet.anvil import Anvil
from keeper.rehearsal import show
from keeper.rehearsal.cast import Cast, choose_cast
from keeper.rehearsal.findings import Finding, row, tallies
from keeper.rehearsal.fork import Fork
from keeper.rehearsal.relay import Relay
from keeper.rehearsal.stage import Stage
from keeper.report import account_of
from keeper.wire import House, open_house

log = structlog.get_logger(__name__)

_INTERRUPTED = 130
Found = Callable[[Finding], None]


def rehearse(args: argparse.Namespace) -> int:
    """Exit code 0 when every position was rehearsed, whatever was found."""
    house = open_house(args)
    if not args.verbose:
        observe.quieten("keeper.executor")  # it would say that it broadcast
    accounts = frozenset(account_of(text) for text in args.account)
    lever = Lever(args.by)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        blocks = store.blocks()
        if not blocks:
            raise ConfigError("nothing is indexed yet; run `keeper backfill` or `keeper run` first")
        cast = choose_cast(
            store, house.adapters(), blocks[-1], accounts=accounts, below_wad=args.below, limit=args.limit
        )
    _say(f"{len(cast.keys)} of {cast.indexed} indexed positions to rehearse ({cast.without_debt} owe nothing)")
    findings: list[Finding] = []

    def found(one: Finding) -> None:
        findings.append(one)
        if args.json:
            print(json.dumps(row(one), separators=(",", ":")), flush=True)

    forked: dict[str, Any] = {}
    finished = True
    if cast.keys:
        with Relay(house) as relay, _anvil(relay.url, args.block) as anvil:
            finished = asyncio.run(_rehearse_all(house, anvil, cast, lever, found, forked))
    _report(args, cast, findings, finished=finished, forked=forked)
    return 0 if finished else _INTERRUPTED


def _anvil(url: str, block: int | None) -> Anvil:
    _say("starting a fork of the configured chain")
    return Anvil.start(fork_url=url, fork_block=block)


async def _rehearse_all(
    house: House, anvil: Anvil, cast: Cast, lever: Lever, found: Found, forked: dict[str, Any]
) -> bool:
    """Whether all were rehearsed. After a first SIGINT or SIGTERM the one in hand is the last; a second ends it."""
    stop, task = asyncio.Event(), asyncio.current_task()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    fork = await Fork.connect(anvil.ws_url, house.config.chain.id)
    try:
        forked |= {"fork_block_number": fork.tip.number, "fork_block_hash": f"0x{fork.tip.hash.hex()}"}
        stage = await Stage.set_up(house, fork, lever, cast.markets)
        with _progress(len(cast.keys)) as advance:
            for protocol, key in cast.keys:
                if stop.is_set():
                    return False
                found(await stage.rehearse(protocol, key))
                advance()
    except asyncio.CancelledError:
        return False
    finally:
        await fork.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return True


def _report(
    args: argparse.Namespace, cast: Cast, findings: Sequence[Finding], *, finished: bool, forked: dict[str, Any]
) -> None:
    if args.json:
        summary = {
            "positions": cast.indexed,
            "without_debt": cast.without_debt,
            "left_out": cast.left_out,
            "rehearsed": len(findings),
            "liquidated": sum(one.liquidated for one in findings),
            "complete": finished,
            "lever": args.by,
            "indexed_block_number": cast.block.number,
            **forked,
            "protocols": {name: tally.row() for name, tally in tallies(findings).items()},
        }
        print(json.dumps({"summary": summary}, separators=(",", ":")), flush=True)
    else:
        console = Console(highlight=False)
        if findings:
            console.print(show.table(findings))
        for line in show.totals(findings):
            console.print(line, markup=False, soft_wrap=True)
        if args.by == Lever.PRICE.value:
            console.print("by price: only the oracle moved; pools would have moved as well, so profits are too high")
    if not finished:
        _say(f"interrupted after {len(findings)} of {len(cast.keys)} positions; what was found is above")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a log line now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            if done % 25 == 0 or done == total:
                log.info("rehearsal_progressed", done=done, of=total)

        yield count
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("positions rehearsed", total=total)
        yield lambda: bars.advance(task)


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(f"keeper rehearse: {text}", file=sys.stderr, flush=True)

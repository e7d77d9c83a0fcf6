"""`keeper rehearse`: arguments in, findings out."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from contextlib import closing

from keeper import observe, terminal
from keeper.core.errors import ConfigError, KeeperError
from keeper.core.stress import Lever
from keeper.queries.report import account_of
from keeper.rehearsal import show
from keeper.rehearsal.cast import Cast, choose_cast
from keeper.rehearsal.findings import Finding, row, tallies
from keeper.rehearsal.means import planner_of
from keeper.rehearsal.run import Run
from keeper.wire import open_house

_INTERRUPTED = 130


def rehearse(args: argparse.Namespace) -> int:
    """Exit code 0 when every position was rehearsed, whatever was found."""
    house = open_house(args)
    planner_of(house)  # before hours of indexing, and before there is a fork
    if not args.verbose:
        observe.quieten("keeper.executor")  # it would say that it broadcast
    accounts = frozenset(account_of(text) for text in args.account)
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

    finished = True
    try:
        if cast.keys:
            finished = Run(house, cast, Lever(args.by), args.block, found, _say).complete()
    except KeeperError:
        if findings:  # what was found stays found
            _report(args, cast, findings, finished=False)
        raise
    _report(args, cast, findings, finished=finished)
    return 0 if finished else _INTERRUPTED


def _report(args: argparse.Namespace, cast: Cast, findings: Sequence[Finding], *, finished: bool) -> None:
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
            "forked_block_numbers": sorted({one.block.number for one in findings}),
            "protocols": {name: tally.row() for name, tally in tallies(findings).items()},
        }
        print(json.dumps({"summary": summary}, separators=(",", ":")), flush=True)
    else:
        console = terminal.console()
        if findings:
            console.print(show.table(findings))
        for line in show.totals(findings):
            console.print(line, markup=False, soft_wrap=True)
        if args.by == Lever.PRICE.value:
            console.print("by price: only the oracle moved; pools would have moved as well, so profits are too high")
    if not finished:
        _say(f"interrupted after {len(findings)} of {len(cast.keys)} positions; what was found is above")


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(f"keeper rehearse: {text}", file=sys.stderr, flush=True)

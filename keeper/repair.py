"""`keeper repair`: the chain is indexed anew, the record of what was told and sent is kept.

For a store whose positions are doubted, or whose file is damaged, and after a reorg below finality. What a damaged file
still holds of the record is taken over into a new one; the old one is moved aside, never overwritten.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import closing

from keeper.core.errors import StoreCorrupt
from keeper.store import open_store
from keeper.store.salvage import Salvaged, forget_chain, rescue, summary
from keeper.store.sql import SqlStore
from keeper.wire import House, open_house


def repair(args: argparse.Namespace) -> int:
    house = open_house(args)
    try:
        store = _open(house)
    except StoreCorrupt as error:
        print(f"damaged: {error}")
        if not _agreed(args, "Take over what can be read, move the damaged file aside, and index the chain anew?"):
            return 1
        _tell(rescue(house.config.store.url.reveal(), chain_id=house.config.chain.id))
        store = _open(house)
    else:
        print("the database is whole")
        question = "Forget what was indexed of the chain, keep the record of notices and transactions, and index anew?"
        if not _agreed(args, question):
            store.close()
            return 1
    with closing(store):
        _tell(forget_chain(store))
    from keeper.daemon import run_backfill
    from keeper.progress import progress

    with progress() as report:
        code = asyncio.run(run_backfill(house, report, None))
    print("indexed anew; `keeper run` goes on from here")
    return code


def _open(house: House) -> SqlStore:
    """As a writer, so that no daemon runs meanwhile."""
    return open_store(house.config.store.url.reveal(), chain_id=house.config.chain.id)


def _agreed(args: argparse.Namespace, question: str) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        print("keeper: nobody is there to ask; say --yes to go ahead", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _tell(found: Salvaged) -> None:
    for name, said in summary(found).items():
        print(f"  {name:<12} {said}")
    if found.aside is not None:
        print(f"the damaged file is {found.aside}")

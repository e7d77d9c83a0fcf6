"""Cost of a block and resident memory as the book grows: `scripts/bench --plot`, or this as a module for one size.

A process of its own for each size loads what is stored, as the daemon does, and judges blocks whose prices moved by up
to 0.3 % since the rows were ranked. The node is not in it: what a block costs there is two round trips at any size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keeper.core.records import CommittedBlock, Fact
from keeper.core.types import Block, BlockRef, Book
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.judge import Judge
from keeper.store import open_store
from keeper.stored import StoredPositions

from . import aave_book

ACCOUNTS = (10_000, 100_000, 1_000_000)
RESERVES = (5, 20, 60)
_MOVE = 0.003
_ROUNDS = 15
_LINES = BandRules(*(thousandths * WAD // 1000 for thousandths in (1_010, 1_010, 1_005, 5, 1_020)))
_BLOCK = Block(BlockRef(1, b"\x01" * 32), b"\x00" * 32, aave_book.NOW)


@dataclass(frozen=True, slots=True)
class Size:
    """block_s: to judge a block, exact integers included. full_s: with a ranking that proves nothing. load_s: from the
    store. resident: bytes of the process; bare: before it loaded anything. judged: positions judged in integers."""

    accounts: int
    reserves: int
    block_s: float
    full_s: float
    load_s: float
    resident: int
    bare: int
    judged: int


def sizes() -> Iterator[Size]:
    for reserves in RESERVES:
        for accounts in ACCOUNTS:
            yield measured(accounts, reserves)


def measured(accounts: int, reserves: int) -> Size:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        database = Path(folder) / "book.db"
        fill(database, accounts, reserves)
        command = [sys.executable, "-m", "benchlib.scale", str(database), str(accounts), str(reserves)]
        folder_of_scripts = Path(__file__).resolve().parents[1]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=folder_of_scripts)
    return Size(**json.loads(answer.stdout))


def fill(database: Path, accounts: int, reserves: int) -> None:
    market, prices = aave_book.market(reserves)
    adapter = aave_book.adapter(market)
    held = aave_book.accounts(market, prices, accounts)
    facts = tuple(Fact("aave", "position", key, adapter.dump_position(one)) for key, one in held)
    with closing(open_store(f"sqlite:///{database}", chain_id=1)) as store, store.transaction() as tx:
        tx.commit_block(CommittedBlock(_BLOCK, facts))


def _look(database: Path, accounts: int, reserves: int) -> Size:
    market, prices = aave_book.market(reserves)
    adapter = aave_book.adapter(market)
    bare = _resident()
    with closing(open_store(f"sqlite:///{database}", chain_id=1)) as store:
        begin = time.perf_counter()
        book = Book(market, prices, StoredPositions(store, "aave", adapter.load_position))
        judge = Judge(adapter, _LINES)
        judge.reload(book, ())
        load_s = time.perf_counter() - begin
        judge.accept(judge.judge(book, _BLOCK))  # calls are open, and stand, as they do in a daemon
        full_s, _ = _judging(judge, book)
        judge.sort(book, aave_book.NOW)
        block_s, judged = _judging(judge, book)
        return Size(accounts, reserves, block_s, full_s, load_s, _resident(), bare, judged)


def _judging(judge: Judge[Any, Any], book: Book[Any, Any]) -> tuple[float, int]:
    """Shortest of some blocks, each with prices of its own, and how many positions were judged in integers."""
    best, judged = float("inf"), 0
    for number in range(_ROUNDS):
        prices = aave_book.moved(book.prices, _MOVE / 2, seed=number)
        now = Book(book.market, prices, book.positions)
        begin = time.perf_counter()
        ruling = judge.judge(now, _BLOCK)
        took = time.perf_counter() - begin
        if took < best:
            best, judged = took, len(ruling.judgements)
    return best, judged


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    print(json.dumps(asdict(_look(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))

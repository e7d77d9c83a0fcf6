"""Full screen and prune of a whole book, against a streaming numpy sum over the same amounts; both against integers.

A pool of 60 reserves, each as collateral and as debt. Prices move by up to 0.3 % between the sorting and the prune.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from keeper.core.types import Book
from keeper.evaluator.columns import vector_of
from keeper.evaluator.screen import Screen
from keeper.protocols.aave_v3 import AaveV3
from keeper.protocols.aave_v3.state import Account, Market

from . import aave_book
from .profiling import shares
from .row import Row, counted, timed

RESERVES = 60
MOVE = 0.003
_LIQUIDATION = 1.0


def measure(accounts: int = 1_000_000) -> list[Row]:
    book = aave_book.book(RESERVES, accounts)
    assert book.market is not None
    adapter = aave_book.adapter(book.market)
    screen = Screen()
    screen.load((key, adapter.linear(book.market, position)) for key, position in book.positions.items())
    slack = adapter.slack(book.market)
    sides = (screen.columns.collateral, screen.columns.requirement)
    amounts = [(side.weight[: screen.columns.rows], side.more_weight[: side.used]) for side in sides]
    floor_s = _best(lambda: [part.sum() for pair in amounts for part in pair])
    moved = Book(book.market, aave_book.moved(book.prices, MOVE / 2), book.positions)
    before, after = (vector_of(adapter.factors(one.market, one.prices, aave_book.NOW)) for one in (book, moved))

    full_s = _best(lambda: screen.below(after, slack, _LIQUIDATION))
    everything = {screen.columns.key(int(row)) for row in screen.below(after, slack, _LIQUIDATION)}
    screen.sort(before, slack, 1.1)
    prune_s = _best(lambda: screen.below(after, slack, _LIQUIDATION))
    candidates = {screen.columns.key(int(row)) for row in screen.below(after, slack, _LIQUIDATION)}
    truth = _liquidatable(adapter, moved, moved.positions)
    # a candidate is judged in integers before anything is done, so that one too many is none
    wrong = sum(len(truth ^ (_liquidatable(adapter, moved, found))) for found in (everything, candidates))
    return [
        timed(
            f"full screen of {accounts:,} accounts",
            floor_s,
            full_s,
            15.0,
            reason=lambda: shares(lambda: screen.everything_below(after, slack, _LIQUIDATION)),
        ),
        timed(
            f"prune of {accounts:,} accounts, prices moved by up to {MOVE:.1%}",
            floor_s,
            prune_s,
            0.2,
            f"{len(candidates):,} candidates",
            reason=lambda: shares(lambda: screen.below(after, slack, _LIQUIDATION)),
        ),
        counted(
            f"of {accounts:,} accounts, how many screen or prune and exact integers disagree on",
            wrong,
            0,
            f"{len(truth):,} can be liquidated",
        ),
    ]


def _liquidatable(adapter: AaveV3, book: Book[Market, Account], keys: Any) -> set[bytes]:
    """In exact integers, of these keys."""
    assert book.market is not None
    market, prices, positions = book.market, book.prices, book.positions
    return {key for key in keys if adapter.health(market, prices, positions[key], aave_book.NOW).liquidatable}


def _best(run: Callable[[], Any], times: int = 40) -> float:
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best

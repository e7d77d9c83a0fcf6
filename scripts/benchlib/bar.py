"""The block that ends a bar of volatility, against any other block: how long until its liquidations are known.

Every line may lie elsewhere after a bar. The shipped judge draws them once the block was acted on; the remark says what
that takes, and what it took when they were drawn first.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from keeper.core.types import Block, BlockRef, Book
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.judge import Judge
from keeper.evaluator.volatility import BAR_S

from . import aave_book
from .row import Row, timed

RESERVES = 20
OBSERVED_BARS = 40
MOVE = 0.003


def measure(accounts: int = 100_000, rounds: int = 5) -> list[Row]:
    book = aave_book.book(RESERVES, accounts)
    assert book.market is not None
    judge: Judge[Any, Any] = Judge(aave_book.adapter(book.market), Adaptive())
    judge.reload(book, ())
    present = book.prices
    for bar in range(OBSERVED_BARS):
        book.prices = aave_book.moved(present, MOVE, seed=bar)
        judge.advance(book, aave_book.NOW + bar * BAR_S)
    book.prices = present  # at which nobody is below water
    now = aave_book.NOW + (OBSERVED_BARS - 1) * BAR_S
    judge.sort(book, now)
    _take(judge, book, now)
    ordinary, ending, drawing, first = [], [], [], []
    for _ in range(rounds):
        now += 12
        ordinary.append(_take(judge, book, now))
        now = (now // BAR_S + 1) * BAR_S
        _take(judge, book, now - 12)
        begin = time.perf_counter()
        folded = judge.folded(book, now)
        ending.append(time.perf_counter() - begin + _take(judge, book, now))
        judge.observe(folded)
        first.append(_take(judge, book, now + 1))  # as before the ranking is made: what drawing them first cost
        begin = time.perf_counter()
        judge.sort(book, now + 1)
        drawing.append(time.perf_counter() - begin)
    floor_s, ours_s, drawn_s, first_s = map(statistics.median, (ordinary, ending, drawing, first))
    what = f"block that ends a bar of volatility, {accounts:,} positions: to its liquidations, over any other block"
    remark = f"lines drawn afterwards: {drawn_s * 1e3:.0f} ms; drawn first they made it {first_s * 1e3:.0f} ms"
    return [timed(what, floor_s, ours_s, 2, remark)]


def _take(judge: Judge[Any, Any], book: Book[Any, Any], at: int) -> float:
    """Seconds to judge a block; what it did to episodes is held afterwards."""
    block = Block(BlockRef(at, at.to_bytes(32, "big")), bytes(32), at)
    begin = time.perf_counter()
    ruling = judge.judge(book, block, also_at=at + 12)
    took = time.perf_counter() - begin
    judge.accept(ruling)
    return took

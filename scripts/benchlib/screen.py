"""Full screen and prune of a whole book, against a streaming numpy sum over the same amounts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keeper.core.types import Linear, Slack
from keeper.evaluator.columns import vector_of
from keeper.evaluator.screen import Screen

from .row import Row, timed

SLOTS = 60  # a large deployment: as many reserves, each as collateral and as debt
SLACK = Slack(relative=1.5e-4, absolute=16.0)
MOVE = 0.003


def measure(accounts: int = 100_000) -> list[Row]:
    """About 1.9 collaterals and 1.3 debts each, health from 1.0 upward; prices move by up to 0.3 % from the ranking."""
    rng = np.random.default_rng(7)
    factors = rng.uniform(0.5, 2.0, SLOTS)
    screen = Screen()
    screen.load(_book(rng, factors, accounts))
    vector = vector_of(factors)
    sides = (screen.columns.collateral, screen.columns.requirement)
    amounts = [(side.weight[: screen.columns.rows], side.more_weight[: side.used]) for side in sides]
    floor_s = _best(lambda: [part.sum() for pair in amounts for part in pair])
    moved = vector_of(factors * rng.uniform(1 - MOVE / 2, 1 + MOVE / 2, SLOTS))
    full_s = _best(lambda: screen.below(moved, SLACK, 1.0))
    screen.sort(vector, SLACK, 1.1)
    prune_s = _best(lambda: screen.below(moved, SLACK, 1.0))
    return [
        timed(f"full screen of {accounts:,} accounts", floor_s, full_s, 15.0),
        timed(f"prune of {accounts:,} accounts, prices moved by up to 0.3 %", floor_s, prune_s, 0.2),
    ]


def _book(rng: np.random.Generator, factors: np.ndarray, accounts: int) -> list[tuple[bytes, Linear]]:
    book = []
    for number in range(accounts):
        held = rng.choice(SLOTS, 1 + min(rng.poisson(0.9), 7), replace=False)
        owed = rng.choice(SLOTS, 1 + min(rng.poisson(0.3), 4), replace=False)
        debt = rng.lognormal(11, 2, len(owed))
        wanted = float(debt @ factors[owed]) * (1.0005 + rng.gamma(2.0, 0.5))
        share = rng.dirichlet(np.ones(len(held)))
        collateral = tuple(
            (int(slot), float(wanted * part / factors[slot])) for slot, part in zip(held, share, strict=True)
        )
        requirement = tuple((int(slot), float(amount)) for slot, amount in zip(owed, debt, strict=True))
        book.append((number.to_bytes(20, "big"), Linear(collateral, requirement)))
    return book


def _best(run: Callable[[], Any], times: int = 40) -> float:
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best

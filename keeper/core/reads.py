"""Reads that were described as data: several generators in lockstep, one round trip for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult

R = TypeVar("R")

Execute = Callable[[Sequence[Call]], Awaitable[Sequence[CallResult]]]
"""Executes calls against one block and returns their results in order."""


def together(reads: Sequence[Reads[R]]) -> Reads[list[R]]:
    """The answers of all reads, in order, as one read: it has as many yields as the longest of them."""
    answers: dict[int, R] = {}
    asked: dict[int, Sequence[Call]] = {}

    def advance(index: int, results: Sequence[CallResult] | None) -> None:
        try:
            asked[index] = next(reads[index]) if results is None else reads[index].send(results)
        except StopIteration as done:
            answers[index] = done.value

    for index in range(len(reads)):
        advance(index, None)
    while asked:
        round_, asked = asked, {}
        results = yield [call for calls in round_.values() for call in calls]
        start = 0
        for index, calls in round_.items():
            advance(index, results[start : start + len(calls)])
            start += len(calls)
    return [answers[index] for index in range(len(reads))]


async def drive(reads: Sequence[Reads[R]], execute: Execute) -> list[R]:
    """The answers of all reads, in order. Costs as many round trips as the longest of them has yields."""
    joined = together(reads)
    try:
        calls = next(joined)
        while True:
            calls = joined.send(await execute(calls))
    except StopIteration as done:
        answers: list[R] = done.value
        return answers

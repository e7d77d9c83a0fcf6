"""What liquidations in one block leave to each other: they sell into the same pools, one after the other.

Selling b after a brings what selling a + b at once brings, less what a brought, but for the fee's rounding. So a second
quote of each at the sum of all before it tells what it is worth in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, Skip
from keeper.executor.planning.search import Financed, Job, finance

_Turn = tuple[int, Financed]


def in_sequence(jobs: Sequence[Job], found: Sequence[Financed | Skip]) -> Reads[list[Financed | Skip]]:
    """What was found for each job, at what the sales before it leave; the most profitable sells first.

    One round trip, none when no two sell by the same route. Routes that merely share a pool are left as they are: the
    simulation, and the least gain, see to them.
    """
    queues: dict[tuple[str, bytes, bytes], list[_Turn]] = {}
    for index, one in enumerate(found):
        if isinstance(one, Financed):
            key = (one.route.name, one.plan.collateral_asset, one.plan.debt_asset)
            queues.setdefault(key, []).append((index, one))
    shared = [sorted(queue, key=lambda turn: (-turn[1].net_base, turn[0])) for queue in queues.values()]
    shared = [queue for queue in shared if len(queue) > 1]
    after = list(found)
    if not shared:
        return after
    results = yield [call for queue in shared for call in _sums(queue)]
    start = 0
    for queue in shared:
        for index, one in _in_turn(jobs, queue, results[start : start + len(queue) - 1]):
            after[index] = one
        start += len(queue) - 1
    return after


def _sums(queue: Sequence[_Turn]) -> list[Call]:
    sold, calls = queue[0][1].plan.expected_seized_assets, []
    for _, one in queue[1:]:
        sold += one.plan.expected_seized_assets
        calls.append(one.route.quote(sold))
    return calls


def _in_turn(
    jobs: Sequence[Job], queue: Sequence[_Turn], results: Sequence[CallResult]
) -> list[tuple[int, Financed | Skip]]:
    before = queue[0][1].bought_assets
    placed: list[tuple[int, Financed | Skip]] = []
    for (index, one), result in zip(queue[1:], results, strict=True):
        total = one.route.bought(result)
        bought = 0 if total is None else max(total - before, 0)
        before += bought
        again = finance(one.plan, one.route, one.loan, bought, jobs[index].purse)
        detail = f"others sell by {one.route.name} in this block, which leaves a gain of {again.gain_assets} raw units"
        placed.append((index, again if again.gain_assets > 0 else Skip("price_impact", detail)))
    return placed

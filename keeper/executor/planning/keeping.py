"""Selling only what it takes to repay, and keeping the rest of what is seized.

It is possible exactly where selling everything is; but what is kept moves no price, so that other amounts earn more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from keeper.core.ports import Reads
from keeper.core.types import LiquidationPlan, Skip
from keeper.core.units import BPS
from keeper.executor.planning.search import COARSE, Financed, Job, finance

_INTEREST = 1_000_000  # a millionth of a whole debt: what it grows by in some minutes until the block comes


def keep_the_rest(
    jobs: Sequence[Job], found: Sequence[Financed | Skip], haircut_bps: int
) -> Reads[list[Financed | Skip]]:
    """For each job the better of what was found and of keeping the rest, by the same route and loan. One round trip.

    haircut_bps: what is not counted of the value of kept collateral.
    """
    candidates = [
        (index, one)
        for index, (job, best) in enumerate(zip(jobs, found, strict=True))
        if isinstance(best, Financed)
        for one in _candidates(job, best)
    ]
    after = list(found)
    if not candidates:
        return after
    results = yield [one.route.price(owed_assets(one)) for _, one in candidates]
    for (index, one), result in zip(candidates, results, strict=True):
        sold, best = one.route.sold(result), after[index]
        if sold is None or sold >= one.plan.expected_seized_assets or not isinstance(best, Financed):
            continue
        kept = keeping(one, sold, jobs[index], haircut_bps)
        if kept.net_base > best.net_base:
            after[index] = kept
    return after


def keeping(one: Financed, sold_assets: int, job: Job, haircut_bps: int) -> Financed:
    """The same liquidation when only so much of what it seizes is sold, for exactly what is owed."""
    token, gain = one.plan.collateral_asset, one.plan.expected_seized_assets - sold_assets
    profit = job.purse.gained(token, gain) * (BPS - haircut_bps) // BPS
    return replace(
        one,
        bought_assets=owed_assets(one),
        sold_assets=sold_assets,
        gain_token=token,
        gain_assets=gain,
        haircut_bps=haircut_bps,
        profit_base=profit,
        net_base=profit - job.purse.gas(one.gas),
    )


def owed_assets(one: Financed) -> int:
    """What must be bought to repay everything. A whole debt grows until the block comes, so a little more."""
    repaid = one.plan.expected_repaid_assets
    return repaid + one.fee_assets + min(one.plan.repay_assets - repaid, repaid // _INTEREST + 1)


def _candidates(job: Job, best: Financed) -> Iterator[Financed]:
    """What was found, and the same at amounts from the most there is down."""
    yield best
    pair = next(
        pair
        for pair in job.pairs
        if (pair.debt_asset, pair.collateral_asset) == (best.plan.debt_asset, best.plan.collateral_asset)
    )
    seen = {best.plan.repay_assets}
    most = min(pair.most_assets, best.loan.available_assets)
    for up, down in COARSE:
        plan = pair.plan(most * up // down)
        if isinstance(plan, LiquidationPlan) and plan.repay_assets not in seen:
            seen.add(plan.repay_assets)
            yield finance(plan, best.route, best.loan, 0, job.purse)

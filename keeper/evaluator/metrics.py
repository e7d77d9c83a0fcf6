"""A position as its owner would read a margin account: equity, margins, leverage, what is at stake (docs/metrics.md).

Pure, over an `Assessment`, whatever the protocol: of lending the margins follow from the holdings, of perpetuals the
adapter states them. All values are base currency units, all ratios wads. What is rounded is rounded against the owner.
None of this decides anything: whether a position is liquidatable is the protocol's own word, `Health`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.types import Assessment, Holding, Margin
from keeper.core.units import BPS, WAD, div_up, mul_div_up


@dataclass(frozen=True, slots=True)
class Metrics:
    """None: the protocol does not tell what it takes, or the ratio has no meaning (no exposure, no equity left).

    equity_value: what the owner would keep after closing everything at these prices; negative when insolvent.
    exposure_value: gross value whose price moves the equity.
    initial_margin_value, maintenance_margin_value: the equity below which nothing may be added, and below which the
        position is open to liquidation; the `_ratio`s are per exposure, and `margin_ratio_wad` is what the equity is.
    effective_leverage_wad: exposure per equity.
    equity_utilization_wad: how much of what initial margin allows is used; above 1 nothing can be added.
    collateral_buffer_value: equity above maintenance margin, negative when below; `collateral_buffer_wad` is its share
        of the equity: how much of it can be lost before liquidation.
    liquidation_penalty_value: the most that liquidators can take beyond what they repay.
    concentration_wad: Herfindahl-Hirschman index of the exposures: 1 is one asset, 1/n are n of equal value.
    largest_asset, largest_share_wad: the exposure that counts most, and its share.
    """

    equity_value: int
    exposure_value: int
    initial_margin_value: int | None
    maintenance_margin_value: int | None
    margin_ratio_wad: int | None
    initial_margin_ratio_wad: int | None
    maintenance_margin_ratio_wad: int | None
    effective_leverage_wad: int | None
    equity_utilization_wad: int | None
    collateral_buffer_value: int | None
    collateral_buffer_wad: int | None
    liquidation_penalty_value: int | None
    concentration_wad: int | None
    largest_asset: bytes | None
    largest_share_wad: int | None


def metrics_of(assessment: Assessment) -> Metrics | None:
    """None when an asset that counts has no usable price: nothing can be said then."""
    margin = assessment.margin or lending_margin(assessment)
    if margin is None or assessment.health.unpriced_assets:
        return None
    equity, exposure = margin.equity_value, sum(value for _, value in margin.exposures)
    initial, maintenance = margin.initial_value, margin.maintenance_value
    buffer = None if maintenance is None else equity - maintenance
    largest = max(margin.exposures, key=lambda one: (one[1], one[0]), default=None)
    return Metrics(
        equity_value=equity,
        exposure_value=exposure,
        initial_margin_value=initial,
        maintenance_margin_value=maintenance,
        margin_ratio_wad=equity * WAD // exposure if exposure else None,
        initial_margin_ratio_wad=_ratio_up(initial, exposure),
        maintenance_margin_ratio_wad=_ratio_up(maintenance, exposure),
        effective_leverage_wad=_ratio_up(exposure, equity),
        equity_utilization_wad=_utilization(margin),
        collateral_buffer_value=buffer,
        collateral_buffer_wad=None if buffer is None or equity <= 0 else buffer * WAD // equity,
        liquidation_penalty_value=margin.penalty_value,
        concentration_wad=_concentration(margin.exposures, exposure),
        largest_asset=largest[0] if largest is not None and exposure else None,
        largest_share_wad=_ratio_up(largest[1], exposure) if largest is not None else None,
    )


def lending_margin(assessment: Assessment) -> Margin | None:
    """Margins of collateral against debt, from the holdings that count.

    With v the value of each collateral, T its liquidation threshold, L its loan to value and D all debt: maintenance
    margin is the equity where Σ v·T = D, which is Σ v·(1 − T); initial margin likewise Σ v·(1 − L). Of what may be
    borrowed, Σ v·L, the debt uses D. None when something that counts has no value.
    """
    collaterals = [holding for holding in assessment.collaterals if holding.counts]
    held = [(holding, holding.value) for holding in collaterals if holding.value is not None]
    if len(held) < len(collaterals):
        return None
    collateral = sum(value for _, value in held)
    debt = assessment.health.debt_value
    borrowable = _weighted(held, lambda holding: holding.loan_to_value_bps)
    sustained = _weighted(held, lambda holding: holding.liquidation_threshold_bps)
    return Margin(
        equity_value=collateral - debt,
        initial_value=None if borrowable is None else collateral - borrowable,
        maintenance_value=None if sustained is None else collateral - sustained,
        used_value=debt,
        capacity_value=borrowable,
        penalty_value=_penalty(held, debt),
        exposures=tuple((holding.asset, value) for holding, value in held),
    )


def metrics_json(metrics: Metrics, base_decimals: int, show: Callable[[bytes], str]) -> dict[str, Any]:
    """As in interface.md: integers as decimal strings; base_decimals: of every `_value`."""
    row: dict[str, Any] = {"base_decimals": base_decimals}
    for name in Metrics.__dataclass_fields__:
        value = getattr(metrics, name)
        row[name] = None if value is None else show(value) if isinstance(value, bytes) else str(value)
    return row


# --- inside -----------------------------------------------------------------------------------------------------------


def _weighted(held: Sequence[tuple[Holding, int]], weight: Callable[[Holding], int | None]) -> int | None:
    """Σ value · weight, rounded down once; None when a weight is unknown."""
    total = 0
    for holding, value in held:
        bps = weight(holding)
        if bps is None:
            return None
        total += value * bps
    return total // BPS


def _penalty(held: Sequence[tuple[Holding, int]], debt: int) -> int | None:
    """What liquidators take beyond the debt if they repay all of it, out of the dearest collateral first; rounded up.

    They never get more than there is: what is not covered by collateral is bad debt, and nobody's penalty.
    """
    dearest: list[tuple[int, int]] = []
    for holding, value in held:
        if holding.liquidation_penalty_bps is None:
            return None
        dearest.append((holding.liquidation_penalty_bps, value))
    taken, owed = 0, debt
    for penalty_bps, value in sorted(dearest, reverse=True):
        covers = value * BPS // (BPS + penalty_bps)
        if covers >= owed:
            return taken + mul_div_up(owed, penalty_bps, BPS)
        taken, owed = taken + value - covers, owed - covers
    return taken


def _utilization(margin: Margin) -> int | None:
    if margin.used_value == 0:
        return 0
    return _ratio_up(margin.used_value, margin.capacity_value)


def _concentration(exposures: Sequence[tuple[bytes, int]], total: int) -> int | None:
    return div_up(WAD * sum(value * value for _, value in exposures), total * total) if total else None


def _ratio_up(part: int | None, whole: int | None) -> int | None:
    """part / whole as a wad; None when either is unknown, or there is no whole."""
    return None if part is None or whole is None or whole <= 0 else mul_div_up(part, WAD, whole)

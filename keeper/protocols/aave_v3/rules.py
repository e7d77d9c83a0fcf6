"""Which arithmetic a pool uses. Versions are never asked for: features show in what the contracts answer.

since  what changed                                              told by
v3.3   close factor over the whole position, dust rule           getReserveDeficit answers
v3.4   self-liquidation refused                                  RESERVE_INTEREST_RATE_STRATEGY answers
v3.4+  compounded interest by Taylor's series                    the pool's own normalized debts
v3.5   balances rounded down, debts up; health from the sums     the tokens' own total supplies
v3.6   collateral with a zero base threshold counts              getEModeCategoryLtvzeroBitmap answers
v3.7   seizure rounded against the liquidator                    getIsEModeCategoryIsolated answers
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keeper.core.units import RAY
from keeper.protocols.aave_v3 import arithmetic as math


@dataclass(frozen=True, slots=True)
class Rules:
    """The variants in force.

    directed_rounding: balances round down, debts and their values up (v3.5); else to the nearest, values down.
    taylor_interest: how debts compound.
    health_from_sums: health is the weighted sum over the debt; else the average threshold is truncated first.
    zero_threshold_counts: enabled collateral whose base threshold is zero is part of the total.
    whole_position: close factor by the whole position's debt, small positions wholly, no dust left.
    floored_seizure: collateral seized rounds down and the protocol's fee up.
    self_liquidation: an account may liquidate itself.
    """

    directed_rounding: bool
    taylor_interest: bool
    health_from_sums: bool
    zero_threshold_counts: bool
    whole_position: bool
    floored_seizure: bool
    self_liquidation: bool

    def compounded_interest(self, rate_ray: int, elapsed_s: int) -> int:
        if self.taylor_interest:
            return math.compounded_interest_taylor(rate_ray, elapsed_s)
        return math.compounded_interest_binomial(rate_ray, elapsed_s)

    def balance(self, scaled: int, index_ray: int) -> int:
        """aToken.balanceOf, in token units."""
        multiply = math.ray_mul_floor if self.directed_rounding else math.ray_mul_half_up
        return multiply(scaled, index_ray)

    def debt(self, scaled: int, index_ray: int) -> int:
        """variableDebtToken.balanceOf, in token units."""
        multiply = math.ray_mul_ceil if self.directed_rounding else math.ray_mul_half_up
        return multiply(scaled, index_ray)

    def scaled_in(self, assets: int, index_ray: int) -> int:
        """Scaled aTokens that a supply of `assets` mints, or scaled debt that a repayment of `assets` burns."""
        divide = math.ray_div_floor if self.directed_rounding else math.ray_div_half_up
        return divide(assets, index_ray)

    def scaled_out(self, assets: int, index_ray: int) -> int:
        """Scaled aTokens that taking `assets` out burns."""
        divide = math.ray_div_ceil if self.directed_rounding else math.ray_div_half_up
        return divide(assets, index_ray)

    def least_assets(self, scaled: int, index_ray: int) -> int:
        """The fewest assets whose supply mints, or whose repayment burns, `scaled`. Inverse of `scaled_in`."""
        slack = 0 if self.directed_rounding else index_ray // 2
        return -(-(scaled * index_ray - slack) // RAY)

    def debt_value(self, assets: int, price: int, unit: int) -> int:
        """Base currency units owed: up since v3.5, down before."""
        return -(-assets * price // unit) if self.directed_rounding else assets * price // unit


@dataclass(frozen=True, slots=True)
class Features:
    """Which functions the pool has."""

    deficit: bool
    common_strategy: bool
    ltvzero_bitmap: bool
    isolated_emode: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one reserve's contracts say of its totals at one block; None where they do not answer."""

    income_index_ray: int | None
    debt_index_ray: int | None
    scaled_supply: int | None
    supply: int | None
    scaled_debt: int | None
    debt: int | None
    # as stored at the last update
    stored_debt_index_ray: int
    debt_rate_ray: int
    elapsed_s: int | None


def detect(features: Features, evidence: Iterable[Evidence]) -> Rules:
    """The rules the evidence shows; where it shows nothing (a market without interest), those of the features."""
    directed = taylor = 0
    for seen in evidence:
        directed += _supply_vote(seen) + _debt_vote(seen)
        taylor += _interest_vote(seen)
    recent = features.ltvzero_bitmap
    rounds_directed = directed > 0 if directed else recent
    return Rules(
        directed_rounding=rounds_directed,
        taylor_interest=taylor > 0 if taylor else recent or features.common_strategy,
        health_from_sums=rounds_directed,
        zero_threshold_counts=recent,
        whole_position=features.deficit,
        floored_seizure=features.isolated_emode,
        self_liquidation=not features.common_strategy,
    )


def contradicts(rules: Rules, seen: Evidence) -> bool:
    """Whether a reserve's own answers are not what these rules give. What is not answered contradicts nothing."""
    income, debt_index = seen.income_index_ray, seen.debt_index_ray
    index_differs = supply_differs = debt_differs = False
    if debt_index is not None and seen.elapsed_s is not None:
        growth = rules.compounded_interest(seen.debt_rate_ray, seen.elapsed_s)
        index_differs = debt_index != math.ray_mul_half_up(growth, seen.stored_debt_index_ray)
    if income is not None and seen.scaled_supply is not None and seen.supply is not None:
        supply_differs = seen.supply != rules.balance(seen.scaled_supply, income)
    if debt_index is not None and seen.scaled_debt is not None and seen.debt is not None:
        debt_differs = seen.debt != rules.debt(seen.scaled_debt, debt_index)
    return index_differs or supply_differs or debt_differs


def _vote(said: int, yes: int, no: int) -> int:
    """1 when only `yes` is what the chain said, -1 when only `no` is, 0 when it tells nothing."""
    return (said == yes) - (said == no)


def _supply_vote(seen: Evidence) -> int:
    index, scaled, supply = seen.income_index_ray, seen.scaled_supply, seen.supply
    if index is None or scaled is None or supply is None:
        return 0
    return _vote(supply, math.ray_mul_floor(scaled, index), math.ray_mul_half_up(scaled, index))


def _debt_vote(seen: Evidence) -> int:
    index, scaled, debt = seen.debt_index_ray, seen.scaled_debt, seen.debt
    if index is None or scaled is None or debt is None:
        return 0
    return _vote(debt, math.ray_mul_ceil(scaled, index), math.ray_mul_half_up(scaled, index))


def _interest_vote(seen: Evidence) -> int:
    if seen.debt_index_ray is None or seen.elapsed_s is None:
        return 0
    taylor = math.compounded_interest_taylor(seen.debt_rate_ray, seen.elapsed_s)
    binomial = math.compounded_interest_binomial(seen.debt_rate_ray, seen.elapsed_s)
    return _vote(
        seen.debt_index_ray,
        math.ray_mul_half_up(taylor, seen.stored_debt_index_ray),
        math.ray_mul_half_up(binomial, seen.stored_debt_index_ray),
    )

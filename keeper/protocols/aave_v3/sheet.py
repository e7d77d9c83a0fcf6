"""A position as a balance sheet: what counts for and against it, in token amounts and prices at one moment.

Both judging a position and asking "what if" (a repayment, a top-up, another price) work on this one value.
Source: GenericLogic.calculateUserAccountData.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keeper.core.types import Prices
from keeper.core.units import BPS, UINT256_MAX, WAD
from keeper.protocols.aave_v3 import arithmetic as math
from keeper.protocols.aave_v3.rules import Rules
from keeper.protocols.aave_v3.state import Account, EMode, Market, Reserve


@dataclass(frozen=True, slots=True)
class Indices:
    """What one scaled unit of supply and of variable debt is worth, in rays."""

    income_ray: int
    debt_ray: int


def indices(rules: Rules, reserve: Reserve, now: int) -> Indices:
    """Interest accrued to `now`. Raises ValueError for a time before the reserve's last update."""
    elapsed = now - reserve.updated_at
    if elapsed < 0:
        raise ValueError(f"time {now} is before the last update of {reserve.symbol} at {reserve.updated_at}")
    if elapsed == 0:
        return Indices(reserve.liquidity_index_ray, reserve.debt_index_ray)
    earned = math.linear_interest(reserve.liquidity_rate_ray, elapsed)
    owed = rules.compounded_interest(reserve.debt_rate_ray, elapsed)
    return Indices(
        math.ray_mul_half_up(earned, reserve.liquidity_index_ray),
        math.ray_mul_half_up(owed, reserve.debt_index_ray),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One asset on one side. assets: token units at the judged time. price: base units per whole token."""

    reserve: Reserve
    assets: int
    price: int
    threshold_bps: int = 0  # of collateral only


@dataclass(frozen=True, slots=True)
class Totals:
    """The pool's own view. health_wad: uint256 max when nothing is owed."""

    collateral_value: int
    debt_value: int
    threshold_bps: int
    health_wad: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """Collateral and debts that the pool counts. unpriced: counted assets without a usable price; they have no line."""

    rules: Rules
    collateral: tuple[Line, ...]
    debts: tuple[Line, ...]
    unpriced: tuple[bytes, ...] = ()
    emode: EMode | None = field(default=None)

    def totals(self) -> Totals:
        rules = self.rules
        collateral = weighted = debt = 0
        for line in self.collateral:
            value = line.assets * line.price // line.reserve.unit
            collateral += value
            weighted += value * line.threshold_bps
        for line in self.debts:
            debt += rules.debt_value(line.assets, line.price, line.reserve.unit)
        average = weighted // collateral if collateral else 0
        if debt == 0:
            health = UINT256_MAX
        elif rules.health_from_sums:
            health = math.wad_div_half_up(weighted, debt) // BPS
        else:
            health = math.wad_div_half_up(math.percent_mul_half_up(collateral, average), debt)
        return Totals(collateral, debt, average, health)

    @property
    def health_wad(self) -> int:
        return self.totals().health_wad

    @property
    def liquidatable(self) -> bool:
        return self.health_wad < WAD

    def with_collateral(self, reserve_id: int, assets: int) -> Sheet:
        return replace(self, collateral=_changed(self.collateral, reserve_id, assets))

    def with_debt(self, reserve_id: int, assets: int) -> Sheet:
        return replace(self, debts=_changed(self.debts, reserve_id, assets))

    def with_price(self, asset: bytes, price: int) -> Sheet:
        def priced(lines: tuple[Line, ...]) -> tuple[Line, ...]:
            return tuple(replace(line, price=price) if line.reserve.asset == asset else line for line in lines)

        return replace(self, collateral=priced(self.collateral), debts=priced(self.debts))


def _changed(lines: tuple[Line, ...], reserve_id: int, assets: int) -> tuple[Line, ...]:
    return tuple(replace(line, assets=assets) if line.reserve.id == reserve_id else line for line in lines)


def stable_debt(account: Account, reserve_id: int, now: int) -> int:
    """Debt at a fixed rate, in token units: principal compounded by that rate; always binomial, to the nearest."""
    return sum(
        math.ray_mul_half_up(
            stable.principal_assets, math.compounded_interest_binomial(stable.rate_ray, now - stable.updated_at)
        )
        for stable in account.stables
        if stable.reserve_id == reserve_id
    )


def threshold_of(rules: Rules, reserve: Reserve, emode: EMode | None) -> int | None:
    """Threshold at which this collateral counts for an account in this e-mode; None when it does not count at all."""
    if not rules.zero_threshold_counts and reserve.liquidation_threshold_bps == 0:
        return None
    if emode is not None and emode.covers(reserve.id):
        return emode.liquidation_threshold_bps
    return reserve.liquidation_threshold_bps


def loan_to_value_of(rules: Rules, reserve: Reserve, emode: EMode | None) -> int | None:
    """Share of this collateral's value against which an account in this e-mode may borrow anew, in bps.

    Source: ValidationLogic.getUserReserveLtv (v3.6); before, a zero base value was not raised by an e-mode.
    """
    if emode is None or not emode.covers(reserve.id):
        return reserve.loan_to_value_bps
    if emode.ltvzero_bitmap >> reserve.id & 1 or (not rules.zero_threshold_counts and reserve.loan_to_value_bps == 0):
        return 0
    return emode.loan_to_value_bps


def penalty_of(reserve: Reserve, emode: EMode | None) -> int:
    """What a liquidator takes of this collateral beyond the debt it repays, in bps of that debt; 0 where no bonus is
    set, as of what cannot be collateral."""
    inside = emode is not None and emode.covers(reserve.id)
    bonus = emode.liquidation_bonus_bps if emode is not None and inside else reserve.liquidation_bonus_bps
    return max(bonus - BPS, 0)


def price_of(prices: Prices, reserve: Reserve, emode: EMode | None) -> int | None:
    """Price that counts for an account in this e-mode, None where there is none."""
    asset = reserve.asset
    if emode is not None and emode.price_source and emode.covers(reserve.id):
        asset = emode.price_source
    price = prices.get(asset)
    return None if price is None else price.value


def sheet(
    market: Market, prices: Prices, account: Account, now: int, accrued: Mapping[int, Indices] | None = None
) -> Sheet:
    """What the pool counts of an account: only reserves flagged in its configuration.

    accrued: indices at `now` by reserve id, where the caller has them already.
    """
    rules, emode = market.rules, market.by_category.get(account.emode)
    collateral: list[Line] = []
    debts: list[Line] = []
    unpriced: set[bytes] = set()
    supplies, variable = dict(account.supplies), dict(account.debts)
    for reserve_id, owes, pledges in account.flagged():
        if (reserve := market.by_id.get(reserve_id)) is None:
            continue
        index = accrued[reserve_id] if accrued is not None else indices(rules, reserve, now)
        price = price_of(prices, reserve, emode)
        if price is None or reserve.opaque:
            unpriced.add(reserve.asset)
            continue
        threshold = threshold_of(rules, reserve, emode) if pledges else None
        if threshold is not None:
            assets = rules.balance(supplies.get(reserve_id, 0), index.income_ray)
            collateral.append(Line(reserve, assets, price, threshold))
        if owes:
            assets = rules.debt(variable.get(reserve_id, 0), index.debt_ray)
            if account.stables:
                assets += stable_debt(account, reserve_id, now)
            debts.append(Line(reserve, assets, price))
    return Sheet(rules, tuple(collateral), tuple(debts), tuple(sorted(unpriced)), emode)

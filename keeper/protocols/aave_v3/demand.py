"""What cures a position, and what would break it: exact amounts and prices, found by search over the pool's integers.

Searches rely on one fact: with everything else fixed, more collateral, less debt or a higher collateral price never
lowers the health computed from sums (v3.5). The average threshold of older pools is truncated to basis points, so
there health is a sawtooth: it only rises while the truncated average stays the same, and each stretch is searched.
"""

from __future__ import annotations

from collections.abc import Callable

from keeper.core.types import BreachPrice, Demand, Prices
from keeper.core.units import BPS, RAY, UINT256_MAX, WAD, mul_div_up
from keeper.protocols.aave_v3.sheet import Indices, Line, Sheet, indices, sheet, stable_debt
from keeper.protocols.aave_v3.state import Account, Market, Reserve
from keeper.protocols.search import breach_edge, least, move_bps, through

_MOST_ASSETS = 1 << 120  # no aToken holds more
_PROBE = 1 << 80


def demands(market: Market, prices: Prices, account: Account, now: int, target_wad: int) -> tuple[Demand, ...]:
    """For each collateral the smallest supply, for each debt the smallest repayment, that alone reaches the target.

    Nothing when the target is met already, or while an asset is unpriced. Assets the pool would refuse (paused, or
    frozen or without room below their cap for supplies), debts whose full repayment is not enough, and supplies beyond
    2^120 are left out.
    """
    position = sheet(market, prices, account, now)
    if position.unpriced or position.health_wad >= target_wad:
        return ()
    found: list[Demand] = []
    for line in position.collateral:
        reserve = line.reserve
        if line.threshold_bps and reserve.active and not (reserve.paused or reserve.frozen):
            found += _top_up(market, account, position, reserve, indices(market.rules, reserve, now), target_wad)
    for line in position.debts:
        if line.reserve.active and not line.reserve.paused:
            found += _repayment(market, account, position, line.reserve, now, target_wad)
    return tuple(found)


def _top_up(
    market: Market, account: Account, position: Sheet, reserve: Reserve, index: Indices, target_wad: int
) -> list[Demand]:
    rules, held = market.rules, dict(account.supplies).get(reserve.id, 0)

    def after(scaled: int) -> Sheet:
        return position.with_collateral(reserve.id, rules.balance(held + scaled, index.income_ray))

    most = rules.scaled_in(_room(reserve, index), index.income_ray)
    scaled = _least_supply(after, target_wad, most) if most else None
    if scaled is None:
        return []
    assets = rules.least_assets(scaled, index.income_ray)
    return [_demand("add_collateral", reserve, assets, after(rules.scaled_in(assets, index.income_ray)))]


def _room(reserve: Reserve, index: Indices) -> int:
    """What may be supplied before the reserve's cap is reached, rounded down.

    The treasury's part of the interest since the reserve was last touched counts as well. The suppliers' part is what
    is left of all interest after the reserve factor, and theirs is linear; debts compound, and those at fixed rates
    have their own, hence a fiftieth more.
    Source: ValidationLogic.validateSupply, ReserveLogic._accrueToTreasury. The first releases do not count what the
    treasury is promised.
    """
    if not reserve.supply_cap_assets:
        return _MOST_ASSETS
    scaled, kept_bps = reserve.scaled_supply + reserve.treasury_scaled, min(reserve.reserve_factor_bps, BPS - 1)
    supplied = mul_div_up(scaled, index.income_ray, RAY)
    interest = mul_div_up(scaled, index.income_ray - reserve.liquidity_index_ray, RAY)
    kept = mul_div_up(mul_div_up(interest, kept_bps, BPS - kept_bps), 51, 50)
    return max(min(reserve.supply_cap_assets - supplied - kept, _MOST_ASSETS), 0)


def _least_supply(after: Callable[[int], Sheet], target_wad: int, most: int) -> int | None:
    """Smallest scaled supply that reaches the target, None when even `most` does not."""

    def cured(scaled: int) -> bool:
        return after(scaled).health_wad >= target_wad

    begin, probe = after(0), min(most, _PROBE)
    near = through(0, begin.health_wad, probe, after(probe).health_wad, target_wad)
    if begin.rules.health_from_sums:
        return least(cured, 1, most, near) if cured(most) else None
    # Truncation only lowers the average, so nothing below what the untruncated average asks for can do; and within a
    # stretch of one average health only rises.
    scaled = least(lambda s: _untruncated_reaches(after(s), target_wad), 1, most, near)
    while scaled <= most:
        last = _stretch_end(lambda s: after(s).totals().threshold_bps, scaled, most)
        if cured(last):
            return least(cured, scaled, last)
        scaled = last + 1
    return None


def _untruncated_reaches(position: Sheet, target_wad: int) -> bool:
    """Whether health could reach the target if the average threshold were not truncated.

    Rounding to the nearest may add half a base unit to the weighted collateral and half a wad unit to the health;
    twice that is allowed for.
    """
    owed = position.totals().debt_value
    weighted = sum(line.assets * line.price // line.reserve.unit * line.threshold_bps for line in position.collateral)
    return (weighted + BPS) * WAD + owed * BPS >= target_wad * owed * BPS


def _repayment(
    market: Market, account: Account, position: Sheet, reserve: Reserve, now: int, target_wad: int
) -> list[Demand]:
    """Variable debt is repaid in scaled units; an account that owes the asset at a fixed rate only, in token units."""
    rules, index = market.rules, indices(market.rules, reserve, now).debt_ray
    fixed = stable_debt(account, reserve.id, now)
    scaled = dict(account.debts).get(reserve.id, 0)
    owed = rules.debt(scaled, index) if scaled else fixed
    other = fixed if scaled else 0

    def after(assets: int) -> Sheet:
        if not scaled or assets >= owed:
            return position.with_debt(reserve.id, other + max(owed - assets, 0))
        burned = min(rules.scaled_in(assets, index), scaled)
        return position.with_debt(reserve.id, other + rules.debt(scaled - burned, index))

    def cured(assets: int) -> bool:
        return after(assets).health_wad >= target_wad

    if not owed or not cured(owed):
        return []
    # What is owed over what may be owed falls evenly.
    now_wad, half_wad = (WAD * WAD // max(1, after(assets).health_wad) for assets in (0, owed // 2))
    near = through(0, now_wad, owed // 2, half_wad, WAD * WAD // target_wad)
    assets = least(cured, 1, owed, near)
    return [_demand("repay", reserve, assets, after(assets))]


def _demand(action: str, reserve: Reserve, assets: int, after: Sheet) -> Demand:
    health = after.health_wad
    return Demand(
        action=action,
        asset=reserve.asset,
        symbol=reserve.symbol,
        decimals=reserve.decimals,
        amount=assets,
        resulting_health_wad=None if health == UINT256_MAX else health,
    )


def breach_prices(market: Market, prices: Prices, account: Account, now: int) -> tuple[BreachPrice, ...]:
    """For each collateral asset the highest price at which the position is liquidatable, all else equal.

    It is liquidatable there and not one unit above; where the asset is owed as well, or the pool truncates the average
    threshold, further such edges within the rounding are possible. Left out: assets whose price alone cannot breach.
    """
    position = sheet(market, prices, account, now)
    if position.unpriced or not position.debts:
        return ()
    found = []
    for line in position.collateral:
        edge = _breach_price(position, line)
        if edge is not None:
            move = move_bps(line.price, edge)
            found.append(BreachPrice(line.reserve.asset, line.reserve.symbol, edge, market.base_decimals, move))
    return tuple(found)


def _breach_price(position: Sheet, line: Line) -> int | None:
    asset, emode = line.reserve.asset, position.emode
    if not line.assets or (emode is not None and emode.price_source and emode.covers(line.reserve.id)):
        return None  # such an e-mode values the asset by another's price
    half = line.price // 2
    near = through(line.price, position.health_wad, half, position.with_price(asset, half).health_wad, WAD)
    return breach_edge(lambda price: position.with_price(asset, price).liquidatable, line.price, near)


# --- search -----------------------------------------------------------------------------------------------------------


def _stretch_end(value: Callable[[int], int], start: int, most: int) -> int:
    """Last n, at most `most`, until which a monotone function keeps the value it has at `start`."""
    kept, step = value(start), 1
    while start + step <= most and value(start + step) == kept:
        step *= 2
    return least(lambda n: n > most or value(n) != kept, start + 1, min(start + step, most + 1)) - 1

"""Judging an account: its health, everything its owner may ask, and its weights in the vectorised screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.types import Assessment, Health, Holding, Linear, Margin, Prices, Slack
from keeper.core.units import BPS, WAD, div_up
from keeper.protocols.perp_v2.margin import DAY_S, DUST_WAD, PPM, Q96, Sheet, sheet
from keeper.protocols.perp_v2.state import Account, Market


def judge(position: Sheet) -> Health:
    """Health is account value over maintenance margin. Values: margin, and the positions it backs."""
    known = not position.unpriced
    factor = position.health_wad if known else None
    return Health(
        factor_wad=factor,
        liquidatable=factor is not None and position.liquidatable,
        collateral_value=max(position.account_value_wad, 0),
        debt_value=position.notional_wad,
        unpriced_assets=position.unpriced,
    )


def assess(market: Market, prices: Prices, account: Account) -> Assessment:
    """A long position holds its base and owes what it cost, a short one the other way round; realized and unrealized
    results are in `margin`."""
    position = sheet(market, prices, account)
    health = judge(position)
    collaterals, debts = [], []
    if account.balance > 0:
        collaterals.append(_settlement(market, account.balance))
    elif account.balance < 0:
        debts.append(_settlement(market, -account.balance))
    for token, amount in account.deposits:
        if (kind := market.by_collateral.get(token)) is not None:
            price = prices.get(token)
            value = None if price is None else amount * price.value * WAD // 10 ** (kind.price_decimals + kind.decimals)
            ratio = kind.ratio_ppm * BPS // PPM
            collaterals.append(Holding(token, kind.symbol, kind.decimals, amount, value, True, ratio, ratio))
    for taken in account.positions:
        if (one := market.by_base.get(taken.base)) is not None and taken.size_wad:
            price, size = prices.get(taken.base), abs(taken.size_wad)
            held = Holding(taken.base, one.symbol, 18, size, None if price is None else size * price.value // WAD)
            (collaterals if taken.size_wad > 0 else debts).append(held)
    return Assessment(
        health, tuple(collaterals), tuple(debts), _native(position), margin=_margin(market, position, health)
    )


def _settlement(market: Market, amount: int) -> Holding:
    value = amount * 10 ** (18 - market.settlement_decimals)
    return Holding(
        market.settlement, market.settlement_symbol, market.settlement_decimals, amount, value, True, BPS, BPS
    )


def _native(position: Sheet) -> Mapping[str, Any]:
    known = not position.unpriced
    return {
        "accountValue": position.account_value_wad if known else None,
        "marginRequirement": position.requirement_wad if known else None,
    }


def _margin(market: Market, position: Sheet, health: Health) -> Margin | None:
    if health.unpriced_assets or health.factor_wad is None:
        return None
    equity, notional = position.account_value_wad, position.notional_wad
    initial = div_up(notional * market.im_ratio_ppm, PPM)
    return Margin(
        equity_value=equity,
        initial_value=initial,
        maintenance_value=position.requirement_wad,
        used_value=initial,
        capacity_value=max(equity, 0),
        penalty_value=div_up(notional * market.penalty_ppm, PPM),
        exposures=tuple(sorted((line.base, abs(line.value_wad)) for line in position.lines if line.size_wad)),
    )


# --- the screen -------------------------------------------------------------------------------------------------------
#
# Slot 0 is a dollar. Then two slots for each market, its price and its funding, and one for each collateral token. The
# last one is always NaN, and sends accounts with orders to exact judgement.


def linear(market: Market, account: Account) -> Linear:
    unit = 10 ** (18 - market.settlement_decimals)
    places = {one.base: 1 + 2 * place for place, one in enumerate(market.bases)}
    first = 1 + 2 * len(market.bases)
    tokens = {one.token: first + place for place, one in enumerate(market.collaterals)}
    last = first + len(market.collaterals)
    cash = float(account.balance * unit + account.owed_pnl_wad)
    collateral: list[tuple[int, float]] = []
    requirement: list[tuple[int, float]] = []
    exact_only = account.orders
    for taken in account.positions:
        place = places.get(taken.base)
        if place is None:
            exact_only = True
            continue
        size = 0 if abs(taken.size_wad) < DUST_WAD else taken.size_wad
        flow = taken.size_wad / Q96 / DAY_S
        cash += taken.open_notional_wad + flow * taken.growth_x96
        collateral += [(place, size / WAD), (place + 1, -flow)]
        requirement.append((place, abs(size) / WAD * market.mm_ratio_ppm / PPM))
    for token, amount in account.deposits:
        if (place := tokens.get(token)) is None:
            exact_only = True
        else:
            kind = market.by_collateral[token]
            collateral.append((place, amount * 10.0 ** (18 - kind.decimals) * kind.ratio_ppm / PPM))
    collateral.append((0, cash))
    if exact_only:
        requirement.append((last, 1.0))
    return Linear(tuple(collateral), tuple(requirement))


def factors(market: Market, prices: Prices) -> list[float]:
    values = [1.0]
    for one in market.bases:
        price = prices.get(one.base)
        values += (float("nan") if price is None else float(price.value), float(one.growth_x96))
    for kind in market.collaterals:
        price = prices.get(kind.token)
        values.append(float("nan") if price is None else price.value / 10.0**kind.price_decimals)
    return [*values, float("nan")]


def slack(market: Market) -> Slack:
    """An account's value is rounded down to the settlement token (a millionth of a dollar), and its terms may be a
    billion times larger than their sum, which costs floats a few digits: a hundredth of a cent covers both up to a
    hundred billions."""
    unit = 10 ** (18 - market.settlement_decimals)
    return Slack(relative=1e-9, absolute=float(2 * unit) + 1e14)


def same_weights(before: Market, after: Market) -> bool:
    return before is after or _weights(before) == _weights(after)


def _weights(market: Market) -> object:
    collaterals = tuple((one.token, one.ratio_ppm) for one in market.collaterals)
    return tuple(one.base for one in market.bases), collaterals, market.mm_ratio_ppm

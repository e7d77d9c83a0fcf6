"""Judging a position: its health, everything its owner may ask, and its weights in the vectorised screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.types import Assessment, Health, Holding, Linear, Margin, Prices, Slack
from keeper.core.units import BPS, WAD, div_up
from keeper.protocols.venus.interest import Accrued, stored
from keeper.protocols.venus.sheet import Accrual, Sheet, Totals, least_health, sheet
from keeper.protocols.venus.state import Account, Market, VMarket


def judge(position: Sheet) -> tuple[Health, Totals]:
    """The health is the least that a liquidation may find (`Sheet.views`); values are those once all markets accrued.

    So it is never above what Comptroller.getAccountLiquidity says after every market's accrueInterest, and below it
    only where a market counts that a liquidation need not touch: the pool takes that one as stored, without the
    interest of a collateral that nobody has moved for long. The pool's view as it stands is `native_of`.

    With an unpriced asset the totals miss it, so health is unknown. A forced debt is liquidatable at any health.
    """
    views = position.views()
    totals = views[0]
    factor = None if position.unpriced else least_health(views)
    open_to = factor is not None and (position.forced or any(view.shortfall for view in views))
    health = Health(
        factor_wad=factor,
        liquidatable=open_to,
        collateral_value=totals.collateral,
        debt_value=totals.borrows,
        unpriced_assets=position.unpriced,
    )
    return health, totals


def assess(market: Market, prices: Prices, account: Account, accrual: Accrual) -> Assessment:
    """Holdings include supplies in markets that the account has not entered."""
    position = sheet(market, prices, account, accrual)
    health, totals = judge(position)
    debts = {debt.vtoken: debt for debt in account.debts}
    lines = {line.market.vtoken: line for line in position.lines}
    collaterals, owing = [], []
    for vtoken, tokens in account.supplies:
        if (one := market.by_vtoken.get(vtoken)) is not None:
            collaterals.append(_collateral(market, one, accrual(one), tokens, prices, vtoken in account.entered))
    for vtoken in sorted(debts):
        if (one := market.by_vtoken.get(vtoken)) is not None:
            amount = debts[vtoken].principal_assets * accrual(one).borrow_index_wad // debts[vtoken].index_wad
            price = prices.get(one.asset)
            value = None if price is None else price.value * amount // WAD
            owing.append(Holding(one.asset, one.symbol, one.decimals, amount, value, counts=vtoken in lines))
    margin = None if position.unpriced or totals.health_wad is None else _margin(market, position, totals)
    native = native_of(sheet(market, prices, account, stored))
    return Assessment(health, tuple(collaterals), tuple(owing), native, margin=margin)


def native_of(position: Sheet) -> Mapping[str, Any]:
    """Comptroller.getAccountLiquidity under its own names, as stored; None where the pool would revert."""
    totals = position.totals()
    known = not position.unpriced
    return {
        "liquidity": totals.liquidity if known else None,
        "shortfall": totals.shortfall if known else None,
    }


def _collateral(market: Market, one: VMarket, now: Accrued, tokens: int, prices: Prices, entered: bool) -> Holding:
    price = prices.get(one.asset)
    value = None if price is None else now.exchange_rate_wad * price.value // WAD * tokens // WAD
    return Holding(
        asset=one.asset,
        symbol=one.symbol,
        decimals=one.decimals,
        amount=tokens * now.exchange_rate_wad // WAD,
        value=value,
        counts=entered,
        liquidation_threshold_bps=one.liquidation_threshold_wad * BPS // WAD,
        loan_to_value_bps=one.collateral_factor_wad * BPS // WAD,
        liquidation_penalty_bps=max(market.incentive_wad - WAD, 0) * BPS // WAD,
    )


def _margin(market: Market, position: Sheet, totals: Totals) -> Margin:
    """From the pool's own factors, which need not be whole basis points."""
    capacity = sum(
        line.market.collateral_factor_wad * line.token_price // WAD * line.tokens // WAD for line in position.lines
    )
    backing = sum(line.token_price * line.tokens // WAD for line in position.lines)
    equity = totals.collateral - totals.borrows
    return Margin(
        equity_value=equity,
        initial_value=backing - capacity,
        maintenance_value=backing - totals.weighted,
        used_value=totals.borrows,
        capacity_value=capacity,
        penalty_value=min(div_up(totals.borrows * max(market.incentive_wad - WAD, 0), WAD), max(equity, 0)),
        exposures=tuple(
            sorted((line.market.asset, line.token_price * line.tokens // WAD) for line in position.lines if line.tokens)
        ),
    )


# --- the screen -------------------------------------------------------------------------------------------------------
#
# Slot 2k is the supply of the k-th market, slot 2k + 1 its debt. One more slot, always NaN, sends to exact judgement
# whoever owes in a market whose debts may be liquidated at any health.
#
# A supply counts without the interest that waits to be added to its market, a debt with it: no liquidation can find
# less. How much less than the exact health that is depends on the time, so nothing is ever surely below a threshold.


def linear(market: Market, account: Account) -> Linear:
    """Whatever is entered has a slot, if with weight zero, since its missing price makes the pool refuse to judge."""
    supplies, debts = dict(account.supplies), {debt.vtoken: debt for debt in account.debts}
    collateral: list[tuple[int, float]] = []
    requirement: list[tuple[int, float]] = []
    forced = False
    for vtoken in account.entered:
        if (place := market.places.get(vtoken)) is None:
            continue
        one = market.markets[place]
        collateral.append((2 * place, supplies.get(vtoken, 0) * (one.liquidation_threshold_wad / WAD)))
        if (debt := debts.get(vtoken)) is not None:
            requirement.append((2 * place + 1, debt.principal_assets / debt.index_wad))
            forced |= one.forced
    if forced:
        requirement.append((2 * len(market.markets), 1.0))
    return Linear(tuple(collateral), tuple(requirement))


def factors(market: Market, prices: Prices, accrual: Accrual) -> list[float]:
    """Dollars (scaled by 1e18) that one vToken unit at least, and one unit of principal per index at most, are worth
    by slot."""
    values: list[float] = []
    for one in market.markets:
        price = prices.get(one.asset)
        value = float("nan") if price is None else price.value / WAD
        now = accrual(one)
        least = now.before or now
        values += (value * (least.exchange_rate_wad / WAD), value * now.borrow_index_wad)
    values.append(float("nan"))
    return values


def slack(market: Market) -> Slack:
    """The pool truncates a vToken's price, and that price times its threshold, to 1e-18 of a dollar per unit of 1e18
    scale: relative to what they are worth that is 2 in 1e18 * price, below one part in a million down to prices of 1e12
    (a vToken unit worth a trillionth of a dollar times 1e-6). Debts are truncated to raw units: less than is owed here.
    """
    return Slack(relative=1e-6, absolute=float(4 * (len(market.markets) + 1)))


def same_weights(before: Market, after: Market) -> bool:
    return before is after or _weights(before) == _weights(after)


def _weights(market: Market) -> object:
    return tuple((one.vtoken, one.asset, one.liquidation_threshold_wad, one.forced) for one in market.markets)

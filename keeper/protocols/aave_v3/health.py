"""Judging a position: its health, everything its owner may ask, and its weights in the vectorised screen."""

from __future__ import annotations

from collections.abc import Mapping

from keeper.core.types import Assessment, Health, Holding, Linear, Prices, Slack
from keeper.core.units import BPS, RAY, UINT256_MAX, WAD
from keeper.protocols.aave_v3.sheet import (
    Indices,
    Sheet,
    Totals,
    indices,
    loan_to_value_of,
    penalty_of,
    price_of,
    sheet,
    stable_debt,
    threshold_of,
)
from keeper.protocols.aave_v3.state import Account, Market, Reserve


class Heartbeats:
    """How old a feed's last round may be, in seconds, by asset; None: any age."""

    def __init__(self, by_asset: Mapping[bytes, int], by_symbol: Mapping[str, int], default_s: int | None) -> None:
        self._by_asset = by_asset
        self._by_symbol = by_symbol
        self._default_s = default_s
        self._everlasting = not by_asset and not by_symbol and default_s is None

    def is_stale(self, reserve: Reserve, prices: Prices, now: int) -> bool:
        if self._everlasting:
            return False
        price = prices.get(reserve.asset)
        limit = self._by_asset.get(reserve.asset, self._by_symbol.get(reserve.symbol, self._default_s))
        return (
            price is not None and price.updated_at is not None and limit is not None and now - price.updated_at > limit
        )


def judge(heartbeats: Heartbeats, prices: Prices, position: Sheet, now: int) -> tuple[Health, Totals]:
    """With an unpriced asset the totals miss it, so health is unknown."""
    totals = position.totals()
    counted = (line.reserve for line in (*position.collateral, *position.debts))
    stale = {reserve.asset for reserve in counted if heartbeats.is_stale(reserve, prices, now)}
    known = not position.unpriced and totals.health_wad != UINT256_MAX
    health = Health(
        factor_wad=totals.health_wad if known else None,
        liquidatable=known and totals.health_wad < WAD,
        collateral_value=totals.collateral_value,
        debt_value=totals.debt_value,
        stale_assets=tuple(sorted(stale)),
        unpriced_assets=position.unpriced,
    )
    return health, totals


def assess(heartbeats: Heartbeats, market: Market, prices: Prices, account: Account, now: int) -> Assessment:
    """Holdings include supplies that are not collateral. native is None throughout when an asset has no price."""
    health, totals = judge(heartbeats, prices, sheet(market, prices, account, now), now)
    emode = market.by_category.get(account.emode)
    accrued = {reserve.id: indices(market.rules, reserve, now) for reserve in market.reserves}
    collaterals, debts = [], []
    for reserve_id, scaled in account.supplies:
        if (reserve := market.by_id.get(reserve_id)) is None:
            continue
        assets = market.rules.balance(scaled, accrued[reserve_id].income_ray)
        price = price_of(prices, reserve, emode)
        threshold = threshold_of(market.rules, reserve, emode)
        collaterals.append(
            Holding(
                asset=reserve.asset,
                symbol=reserve.symbol,
                decimals=reserve.decimals,
                amount=assets,
                value=None if price is None else assets * price // reserve.unit,
                counts=account.pledges(reserve_id) and threshold is not None,
                liquidation_threshold_bps=threshold or 0,
                loan_to_value_bps=loan_to_value_of(market.rules, reserve, emode),
                liquidation_penalty_bps=penalty_of(reserve, emode),
            )
        )
    variable = dict(account.debts)
    for reserve_id in sorted({*variable, *(stable.reserve_id for stable in account.stables)}):
        if (reserve := market.by_id.get(reserve_id)) is None:
            continue
        assets = market.rules.debt(variable.get(reserve_id, 0), accrued[reserve_id].debt_ray)
        assets += stable_debt(account, reserve_id, now)
        price = price_of(prices, reserve, emode)
        value = None if price is None else market.rules.debt_value(assets, price, reserve.unit)
        debts.append(
            Holding(reserve.asset, reserve.symbol, reserve.decimals, assets, value, counts=account.owes(reserve_id))
        )
    return Assessment(health, tuple(collaterals), tuple(debts), native(totals, known=not health.unpriced_assets))


def native(totals: Totals, known: bool) -> Mapping[str, int | None]:
    """Pool.getUserAccountData under its own names."""
    return {
        "totalCollateralBase": totals.collateral_value if known else None,
        "totalDebtBase": totals.debt_value if known else None,
        "currentLiquidationThreshold": totals.threshold_bps if known else None,
        "healthFactor": totals.health_wad if known else None,
    }


# --- the screen -------------------------------------------------------------------------------------------------------
#
# Slot 2k is the supply of the k-th reserve, slot 2k + 1 its debt. Where a market has what is not linear in shared
# factors (fixed-rate debts, an e-mode with a price of its own, opaque reserves), one more slot, always NaN, sends the
# accounts concerned to exact judgement.


def linear(market: Market, account: Account) -> Linear:
    """Weights that never overstate collateral nor understate debt, whatever the pool rounds.

    A balance is at most one token unit below scaled * index, a debt at most one above; indices start at one ray and
    only grow, so one scaled unit less, and one more, covers either. Whatever is flagged has a slot, if with weight
    zero, since its missing price makes the pool itself refuse to judge.
    """
    emode = market.by_category.get(account.emode)
    supplies, debts = dict(account.supplies), dict(account.debts)
    collateral: list[tuple[int, float]] = []
    requirement: list[tuple[int, float]] = []
    exact_only = bool(account.stables) or bool(emode is not None and emode.price_source)
    for reserve_id, owes, pledges in account.flagged():
        if (place := market.places.get(reserve_id)) is None:
            continue
        reserve = market.reserves[place]
        if pledges and (threshold := threshold_of(market.rules, reserve, emode)) is not None:
            lower = max(supplies.get(reserve_id, 0) - 1, 0)
            collateral.append((2 * place, lower / reserve.unit * threshold / BPS))
        if owes:
            upper = debts[reserve_id] + 1 if reserve_id in debts else 0
            requirement.append((2 * place + 1, upper / reserve.unit))
        exact_only |= reserve.opaque
    if exact_only:
        requirement.append((2 * len(market.reserves), 1.0))
    return Linear(tuple(collateral), tuple(requirement))


def factors(market: Market, prices: Prices, accrued: Mapping[int, Indices]) -> list[float]:
    """Value of one scaled whole token by slot, in base currency units."""
    values: list[float] = []
    for reserve in market.reserves:
        price = prices.get(reserve.asset)
        value = float("nan") if price is None else float(price.value)
        index = accrued[reserve.id]
        values += (value * (index.income_ray / RAY), value * (index.debt_ray / RAY))
    if _has_more(market):
        values.append(float("nan"))
    return values


def follows(market: Market) -> list[bytes | None]:
    """The asset behind each slot."""
    assets: list[bytes | None] = [reserve.asset for reserve in market.reserves for _ in ("collateral", "debt")]
    return [*assets, None] if _has_more(market) else assets


def _has_more(market: Market) -> bool:
    """Whether there is the one more slot, for what is not linear in shared factors."""
    return any(r.s_token or r.opaque for r in market.reserves) or any(e.price_source for e in market.emodes)


def slack(market: Market) -> Slack:
    """Bounds the pool's truncations of values: one base unit per asset and side, for thresholds of health below 16.

    Before v3.5 the average threshold is truncated to whole basis points as well: at most one part in the smallest.
    The scaled unit by which `linear` errs on the safe side, and the rounding of a balance, make two units of grain.
    """
    thresholds = [r.liquidation_threshold_bps for r in market.reserves] + [
        e.liquidation_threshold_bps for e in market.emodes
    ]
    least = min((threshold for threshold in thresholds if threshold), default=1)
    relative = 1e-9 if market.rules.health_from_sums else 1e-9 + 1 / least
    grains = tuple(2 / reserve.unit for reserve in market.reserves for _ in ("collateral", "debt"))
    return Slack(relative=relative, absolute=32.0 * (len(market.reserves) + 1), grains=grains)


def same_weights(before: Market, after: Market) -> bool:
    return before is after or _weights(before) == _weights(after)


def _weights(market: Market) -> object:
    reserves = tuple((r.id, r.asset, r.decimals, r.liquidation_threshold_bps, r.opaque) for r in market.reserves)
    return market.rules, reserves, market.emodes

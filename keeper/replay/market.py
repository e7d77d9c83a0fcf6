"""The lending protocol of a replay, behind what every adapter offers to a judge.

Health is Σ collateral value × liquidation threshold over Σ debt value; below 1 it is liquidatable. Values of collateral
are rounded down and of debt up. A debt grows by its constant yearly rate, compounded every second of a year of 365 days
(as on Aave and Compound), from the time on that its balance is given for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.core.types import Assessment, Health, Holding, Linear, Price, Prices, Slack, Token
from keeper.core.units import BPS, RAY, WAD, mul_div_up
from keeper.replay.history import DECIMALS
from keeper.replay.positions import Balances, Track

Floats = NDArray[np.float64]

UNIT = 10**DECIMALS
YEAR_S = 31_536_000
_CONTEXT = Context(prec=50)
_NOISE = 1e-9
_LARGEST_EXPONENT = 80  # of growth: what has grown by 10^34 is a mistake, and not an overflow


@dataclass(frozen=True)
class Market:
    """assets: with prices. loans: debts that grow alike: asset and yearly rate. since: when indices are 1."""

    assets: tuple[bytes, ...]
    loans: tuple[tuple[bytes, str], ...]
    since: int

    @classmethod
    def of(cls, assets: Sequence[str], tracks: Sequence[Track]) -> Market:
        loans = {loan_of(one, debt.asset) for track in tracks for one in track.balances for debt in one.debts}
        since = min(track.since for track in tracks)
        return cls(tuple(asset.encode() for asset in assets), tuple(sorted(loans)), since)

    def growths(self, times: NDArray[np.int64]) -> Floats:
        """What one unit of debt has become by loan (times × loans), in floats."""
        years = (times - self.since)[:, None] / YEAR_S
        rates = np.array([[float(rate) for _, rate in self.loans]])
        return np.asarray(np.exp(np.minimum(years * rates, _LARGEST_EXPONENT)), np.float64)


def loan_of(balances: Balances, asset: bytes) -> tuple[bytes, str]:
    return asset, balances.rates.get(asset, "0")


class WholeUnits:
    """The adapter. A position's state is its `Balances`, its key the name by which the file calls it."""

    kind = "replay"
    name = "replay"
    start_block = 0

    def __init__(self, accounts: Mapping[bytes, bytes]) -> None:
        """accounts: by position key."""
        self._accounts = accounts

    def account(self, key: bytes) -> bytes:
        return self._accounts[key]

    def position_id(self, key: bytes) -> str:
        return key.decode()

    def token(self, market: Market, asset: bytes) -> Token | None:
        return Token(asset.decode(), DECIMALS)

    def currency(self, market: Market) -> str:
        return ""

    def base_decimals(self, market: Market) -> int:
        return DECIMALS

    # --- judging

    def health(self, market: Market, prices: Prices, position: Balances, now: int) -> Health:
        held = {one.asset for one in (*position.collaterals, *position.debts) if one.amount}
        unpriced = tuple(sorted(asset for asset in held if asset not in prices))
        if unpriced:
            return Health(None, False, 0, 0, unpriced_assets=unpriced)
        collateral = weighted = 0
        for one in position.collaterals:
            if one.amount:
                value = one.amount * prices[one.asset].value // UNIT
                collateral += value
                weighted += value * one.threshold_bps
        debt = sum(_owed(position, one.asset, one.amount, prices, now) for one in position.debts if one.amount)
        if debt == 0:
            return Health(None, False, collateral, 0)
        factor = weighted * WAD // (debt * BPS)
        return Health(factor, factor < WAD, collateral, debt)

    def assess(self, market: Market, prices: Prices, position: Balances, now: int) -> Assessment:
        health = self.health(market, prices, position, now)
        collaterals = tuple(
            Holding(
                one.asset,
                one.asset.decode(),
                DECIMALS,
                one.amount,
                _value(prices, one.asset, one.amount),
                liquidation_threshold_bps=one.threshold_bps,
            )
            for one in position.collaterals
        )
        debts = tuple(
            Holding(one.asset, one.asset.decode(), DECIMALS, owed, _value(prices, one.asset, owed))
            for one in position.debts
            for owed in (mul_div_up(one.amount, _growth_ray(position, one.asset, now), RAY),)
        )
        return Assessment(health, collaterals, debts, {})

    # --- the screen: slots are the assets as collateral, then the loans

    def linear(self, market: Market, position: Balances) -> Linear:
        grown = market.growths(np.array([position.since]))[0]
        collateral = tuple(
            (market.assets.index(one.asset), one.amount / UNIT * one.threshold_bps / BPS)
            for one in position.collaterals
            if one.amount
        )
        loans = ((market.loans.index(loan_of(position, one.asset)), one.amount) for one in position.debts if one.amount)
        owed = tuple((len(market.assets) + loan, amount / UNIT / grown[loan]) for loan, amount in loans)
        return Linear(collateral, owed)

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        values = {asset: _float(prices.get(asset)) for asset in market.assets}
        grown = market.growths(np.array([now]))[0]
        owed = [values[asset] * growth for (asset, _), growth in zip(market.loans, grown, strict=True)]
        return [*values.values(), *owed]

    def follows(self, market: Market) -> Sequence[bytes | None]:
        return [*market.assets, *(asset for asset, _ in market.loans)]

    def slack(self, market: Market) -> Slack:
        return Slack(relative=_NOISE, absolute=64 / UNIT, grains=(0.0,) * (len(market.assets) + len(market.loans)))

    def same_weights(self, before: Market, after: Market) -> bool:
        return before is after

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a replay asks no chain, so its market has no {name!r}")


def _owed(position: Balances, asset: bytes, amount: int, prices: Prices, now: int) -> int:
    owed = mul_div_up(amount, _growth_ray(position, asset, now), RAY)
    return mul_div_up(owed, prices[asset].value, UNIT)


def _growth_ray(position: Balances, asset: bytes, now: int) -> int:
    rate = position.rates.get(asset)
    if rate is None or now <= position.since:
        return RAY
    exponent = min(Decimal(rate) * (now - position.since) / YEAR_S, Decimal(_LARGEST_EXPONENT))
    return int(_CONTEXT.scaleb(exponent.exp(_CONTEXT), 27))


def _value(prices: Prices, asset: bytes, amount: int) -> int | None:
    price = prices.get(asset)
    return None if price is None else amount * price.value // UNIT


def _float(price: Price | None) -> float:
    return float("nan") if price is None else price.value / UNIT

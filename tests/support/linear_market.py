"""A small lending protocol with every truncation a real one has: enough of `ProtocolAdapter` to be judged.

Position: raw collateral and scaled debt by asset number. A debt grows with its index, linearly in time; values of
collateral are rounded down and of debt up; the threshold is averaged over the collateral and truncated to whole bps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.types import (
    Assessment,
    BreachPrice,
    Demand,
    Health,
    Holding,
    Linear,
    Price,
    Prices,
    Slack,
    Token,
)
from keeper.core.units import RAY, WAD, mul_div_up

ASSETS = 4


def asset(number: int) -> bytes:
    return bytes([0xA0 + number]) * 20


@dataclass(frozen=True)
class Market:
    thresholds_bps: tuple[int, ...] = (8000, 7500, 9000, 6500)
    rates_ray: tuple[int, ...] = (10**18, 3 * 10**18, 10**16, 10**19)  # per second
    since: int = 0


@dataclass(frozen=True)
class Holdings:
    collateral: Mapping[int, int] = field(default_factory=dict)
    debt: Mapping[int, int] = field(default_factory=dict)


class LinearMarket:
    kind = "linear"
    start_block = 0

    def __init__(self, name: str = "lab") -> None:
        self.name = name

    def account(self, key: bytes) -> bytes:
        return key

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:0x{key.hex()}"

    def base_decimals(self, market: Market) -> int:
        return 0

    def currency(self, market: Market) -> str:
        return "USD"

    def token(self, market: Market, asset: bytes) -> Token | None:
        return next((Token(f"T{number}", 18) for number in range(ASSETS) if asset == bytes([0xA0 + number]) * 20), None)

    def health(self, market: Market, prices: Prices, position: Holdings, now: int) -> Health:
        unpriced = tuple(
            asset(number) for number in sorted({*position.collateral, *position.debt}) if asset(number) not in prices
        )
        if unpriced:
            return Health(None, False, 0, 0, unpriced_assets=unpriced)
        collateral = weighted = debt = 0
        for number, amount in position.collateral.items():
            value = amount * prices[asset(number)].value // WAD
            collateral += value
            weighted += value * market.thresholds_bps[number]
        for number, scaled in position.debt.items():
            owed = mul_div_up(scaled, _index(market, number, now), RAY)
            debt += mul_div_up(owed, prices[asset(number)].value, WAD)
        if debt == 0:
            return Health(None, False, collateral, 0)
        average_bps = weighted // collateral if collateral else 0
        factor = (collateral * average_bps // 10_000) * WAD // debt
        return Health(factor, factor < WAD, collateral, debt)

    def assess(self, market: Market, prices: Prices, position: Holdings, now: int) -> Assessment:
        def holdings(amounts: Mapping[int, int]) -> tuple[Holding, ...]:
            return tuple(Holding(asset(number), f"T{number}", 18, amount, None) for number, amount in amounts.items())

        health = self.health(market, prices, position, now)
        return Assessment(health, holdings(position.collateral), holdings(position.debt), {})

    def demands(
        self, market: Market, prices: Prices, position: Holdings, now: int, target_wad: int
    ) -> tuple[Demand, ...]:
        return (Demand("repay", asset(0), "T0", 18, 10**18, target_wad),)

    def breach_prices(self, market: Market, prices: Prices, position: Holdings, now: int) -> tuple[BreachPrice, ...]:
        return (BreachPrice(asset(0), "T0", 95 * 10**17, 18, -500),)

    # --- the screen: slots are the assets as collateral, then as debt
    def linear(self, market: Market, position: Holdings) -> Linear:
        return Linear(
            tuple((n, amount * market.thresholds_bps[n] / 10_000) for n, amount in position.collateral.items()),
            tuple((ASSETS + n, float(scaled)) for n, scaled in position.debt.items()),
        )

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        values = [prices[asset(n)].value / WAD if asset(n) in prices else float("nan") for n in range(ASSETS)]
        return values + [value * (_index(market, n, now) / RAY) for n, value in enumerate(values)]

    def follows(self, market: Market) -> Sequence[bytes | None]:
        return [asset(n) for n in range(ASSETS)] * 2

    def slack(self, market: Market) -> Slack:
        return Slack(1 / min(market.thresholds_bps) + 1e-9, 16.0, grains=(0.0,) * (2 * ASSETS))

    def same_weights(self, before: Market, after: Market) -> bool:
        return before.thresholds_bps == after.thresholds_bps


def _index(market: Market, number: int, now: int) -> int:
    return RAY + market.rates_ray[number] * (now - market.since)


def prices_of(*values: int | None) -> dict[bytes, Price]:
    """Prices of assets 0, 1, … in base units per 1e18 raw units; None: no usable price."""
    return {asset(number): Price(value, 18) for number, value in enumerate(values) if value is not None}

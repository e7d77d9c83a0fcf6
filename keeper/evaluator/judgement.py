"""What was found about one position at one block."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.types import Assessment, Band, BreachPrice, Demand, Health, Liquidated, Price, Token
from keeper.core.units import mul_div_down


@dataclass(frozen=True, slots=True)
class Judgement:
    """One position, judged in exact integers at a block.

    position: "<protocol name>:<account>[:<market>]".
    health: at the block's own timestamp; None when the position no longer exists.
    then: at the timestamp of the block we can land in, where that was asked for and could matter; else None.
    band: of `health` by itself, without an episode's memory; None when unknown (an asset has no usable price).
    liquidated: a liquidation of this position was seen in this block; liquidations: those, in their order.
    """

    key: bytes
    position: str
    account: bytes
    health: Health | None
    then: Health | None
    band: Band | None
    liquidated: bool
    liquidations: tuple[Liquidated, ...] = ()

    @property
    def unknown(self) -> bool:
        """Nobody can tell its health: it keeps its band, and nothing is acted on or told."""
        return self.band is None

    @property
    def breached(self) -> bool:
        """Open to liquidation now, or in the block we can land in."""
        return any(health is not None and open_to_liquidation(health) for health in (self.health, self.then))


@dataclass(frozen=True, slots=True)
class Dossier:
    """What an owner is told besides the health, and what it rests on.

    prices, tokens: of every asset it is about. assessment: of the whole position; None for one that is gone.
    currency, currency_decimals: of every value in it. sigmas: how far each breach price is away, in standard deviations
    of one day, where the volatility is known; health_sigmas: how far health is above 1, in its own.
    """

    demands: tuple[Demand, ...] = ()
    breach_prices: tuple[BreachPrice, ...] = ()
    prices: tuple[tuple[bytes, Price], ...] = ()
    tokens: tuple[tuple[bytes, Token], ...] = ()
    assessment: Assessment | None = None
    currency: str = ""
    currency_decimals: int = 0
    sigmas: tuple[tuple[bytes, float], ...] = ()
    health_sigmas: float | None = None

    @property
    def market_name(self) -> str:
        return "" if self.assessment is None else self.assessment.market_name

    def value(self, asset: bytes, assets: int) -> int | None:
        """What raw token units are worth in base currency units, rounded down; None without a price.

        At the rate at which the position itself is valued, where it holds or owes the asset.
        """
        if self.assessment is not None:
            for holding in (*self.assessment.collaterals, *self.assessment.debts):
                if holding.asset == asset and holding.value and holding.amount:
                    return mul_div_down(assets, holding.value, holding.amount)
        price, token = dict(self.prices).get(asset), dict(self.tokens).get(asset)
        if price is None or token is None:
            return None
        unit, scale = int(10 ** (price.decimals + token.decimals)), int(10**self.currency_decimals)
        return mul_div_down(assets * price.value, scale, unit)


def open_to_liquidation(health: Health) -> bool:
    return health.liquidatable and not health.unpriced_assets

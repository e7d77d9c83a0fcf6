"""What was found about one position at one block."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.types import Band, BreachPrice, Demand, Health, Price


@dataclass(frozen=True, slots=True)
class Judgement:
    """One position, judged in exact integers at a block.

    position: "<protocol name>:<account>[:<market>]".
    health: at the block's own timestamp; None when the position no longer exists.
    then: at the timestamp of the block we can land in, where that was asked for and could matter; else None.
    band: of `health` by itself, without an episode's memory; None when unknown (an asset has no usable price).
    liquidated: a liquidation of this position was seen in this block.
    """

    key: bytes
    position: str
    account: bytes
    health: Health | None
    then: Health | None
    band: Band | None
    liquidated: bool

    @property
    def unknown(self) -> bool:
        """Nobody can tell its health: it keeps its band, and nothing is acted on or told."""
        return self.band is None

    @property
    def breached(self) -> bool:
        """Open to liquidation now, or in the block we can land in."""
        return any(health is not None and _open_to_liquidation(health) for health in (self.health, self.then))


@dataclass(frozen=True, slots=True)
class Dossier:
    """What an owner is told besides the health, and the prices it rests on.

    symbols: by asset, as the token calls itself: whoever deployed it chose it.
    """

    demands: tuple[Demand, ...] = ()
    breach_prices: tuple[BreachPrice, ...] = ()
    prices: tuple[tuple[bytes, Price], ...] = ()
    symbols: tuple[tuple[bytes, str], ...] = ()
    market_name: str = ""


def _open_to_liquidation(health: Health) -> bool:
    return health.liquidatable and not health.unpriced_assets

"""Prices as they would be after a fall: what is volatile moves, what is pegged to the base currency stays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from keeper.core.types import Prices
from keeper.core.units import BPS

_PEG_BPS = 300


def moved(prices: Prices, assets: Collection[bytes], move_bps: int) -> Prices:
    """assets: those among the prices that can move; one within three percent of one unit is taken for pegged to it."""
    return {
        asset: replace(price, value=max(price.value * (BPS + move_bps) // BPS, 1))
        if asset in assets and not _pegged(price.value, price.decimals)
        else price
        for asset, price in prices.items()
    }


def _pegged(value: int, decimals: int) -> bool:
    unit: int = 10**decimals
    return abs(value - unit) * BPS <= unit * _PEG_BPS

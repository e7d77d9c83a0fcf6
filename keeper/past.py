"""What a position's health was a while ago, from the versions that the store keeps back to finality."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from keeper.core.chain import Window
from keeper.core.encoding import load_prices
from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.records import MARKET_KEY
from keeper.core.types import Block, Prices
from keeper.evaluator.situation import Earlier

HORIZON_S = 3_600
"""Where finality is further back than this, a trend is told of the last hour."""


class Past:
    """One protocol at the oldest kept block within the last hour; nothing where that is the tip itself."""

    def __init__(self, store: Store, adapter: ProtocolAdapter[Any, Any], window: Window) -> None:
        """Costs nothing until it is asked."""
        self._store = store
        self._adapter = adapter
        self._window = window

    def __call__(self, key: bytes) -> Earlier | None:
        """None where nothing is known of it: it did not exist, or had no usable price."""
        block, payload = self._block, self._fact("position", key)
        if block is None or payload is None or self._market is None:
            return None
        position = self._adapter.load_position(payload)
        health = self._adapter.health(self._market, self._prices, position, block.timestamp)
        return None if health.unpriced_assets else Earlier(health.factor_wad, block.timestamp)

    @cached_property
    def _block(self) -> Block | None:
        now = self._window.tip.timestamp
        recent = (block for block in self._window.blocks if block.timestamp >= now - HORIZON_S)
        return next((block for block in recent if block.timestamp < now), None)

    @cached_property
    def _market(self) -> Any | None:
        payload = self._fact("market", MARKET_KEY)
        return None if payload is None else self._adapter.load_market(payload)

    @cached_property
    def _prices(self) -> Prices:
        payload = self._fact("prices", MARKET_KEY)
        return {} if payload is None else load_prices(payload)

    def _fact(self, kind: str, key: bytes) -> bytes | None:
        if self._block is None:
            return None
        return self._store.fact(self._adapter.name, kind, key, at=self._block.number)

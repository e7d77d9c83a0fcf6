"""Stored form of the values every protocol shares."""

from __future__ import annotations

import json

from keeper.core.types import Price, Prices


def dump_prices(prices: Prices) -> bytes:
    """Canonical JSON: equal prices give equal bytes, so an unchanged block writes no new version."""
    rows = {asset.hex(): [str(price.value), price.decimals, price.updated_at] for asset, price in prices.items()}
    return json.dumps(rows, sort_keys=True, separators=(",", ":")).encode()


def load_prices(payload: bytes) -> Prices:
    rows = json.loads(payload)
    return {bytes.fromhex(asset): Price(int(value), decimals, at) for asset, (value, decimals, at) in rows.items()}

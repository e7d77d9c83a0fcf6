"""A pool with accounts as they are found: mostly one collateral and one debt, amounts over many magnitudes, healths
from just above 1 upward. Everything is the adapter's own state, in its own integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from keeper.core.types import Book, Price, Prices
from keeper.core.units import BPS, RAY
from keeper.protocols.aave_v3 import AaveV3, build
from keeper.protocols.aave_v3.rules import Features, detect
from keeper.protocols.aave_v3.state import Account, CloseFactor, Market, Reserve

NOW = 1_800_000_000
_DECIMALS = (18, 6, 8, 18)
_COLLATERALS, _DEBTS = 0.9, 0.3  # mean number of assets beyond the first
_CHUNK = 20_000


def adapter(market: Market) -> AaveV3:
    return build({"name": "aave", "start_block": 0, "pool_addresses_provider": market.provider})


def market(reserves: int, *, seed: int = 7) -> tuple[Market, Prices]:
    """A pool of v3.6 with interest accrued at NOW, and a price in dollars for each of its assets."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(reserves):
        fields = dict.fromkeys(Reserve.__dataclass_fields__, 0) | {
            "id": number,
            "asset": rng.bytes(20),
            "symbol": f"T{number}",
            "decimals": _DECIMALS[number % len(_DECIMALS)],
            "a_token": rng.bytes(20),
            "v_token": rng.bytes(20),
            "s_token": b"",
            "clock": b"",
            "opaque": False,
            "liquidation_threshold_bps": int(rng.integers(6_500, 9_000)),
            "liquidation_bonus_bps": 10_500,
            "active": True,
            "frozen": False,
            "paused": False,
            "liquidity_index_ray": int(RAY * rng.uniform(1.0, 1.2)),
            "liquidity_rate_ray": int(RAY * 0.02),
            "debt_index_ray": int(RAY * rng.uniform(1.0, 1.3)),
            "debt_rate_ray": int(RAY * 0.04),
            "updated_at": NOW,
            "liquidity_assets": 1 << 100,
        }
        rows.append(Reserve(**fields))
    address = rng.bytes
    made = Market(
        provider=address(20),
        pool=address(20),
        configurator=address(20),
        oracle=address(20),
        sentinel=b"",
        sentinel_open=True,
        base_decimals=8,
        flash_premium_bps=5,
        rules=detect(Features(True, True, True, False), []),
        close_factor=CloseFactor(),
        reserves=tuple(rows),
        emodes=(),
    )
    prices = {reserve.asset: Price(int(rng.lognormal(3, 3) * 10**8) + 10**6, 8) for reserve in rows}
    return made, prices


def accounts(
    pool: Market, prices: Prices, count: int, *, seed: int = 11, spare: float = 0.0002
) -> Iterator[tuple[bytes, Account]]:
    """About 1.9 collaterals and 1.3 debts each. spare: how far above 1 the least health is."""
    rng = np.random.default_rng(seed)
    ids = len(pool.reserves)
    value = np.array([prices[r.asset].value / 1e8 / r.unit for r in pool.reserves])  # dollars of one raw unit
    held_unit = value * [r.liquidity_index_ray / RAY for r in pool.reserves]
    owed_unit = value * [r.debt_index_ray / RAY for r in pool.reserves]
    counted = held_unit * [r.liquidation_threshold_bps / BPS for r in pool.reserves]
    for first in range(0, count, _CHUNK):
        size = min(_CHUNK, count - first)
        held = np.minimum(1 + np.minimum(rng.poisson(_COLLATERALS, size), 7), ids).tolist()
        owed = np.minimum(1 + np.minimum(rng.poisson(_DEBTS, size), 4), ids).tolist()
        start, step = rng.integers(0, ids, (2, size)).tolist()
        debts = rng.lognormal(8, 2, (size, 5))
        shares = rng.exponential(1.0, (size, 8))
        health = (1 + spare + rng.exponential(0.9, size)).tolist()
        keys = rng.bytes(20 * size)
        for place in range(size):
            # neighbours on a circle of reserves: distinct without drawing anew
            supplied = sorted((start[place] + n) % ids for n in range(held[place]))
            borrowed = sorted((start[place] + step[place] + n) % ids for n in range(owed[place]))
            dollars = debts[place, : owed[place]]
            wanted = shares[place, : held[place]]
            wanted = wanted / wanted.sum() * float(dollars.sum()) * health[place]
            yield (
                keys[20 * place : 20 * place + 20],
                Account(
                    sum(2 << 2 * i for i in supplied) | sum(1 << 2 * i for i in borrowed),
                    0,
                    tuple((i, int(w / counted[i]) + 1) for i, w in zip(supplied, wanted.tolist(), strict=True)),
                    tuple((i, int(d / owed_unit[i]) + 1) for i, d in zip(borrowed, dollars.tolist(), strict=True)),
                ),
            )


def book(reserves: int, count: int) -> Book[Market, Account]:
    pool, prices = market(reserves)
    return Book(pool, prices, dict(accounts(pool, prices, count)))


def moved(prices: Prices, within: float, *, seed: int = 13) -> Prices:
    """Every price by up to this share, up or down."""
    rng = np.random.default_rng(seed)
    return {
        asset: replace(price, value=int(price.value * (1 + rng.uniform(-within, within))))
        for asset, price in sorted(prices.items())
    }

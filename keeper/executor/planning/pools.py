"""Which Uniswap v3 pools exist. Pools are for ever; what does not exist is asked again after an hour.

Source: @uniswap/v3-core 1.0.1, UniswapV3Factory.getPool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeper.core.ports import Reads
from keeper.executor.planning.words import address, call

_GET_POOL = bytes.fromhex("1698ee82")
_ASK_AGAIN_S = 3600

PoolKey = tuple[bytes, bytes, int]
"""Two tokens, the smaller address first, and the fee in hundredths of a basis point."""


def pool_key(a: bytes, b: bytes, fee: int) -> PoolKey:
    return (a, b, fee) if a < b else (b, a, fee)


class Pools:
    """What a factory has made, as far as it was asked for."""

    def __init__(self, factory: bytes) -> None:
        self._factory = factory
        self._known: dict[PoolKey, bytes] = {}
        self._missing: dict[PoolKey, int] = {}

    def find(self, keys: Iterable[PoolKey], now: int) -> Reads[Mapping[PoolKey, bytes]]:
        """Those that exist, by key. now: unix seconds."""
        wanted = list(dict.fromkeys(keys))
        unknown = [key for key in wanted if key not in self._known and self._is_due(key, now)]
        if unknown:
            results = yield [call(self._factory, _GET_POOL, *key) for key in unknown]
            for key, result in zip(unknown, results, strict=True):
                pool = address(result)
                if pool is None:
                    self._missing[key] = now
                else:
                    self._known[key] = pool
        return {key: self._known[key] for key in wanted if key in self._known}

    def _is_due(self, key: PoolKey, now: int) -> bool:
        asked_at = self._missing.get(key)
        return asked_at is None or now - asked_at >= _ASK_AGAIN_S

"""Uniswap v3: direct pools and paths over one intermediate token, quoted exactly by QuoterV2 at the block.

Source: @uniswap/v3-periphery 1.4.4 (QuoterV2, SwapRouter), @uniswap/swap-router-contracts 1.3.0 (SwapRouter02).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from keeper.core.errors import ConfigError
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult
from keeper.executor.planning.pools import Pools, pool_key
from keeper.executor.planning.ports import Pair, Permission, Route, Sale
from keeper.executor.planning.words import number, padded, words

_QUOTE = bytes.fromhex("cdca1753")  # quoteExactInput(bytes,uint256)
_SWAP = bytes.fromhex("c04b8d59")  # exactInput((bytes,address,uint256,uint256,uint256)), with a deadline
_SWAP_02 = bytes.fromhex("b858183f")  # exactInput((bytes,address,uint256,uint256))
_PRICE = bytes.fromhex("2f80bb1d")  # quoteExactOutput(bytes,uint256)
_BUY = bytes.fromhex("f28c0498")  # exactOutput((bytes,address,uint256,uint256,uint256)), with a deadline
_BUY_02 = bytes.fromhex("09b81346")  # exactOutput((bytes,address,uint256,uint256))
_GAS = 60_000
_GAS_PER_HOP = 90_000


@dataclass(frozen=True)
class Options:
    """The keys of a `[[venues]]` table of kind "uniswap_v3"."""

    factory: bytes = field(metadata={"doc": "UniswapV3Factory, which knows the pools."})
    quoter: bytes = field(metadata={"doc": "QuoterV2."})
    router: bytes = field(metadata={"doc": "SwapRouter, or SwapRouter02; our contract must allow it."})
    router02: bool = field(default=False, metadata={"doc": "Whether the router is SwapRouter02 (without a deadline)."})
    fees: tuple[int, ...] = field(
        default=(100, 500, 3000, 10000),
        metadata={"doc": "Fee tiers to look for, in hundredths of a basis point."},
    )
    intermediates: tuple[bytes, ...] = field(
        default=(), metadata={"doc": "Tokens over which paths of two pools may lead."}
    )


@dataclass(frozen=True, slots=True)
class Path:
    """tokens: from the sold to the bought one; fees: between them."""

    venue: str
    options: Options
    tokens: tuple[bytes, ...]
    fees: tuple[int, ...]
    pools: frozenset[bytes]

    @property
    def name(self) -> str:
        via = "".join(f" 0x{token.hex()} {fee}" for token, fee in zip(self.tokens[1:-1], self.fees[1:], strict=True))
        return f"{self.venue} {self.fees[0]}{via}"

    @property
    def gas(self) -> int:
        return _GAS + _GAS_PER_HOP * len(self.fees)

    @property
    def encoded(self) -> bytes:
        """Token, fee (3 bytes), token, …"""
        return _encoded(self.tokens, self.fees)

    @property
    def backwards(self) -> bytes:
        """From the bought to the sold token, as exact purchases are asked for."""
        return _encoded(self.tokens[::-1], self.fees[::-1])

    def quote(self, sold_assets: int) -> Call:
        return Call(self.options.quoter, _QUOTE + words(64, sold_assets) + padded(self.encoded))

    def price(self, bought_assets: int) -> Call:
        return Call(self.options.quoter, _PRICE + words(64, bought_assets) + padded(self.backwards))

    def bought(self, result: CallResult) -> int | None:
        return number(result) or None

    sold = bought

    def sale(self, sold_assets: int, least_bought_assets: int, receiver: bytes, deadline: int) -> Sale:
        path, limits = padded(self.encoded), (sold_assets, least_bought_assets)
        if self.options.router02:
            data, before = _SWAP_02 + words(32, 128, receiver, *limits) + path, 3
        else:
            data, before = _SWAP + words(32, 160, receiver, deadline, *limits) + path, 4
        return Sale(self.options.router, data, len(_SWAP) + 32 * before)

    def purchase(self, bought_assets: int, most_sold_assets: int, receiver: bytes, deadline: int) -> Sale:
        path, limits = padded(self.backwards), (bought_assets, most_sold_assets)
        if self.options.router02:
            return Sale(self.options.router, _BUY_02 + words(32, 128, receiver, *limits) + path, None)
        return Sale(self.options.router, _BUY + words(32, 160, receiver, deadline, *limits) + path, None)


def _encoded(tokens: Sequence[bytes], fees: Sequence[int]) -> bytes:
    hops = (fee.to_bytes(3, "big") + token for fee, token in zip(fees, tokens[1:], strict=True))
    return tokens[0] + b"".join(hops)


class UniswapV3:
    kind = "uniswap_v3"

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._options = options
        self._pools = Pools(options.factory)

    def addresses(self) -> Mapping[str, bytes]:
        return {"factory": self._options.factory, "quoter": self._options.quoter, "router": self._options.router}

    def permissions(self, *, buys: bool) -> Sequence[Permission]:
        sell, buy = (_SWAP_02, _BUY_02) if self._options.router02 else (_SWAP, _BUY)
        return [Permission(self._options.router, selector) for selector in ((sell, buy) if buys else (sell,))]

    def routes(self, pairs: Collection[Pair], now: int) -> Reads[Mapping[Pair, Sequence[Route]]]:
        hops = {(a, b) for pair in pairs for tokens in self._ways(pair) for a, b in pairwise(tokens)}
        keys = [pool_key(a, b, fee) for a, b in sorted(hops) for fee in self._options.fees]
        found = yield from self._pools.find(keys, now)
        return {pair: list(self._paths(pair, found)) for pair in pairs}

    def _ways(self, pair: Pair) -> Iterator[tuple[bytes, ...]]:
        sold, bought = pair
        if sold != bought:
            yield pair
            yield from ((sold, via, bought) for via in self._options.intermediates if via not in pair)

    def _paths(self, pair: Pair, found: Mapping[Any, bytes]) -> Iterator[Path]:
        for tokens in self._ways(pair):
            combinations: list[tuple[tuple[int, ...], tuple[bytes, ...]]] = [((), ())]
            for a, b in pairwise(tokens):
                combinations = [
                    ((*fees, fee), (*pools, found[pool_key(a, b, fee)]))
                    for fees, pools in combinations
                    for fee in self._options.fees
                    if pool_key(a, b, fee) in found
                ]
            yield from (Path(self.name, self._options, tokens, fees, frozenset(pools)) for fees, pools in combinations)


def build(config: Mapping[str, Any]) -> UniswapV3:
    """Raises ConfigError for a fee that no pool can have."""
    options = Options(**{key: config[key] for key in Options.__dataclass_fields__ if key in config})
    for fee in options.fees:
        if not 0 < fee < 1_000_000:
            raise ConfigError(
                f"venue {config['name']}: fee {fee} is out of range; fees are in hundredths of a basis point"
            )
    return UniswapV3(config["name"], options)

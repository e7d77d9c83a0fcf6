"""A flash loan of a Uniswap v3 pool: one of its two tokens, for the pool's own fee.

A pool is locked while it lends, so what it lent is never swapped through itself; the search sees to that.
Source: @uniswap/v3-core 1.0.1, UniswapV3Pool.flash; the fee rounds up (FullMath.mulDivRoundingUp).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keeper.core.ports import Reads
from keeper.core.units import mul_div_up
from keeper.executor.liquidator_calls import UNISWAP_LOAN, Step, uniswap_loan
from keeper.executor.planning.pools import PoolKey, Pools, pool_key
from keeper.executor.planning.ports import Loan, Permission
from keeper.executor.planning.words import balance_of, number

_MILLION = 1_000_000
_GAS = 70_000


@dataclass(frozen=True)
class Options:
    """The keys of a `[[funding]]` table of kind "uniswap_v3"."""

    factory: bytes = field(metadata={"doc": "UniswapV3Factory, which knows the pools."})
    partners: tuple[bytes, ...] = field(
        metadata={
            "doc": "Tokens with which the borrowed one may be paired. Only pools that our contract may call lend."
        }
    )
    fees: tuple[int, ...] = field(
        default=(100, 500, 3000), metadata={"doc": "Fee tiers to look for, in hundredths of a basis point."}
    )


class UniswapLoans:
    def __init__(self, name: str, options: Options, contract: bytes) -> None:
        self.name = name
        self._options = options
        self._contract = contract
        self._pools = Pools(options.factory)

    def addresses(self) -> Mapping[str, bytes]:
        return {"factory": self._options.factory}

    def permissions(self) -> Sequence[Permission]:
        return []

    def lenders(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Permission]]:
        keys = dict.fromkeys(key for *_, key in self._keys(tokens))
        found = yield from self._pools.find(keys, now)
        return [Permission(found[key], UNISWAP_LOAN) for key in keys if key in found]

    def _keys(self, tokens: Collection[bytes]) -> list[tuple[bytes, bytes, PoolKey]]:
        """Token, partner, and the pool that they could be in."""
        return [
            (token, partner, pool_key(token, partner, fee))
            for token in sorted(tokens)
            for partner in self._options.partners
            if partner != token
            for fee in self._options.fees
        ]

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        keys = self._keys(tokens)
        found = yield from self._pools.find([key for *_, key in keys], now)
        lenders = [(token, other, found[key], key[2]) for token, other, key in keys if key in found]
        if not lenders:
            return []
        calls = [Permission(pool, UNISWAP_LOAN).asked_of(self._contract) for *_, pool, _ in lenders]
        results = yield [*(balance_of(token, pool) for token, _, pool, _ in lenders), *calls]
        held, allowed = results[: len(lenders)], results[len(lenders) :]
        return [
            Loan(self.name, pool, token, assets, partial(_fee, fee), _GAS, partial(self._take, pool, token, other))
            for (token, other, pool, fee), balance, permitted in zip(lenders, held, allowed, strict=True)
            if number(permitted) and (assets := number(balance))
        ]

    def _take(self, pool: bytes, token: bytes, other: bytes, amount: int, steps: Sequence[Step]) -> Sequence[Step]:
        return [uniswap_loan(self._contract, pool, token, amount, other, steps)]


def _fee(fee: int, assets: int) -> int:
    return mul_div_up(assets, fee, _MILLION)


def build(config: Mapping[str, Any], contract: bytes) -> UniswapLoans:
    options = Options(**{key: config[key] for key in Options.__dataclass_fields__ if key in config})
    return UniswapLoans(config["name"], options, contract)

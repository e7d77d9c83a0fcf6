"""Aave v3's simple flash loan: what a reserve holds, for the pool's premium.

The premium rounds up since v3.5 and to the nearest before; it is planned rounded up, and the simulation tells exactly.
Source: FlashLoanLogic and ValidationLogic of @aave-dao/aave-v3-origin 3.6.0 and @aave/core-v3 1.19.3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keeper.core.ports import Reads
from keeper.core.types import CallResult
from keeper.core.units import BPS, mul_div_up
from keeper.executor.liquidator_calls import AAVE_LOAN, Step, aave_loan
from keeper.executor.planning.ports import Loan, Permission
from keeper.executor.planning.words import address, balance_of, call, number

_PREMIUM = bytes.fromhex("074b2e43")  # FLASHLOAN_PREMIUM_TOTAL(), in basis points
_CONFIGURATION = bytes.fromhex("c44b11f7")  # getConfiguration(address): a bitmap
_RESERVE_DATA = bytes.fromhex("35ea6a75")  # getReserveData(address)
_A_TOKEN_WORD = 8
_ACTIVE, _PAUSED, _FLASH_LOANS = 1 << 56, 1 << 60, 1 << 63
_GAS = 110_000


@dataclass(frozen=True)
class Options:
    """The keys of a `[[funding]]` table of kind "aave_v3"."""

    pool: bytes = field(metadata={"doc": "The Aave pool; our contract must be allowed to call its flash loan."})


class AaveLoans:
    def __init__(self, name: str, pool: bytes, contract: bytes) -> None:
        self.name = name
        self._pool = pool
        self._contract = contract
        self._a_tokens: dict[bytes, bytes] = {}

    def addresses(self) -> Mapping[str, bytes]:
        return {"pool": self._pool}

    def permissions(self) -> Sequence[Permission]:
        return [Permission(self._pool, AAVE_LOAN)]

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        unknown = [token for token in sorted(tokens) if token not in self._a_tokens]
        if unknown:
            results = yield [call(self._pool, _RESERVE_DATA, token) for token in unknown]
            for token, result in zip(unknown, results, strict=True):
                if (a_token := address(result, _A_TOKEN_WORD)) is not None:
                    self._a_tokens[token] = a_token
        asked = [token for token in sorted(tokens) if token in self._a_tokens]
        if not asked:
            return []
        premium, *results = yield [
            call(self._pool, _PREMIUM),
            *(call(self._pool, _CONFIGURATION, token) for token in asked),
            *(balance_of(token, self._a_tokens[token]) for token in asked),
        ]
        premium_bps = number(premium)
        if premium_bps is None:
            return []
        return [
            Loan(self.name, self._pool, token, held, partial(_fee, premium_bps), _GAS, partial(self._take, token))
            for token, flags, balance in zip(asked, results[: len(asked)], results[len(asked) :], strict=True)
            if _lends(flags) and (held := number(balance))
        ]

    def _take(self, token: bytes, amount: int, steps: Sequence[Step]) -> Sequence[Step]:
        return [aave_loan(self._contract, self._pool, token, amount, steps)]


def _lends(configuration: CallResult) -> bool:
    flags = number(configuration) or 0
    return flags & (_ACTIVE | _PAUSED | _FLASH_LOANS) == _ACTIVE | _FLASH_LOANS


def _fee(premium_bps: int, assets: int) -> int:
    return mul_div_up(assets, premium_bps, BPS)


def build(config: Mapping[str, Any], contract: bytes) -> AaveLoans:
    return AaveLoans(config["name"], config["pool"], contract)

"""Balancer v2's vault lends what it holds of a token, for the protocol's flash loan fee (zero at present).

Source: @balancer-labs/v2-vault, FlashLoans.flashLoan; the fee rounds up (FixedPoint.mulUp).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keeper.core.ports import Reads
from keeper.core.units import WAD, mul_div_up
from keeper.executor.liquidator_calls import BALANCER_LOAN, Step, balancer_loan
from keeper.executor.planning.ports import Loan, Permission
from keeper.executor.planning.words import address, balance_of, call, number

_COLLECTOR = bytes.fromhex("d2946c2b")  # getProtocolFeesCollector()
_FEE = bytes.fromhex("d877845c")  # getFlashLoanFeePercentage(), scaled by 1e18
_GAS = 60_000


@dataclass(frozen=True)
class Options:
    """The keys of a `[[funding]]` table of kind "balancer_v2"."""

    vault: bytes = field(metadata={"doc": "The Balancer vault; our contract must be allowed to call its flash loan."})


class BalancerLoans:
    def __init__(self, name: str, vault: bytes, contract: bytes) -> None:
        self.name = name
        self._vault = vault
        self._contract = contract
        self._collector: bytes | None = None

    def addresses(self) -> Mapping[str, bytes]:
        return {"vault": self._vault}

    def permissions(self) -> Sequence[Permission]:
        return [Permission(self._vault, BALANCER_LOAN)]

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        if self._collector is None:
            self._collector = address((yield [call(self._vault, _COLLECTOR)])[0])
        if self._collector is None:
            return []
        asked = sorted(tokens)
        fee, *results = yield [call(self._collector, _FEE), *(balance_of(token, self._vault) for token in asked)]
        fee_wad = number(fee)
        if fee_wad is None:
            return []
        return [
            Loan(self.name, self._vault, token, held, partial(_fee, fee_wad), _GAS, partial(self._take, token))
            for token, result in zip(asked, results, strict=True)
            if (held := number(result))
        ]

    def _take(self, token: bytes, amount: int, steps: Sequence[Step]) -> Sequence[Step]:
        return [balancer_loan(self._contract, self._vault, token, amount, steps)]


def _fee(fee_wad: int, assets: int) -> int:
    return mul_div_up(assets, fee_wad, WAD)


def build(config: Mapping[str, Any], contract: bytes) -> BalancerLoans:
    return BalancerLoans(config["name"], config["vault"], contract)

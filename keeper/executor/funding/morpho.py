"""Morpho's flash loan: everything the contract holds of a token, for nothing.

Source: @morpho-org/morpho-blue 1.0.0, Morpho.flashLoan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keeper.core.ports import Reads
from keeper.executor.liquidator_calls import MORPHO_LOAN, Step, morpho_loan
from keeper.executor.planning.ports import Loan, Permission, free
from keeper.executor.planning.words import balance_of, number

_GAS = 40_000


@dataclass(frozen=True)
class Options:
    """The keys of a `[[funding]]` table of kind "morpho"."""

    morpho: bytes = field(metadata={"doc": "The Morpho contract; our contract must be allowed to call its flash loan."})


@dataclass(frozen=True, slots=True)
class MorphoLoans:
    name: str
    morpho: bytes

    def addresses(self) -> Mapping[str, bytes]:
        return {"morpho": self.morpho}

    def permissions(self) -> Sequence[Permission]:
        return [Permission(self.morpho, MORPHO_LOAN)]

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        asked = sorted(tokens)
        results = yield [balance_of(token, self.morpho) for token in asked]
        return [
            Loan(self.name, self.morpho, token, held, free, _GAS, partial(_take, self.morpho, token))
            for token, result in zip(asked, results, strict=True)
            if (held := number(result))
        ]


def _take(morpho: bytes, token: bytes, amount: int, steps: Sequence[Step]) -> Sequence[Step]:
    return [morpho_loan(morpho, token, amount, steps)]


def build(config: Mapping[str, Any], contract: bytes) -> MorphoLoans:
    return MorphoLoans(config["name"], config["morpho"])

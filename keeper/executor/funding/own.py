"""What our contract holds itself: nothing to repay, no fee."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.ports import Reads
from keeper.executor.liquidator_calls import Step
from keeper.executor.planning.ports import Loan, Permission, free
from keeper.executor.planning.words import balance_of, number


@dataclass(frozen=True)
class Options:
    """A `[[funding]]` table of kind "own" has no keys of its own."""


@dataclass(frozen=True, slots=True)
class Own:
    name: str
    contract: bytes

    def addresses(self) -> Mapping[str, bytes]:
        return {}

    def permissions(self) -> Sequence[Permission]:
        return []

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        asked = sorted(tokens)
        results = yield [balance_of(token, self.contract) for token in asked]
        return [
            Loan(self.name, b"", token, held, free, 0, _at_once)
            for token, result in zip(asked, results, strict=True)
            if (held := number(result))
        ]


def _at_once(amount: int, steps: Sequence[Step]) -> Sequence[Step]:
    return steps


def build(config: Mapping[str, Any], contract: bytes) -> Own:
    return Own(config["name"], contract)

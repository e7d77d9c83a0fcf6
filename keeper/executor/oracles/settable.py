"""A feed that is simply set: `set(int256)` and `setAt(int256,uint256)`, as the dev chain's."""

from __future__ import annotations

from collections.abc import Sequence

from keeper.executor.oracles.arguments import arguments
from keeper.executor.oracles.ports import Written

SET = bytes.fromhex("e5c19b2d")  # set(int256)
SET_AT = bytes.fromhex("0f7cb713")  # setAt(int256,uint256)


class Settable:
    selectors = frozenset({SET, SET_AT})

    def read(self, to: bytes, data: bytes) -> Sequence[Written]:
        answer, *_ = arguments(("int256",) if data[:4] == SET else ("int256", "uint256"), data[4:])
        return [Written(to, answer)]


def build() -> Settable:
    return Settable()

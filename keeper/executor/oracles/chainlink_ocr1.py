"""Chainlink's off-chain reporting 1: `transmit(bytes report, bytes32[] rs, bytes32[] ss, bytes32 rawVs)`.

report: abi.encode(bytes32 context, bytes32 observers, int192[] observations).
Source: libocr, OffchainAggregator.sol.
"""

from __future__ import annotations

from collections.abc import Sequence

from keeper.executor.oracles.arguments import arguments, median
from keeper.executor.oracles.ports import Written

TRANSMIT = bytes.fromhex("c9807539")


class ChainlinkOcr1:
    selectors = frozenset({TRANSMIT})

    def read(self, to: bytes, data: bytes) -> Sequence[Written]:
        report, *_ = arguments(("bytes", "bytes32[]", "bytes32[]", "bytes32"), data[4:])
        _, _, observations = arguments(("bytes32", "bytes32", "int192[]"), report)
        return [Written(to, median(observations))]


def build() -> ChainlinkOcr1:
    return ChainlinkOcr1()

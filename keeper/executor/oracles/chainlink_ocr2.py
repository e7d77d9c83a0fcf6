"""Chainlink's off-chain reporting 2: `transmit(bytes32[3] context, bytes report, bytes32[] rs, bytes32[] ss, bytes32)`.

report: abi.encode(uint32 timestamp, bytes32 observers, int192[] observations, int192 juelsPerFeeCoin).
`transmitSecondary` has the same arguments: it is how the auctioned price of an SVR feed is written.
Source: OCR2Aggregator.sol and its port for SVR (chainlink, contracts/src/v0.8).
"""

from __future__ import annotations

from collections.abc import Sequence

from keeper.executor.oracles.arguments import arguments, median
from keeper.executor.oracles.ports import Written

TRANSMIT = bytes.fromhex("b1dc65a4")
TRANSMIT_SECONDARY = bytes.fromhex("ba0cb29e")


class ChainlinkOcr2:
    selectors = frozenset({TRANSMIT, TRANSMIT_SECONDARY})

    def read(self, to: bytes, data: bytes) -> Sequence[Written]:
        _, report, *_ = arguments(("bytes32[3]", "bytes", "bytes32[]", "bytes32[]", "bytes32"), data[4:])
        _, _, observations, _ = arguments(("uint32", "bytes32", "int192[]", "int192"), report)
        return [Written(to, median(observations))]


def build() -> ChainlinkOcr2:
    return ChainlinkOcr2()

"""Chainlink's AuthorizedForwarder, through which most nodes send: `forward`, `ownerForward`, `multiForward`.

Source: chainlink, contracts/src/v0.8/operatorforwarder/AuthorizedForwarder.sol.
"""

from __future__ import annotations

from collections.abc import Sequence

from keeper.core.errors import DecodeError
from keeper.executor.oracles.arguments import arguments
from keeper.executor.oracles.ports import Passed

FORWARD = bytes.fromhex("6fadcf72")  # forward(address,bytes)
OWNER_FORWARD = bytes.fromhex("033f49f7")  # ownerForward(address,bytes)
MULTI_FORWARD = bytes.fromhex("b64fa9e6")  # multiForward(address[],bytes[])


class Forwarder:
    selectors = frozenset({FORWARD, OWNER_FORWARD, MULTI_FORWARD})

    def read(self, to: bytes, data: bytes) -> Sequence[Passed]:
        if data[:4] != MULTI_FORWARD:
            target, passed = arguments(("address", "bytes"), data[4:])
            return [Passed(_raw(target), passed)]
        targets, several = arguments(("address[]", "bytes[]"), data[4:])
        if len(targets) != len(several):
            raise DecodeError(f"multiForward of {len(several)} calls to {len(targets)} contracts")
        return [Passed(_raw(target), passed) for target, passed in zip(targets, several, strict=True)]


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def build() -> Forwarder:
    return Forwarder()

"""Multicall3's `aggregate3((address target, bool allowFailure, bytes callData)[])`, encoded and decoded by slicing.

The layout is fixed enough that no general ABI coder is needed: every element is a head of words and one padded tail.
Source: Multicall3 at its canonical address on every chain of interest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keeper.core.errors import RpcMalformed
from keeper.core.types import Call

MULTICALL3 = bytes.fromhex("ca11bde05977b3631167028862be2a173976ca11")
_AGGREGATE3 = bytes.fromhex("82ad56cb")
_CALL_HEAD = 128  # target, allowFailure, offset of callData, its length
_TRUE = (1).to_bytes(32, "big")
_CALLDATA_OFFSET = (96).to_bytes(32, "big")


class Outcome(NamedTuple):
    """What one call of a multicall did. A call that ran out of gas fails with empty data, like a bare revert."""

    success: bool
    data: bytes


def encode_aggregate3(calls: Sequence[Call]) -> bytes:
    """Call data that makes these calls in order, each allowed to fail."""
    heads, tails = [], []
    position = 32 * len(calls)
    for call in calls:
        size = len(call.data)
        padding = -size % 32
        heads.append(position.to_bytes(32, "big"))
        tails.append(
            b"".join(
                (bytes(12), call.target, _TRUE, _CALLDATA_OFFSET, size.to_bytes(32, "big"), call.data, bytes(padding))
            )
        )
        position += _CALL_HEAD + size + padding
    prefix = (32).to_bytes(32, "big") + len(calls).to_bytes(32, "big")
    return b"".join((_AGGREGATE3, prefix, *heads, *tails))


def decode_aggregate3(data: bytes, count: int) -> list[Outcome]:
    """The outcomes of `count` calls. Raises RpcMalformed when the bytes are not exactly such an answer."""

    def word(at: int) -> int:
        if at < 0 or at + 32 > len(data):
            raise RpcMalformed(f"multicall answer of {len(data)} bytes is truncated: it points at byte {at}")
        return int.from_bytes(data[at : at + 32], "big")

    base = word(0)
    if word(base) != count:
        raise RpcMalformed(f"multicall answer holds {word(base)} results, {count} calls were made")
    base += 32
    outcomes = []
    for index in range(count):
        start = base + word(base + 32 * index)
        success = word(start)
        at = start + word(start + 32)
        size = word(at)
        if success > 1 or at + 32 + size > len(data):
            raise RpcMalformed(f"multicall answer of {len(data)} bytes: result {index} is no (bool, bytes) within it")
        outcomes.append(Outcome(success == 1, data[at + 32 : at + 32 + size]))
    return outcomes

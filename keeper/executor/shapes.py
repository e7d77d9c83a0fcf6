"""Numbers, bytes and logs in a node's answers, in the shapes that its specification gives them and in no other: what
Python reads besides (signs, underscores, blanks, `None`) would be taken for amounts. All raise ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.types import Log
from keeper.core.units import UINT256_MAX

_DIGITS = frozenset("0123456789abcdefABCDEF")


def quantity(said: Any, *, least: int = 0, most: int = UINT256_MAX) -> int:
    """A `0x` number within these limits."""
    if not isinstance(said, str) or said[:2] != "0x" or not 2 < len(said) <= 66 or not _DIGITS.issuperset(said[2:]):
        raise ValueError(f"no quantity: {said!r:.80}")
    number = int(said, 16)
    if not least <= number <= most:
        raise ValueError(f"{number} is not within {least} and {most}")
    return number


def data(said: Any, size: int | None = None) -> bytes:
    """`0x` and two digits a byte. size: how many bytes it must be."""
    if not isinstance(said, str) or said[:2] != "0x":
        raise ValueError(f"no bytes: {said!r:.80}")
    found = bytes.fromhex(said[2:])
    if 2 * len(found) != len(said) - 2 or (size is not None and len(found) != size):  # blanks are passed over
        raise ValueError(f"no {'' if size is None else f'{size} '}bytes: {said!r:.80}")
    return found


def simulated_log(entry: Any) -> Log:
    """What a call would emit, in lower case; of no block."""
    said = entry if isinstance(entry, Mapping) else {}
    address, topics, written = (said.get(key) for key in ("address", "topics", "data"))
    if isinstance(topics, list):
        return Log(_hex(data(address, 20)), tuple(_hex(data(topic, 32)) for topic in topics), _hex(data(written)))
    raise ValueError(f"no log: {entry!r:.80}")


def mined_log(entry: Any) -> Log:
    """Of a receipt: with the place where it is."""
    emitted = simulated_log(entry)
    return Log(
        emitted.address,
        emitted.topics,
        emitted.data,
        block_number=hex(quantity(entry.get("blockNumber"))),
        block_hash=_hex(data(entry.get("blockHash"), 32)),
        transaction_hash=_hex(data(entry.get("transactionHash"), 32)),
        log_index=hex(quantity(entry.get("logIndex"))),
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()

"""The few shapes of ABI encoding that adapters need: calls of fixed words, and answers read word by word.

Everything read here is of fixed size, except symbols and lists of addresses.
"""

from __future__ import annotations

from keeper.core.errors import DecodeError
from keeper.core.types import Call, CallResult

# --- encoding ---------------------------------------------------------------------------------------------------------


def call(target: bytes, selector: bytes, *arguments: bytes | int) -> Call:
    """A call whose arguments are addresses or other words (bytes), or unsigned integers."""
    return Call(target, encode(selector, *arguments))


def encode(selector: bytes, *arguments: bytes | int) -> bytes:
    return selector + b"".join(
        argument.to_bytes(32, "big") if isinstance(argument, int) else argument.rjust(32, b"\0")
        for argument in arguments
    )


# --- results ----------------------------------------------------------------------------------------------------------


def words(result: CallResult, count: int, what: str) -> list[int]:
    """The first `count` words as integers. Raises DecodeError when the call reverted or returned less."""
    if result is None:
        raise DecodeError(f"{what} reverted; the contract is not what its name promises, or the block has no state")
    if len(result) < 32 * count:
        raise DecodeError(f"{what} returned {len(result)} bytes; at least {32 * count} were expected")
    return [int.from_bytes(result[32 * i : 32 * i + 32], "big") for i in range(count)]


def uint(result: CallResult, what: str) -> int:
    return words(result, 1, what)[0]


def maybe_uint(result: CallResult) -> int | None:
    """One word; None when the contract does not know the call."""
    return None if result is None or len(result) < 32 else int.from_bytes(result[:32], "big")


def maybe_address(result: CallResult) -> bytes:
    """An address; empty when the contract does not know the call, or answers with the zero address."""
    if result is None or len(result) < 32 or any(result[:12]) or not any(result[12:32]):
        return b""
    return result[12:32]


def address_list(result: CallResult, what: str) -> list[bytes]:
    offset, length = words(result, 2, what)
    if offset != 32:
        raise DecodeError(f"{what} returned a list at offset {offset}; 32 was expected")
    return [(word & (1 << 160) - 1).to_bytes(20, "big") for word in words(result, 2 + length, what)[2:]]


def address_of(value: int) -> bytes:
    """Of a word. Raises DecodeError when it is larger than an address."""
    if value >> 160:
        raise DecodeError(f"{value:#x} is no address")
    return value.to_bytes(20, "big")


def text(result: CallResult) -> str:
    """A symbol, from a string or from the bytes32 that some old tokens return; empty when there is none."""
    if result is None or len(result) < 32:
        return ""
    body = result[:32]
    if len(result) >= 64 and int.from_bytes(result[:32], "big") == 32:
        body = result[64 : 64 + min(int.from_bytes(result[32:64], "big"), 64)]
    return body.rstrip(b"\0").decode("utf-8", "replace")

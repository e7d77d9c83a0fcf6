"""The fixed words of the few calls that planning makes; nothing here needs a general ABI coder."""

from __future__ import annotations

from keeper.core.types import Call, CallResult

BALANCE_OF = bytes.fromhex("70a08231")


def word(value: int | bytes) -> bytes:
    """A number, or an address."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def words(*values: int | bytes) -> bytes:
    return b"".join(word(value) for value in values)


def padded(data: bytes) -> bytes:
    """Bytes as the tail of a dynamic argument: their size, then they, filled up to whole words."""
    return word(len(data)) + data + bytes(-len(data) % 32)


def call(target: bytes, selector: bytes, *values: int | bytes) -> Call:
    return Call(target, selector + words(*values))


def balance_of(token: bytes, holder: bytes) -> Call:
    return call(token, BALANCE_OF, holder)


def number(result: CallResult, index: int = 0) -> int | None:
    """A word of an answer; None when the call reverted or answered less."""
    end = 32 * (index + 1)
    return int.from_bytes(result[end - 32 : end], "big") if result is not None and len(result) >= end else None


def address(result: CallResult, index: int = 0) -> bytes | None:
    """An address of an answer; None for none, and for the zero address."""
    value = number(result, index)
    return value.to_bytes(32, "big")[12:] if value else None

"""Recursive length prefix, in hex: what nodes write as hex is put together and decoded once, which is several times
faster than item by item.

Source: Ethereum Yellow Paper, appendix B.
"""

from __future__ import annotations

from collections.abc import Iterable


def fixed(prefix: str, digits: int, *texts: str) -> list[str]:
    """Strings of one known length, 0x and these digits, behind the prefix of that length.

    Raises ValueError for another length: what is too much here would be missing there.
    """
    if any(len(text) != digits + 2 for text in texts):
        raise ValueError(f"a field that should have {digits} hex digits")
    return [prefix + text[2:] for text in texts]


def quantity(text: str) -> str:
    """A hex quantity: no leading zeros, and nothing for zero. Raises ValueError for what is none."""
    number = int(text, 16)
    digits = f"{number:x}" if number else ""
    return string("0" + digits if len(digits) % 2 else digits)


def string(digits: str) -> str:
    """Bytes, given as digits of hex without 0x. Raises ValueError for half a byte."""
    if len(digits) % 2:
        raise ValueError("an odd number of hex digits")
    if len(digits) == 2 and digits[0] < "8":
        return digits
    return prefix(len(digits) // 2, 0x80) + digits


def listed(items: Iterable[str]) -> str:
    """A list of what is encoded already."""
    body = "".join(items)
    return prefix(len(body) // 2, 0xC0) + body


def packed(text: str) -> bytes:
    """The bytes of what was put together. Raises ValueError where something is no digit, or missing: blanks, which
    `bytes.fromhex` passes over, would make the same bytes of other fields."""
    encoded = bytes.fromhex(text)
    if 2 * len(encoded) != len(text):
        raise ValueError("blanks among hex digits")
    return encoded


def prefix(length: int, offset: int) -> str:
    """What precedes so many bytes. offset: 0x80 before a string, 0xC0 before a list."""
    if length <= 55:
        return f"{offset + length:02x}"
    size = f"{length:x}"
    size = "0" + size if len(size) % 2 else size
    return f"{offset + 55 + len(size) // 2:02x}{size}"

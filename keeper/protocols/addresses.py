"""Addresses as people write them: hex whose case is a checksum (EIP-55)."""

from __future__ import annotations

from eth_hash.auto import keccak


def checksummed(address: bytes) -> str:
    """The 20 bytes as 0x and 40 hex digits; a letter is upper case where the hash of the digits says so.

    eth_utils has the same, but its import takes longer than everything else that a query command does.
    """
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if mark >= "8" else d for d, mark in zip(digits, marks, strict=False))

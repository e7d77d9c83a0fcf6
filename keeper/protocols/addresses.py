"""Addresses as people write them: hex whose case is a checksum (EIP-55)."""

from __future__ import annotations

from functools import lru_cache

from eth_hash.auto import keccak


@lru_cache(maxsize=1 << 14)
def checksummed(address: bytes) -> str:
    """The 20 bytes as 0x and 40 hex digits; a letter is upper case where the hash of the digits says so.

    Kept once made: the few positions that matter are named many times in every block, and a hash takes 50 µs.

    eth_utils has the same, but its import takes longer than everything else that a query command does.
    """
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if mark >= "8" else d for d, mark in zip(digits, marks, strict=False))

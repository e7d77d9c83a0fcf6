"""The stored form of an account, and many of them as columns without making a value of any.

byte 0      MARK (JSON, which older releases wrote, begins with "[")
byte 1      e-mode category
bytes 2, 3  how many supplies, how many debts
32 bytes    flags: the pool's configuration bitmap, little endian
17 bytes    of each supply, then of each debt: reserve id, and the scaled balance, little endian
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

MARK = 0xA1
FLAGS = 32
HEAD = 4 + FLAGS
SCALED = 16
ENTRY = 1 + SCALED


@dataclass(frozen=True, slots=True)
class Balances:
    """Of many accounts, by entry: whose (its place among the accounts), of which reserve, and how much, rounded."""

    account: Ints
    reserve: Ints
    scaled: Floats


@dataclass(frozen=True, slots=True)
class Columns:
    """flags: bytes of each account's bitmap, the lowest first."""

    emode: Ints
    flags: NDArray[np.uint8]
    supplies: Balances
    debts: Balances


def columns(payloads: Sequence[bytes]) -> Columns:
    """Raises ValueError when a payload is not of this form."""
    count = len(payloads)
    octets = np.frombuffer(b"".join(payloads), np.uint8)
    sizes: Ints = np.fromiter(map(len, payloads), np.intp, count)
    starts = np.cumsum(sizes) - sizes
    if count and sizes.min() < HEAD:
        raise ValueError(f"a payload of {sizes.min()} bytes, of which {HEAD} are the least")
    heads = octets[starts[:, None] + np.arange(HEAD)]
    supplies, debts = heads[:, 2].astype(np.intp), heads[:, 3].astype(np.intp)
    if (heads[:, 0] != MARK).any() or (sizes != HEAD + ENTRY * (supplies + debts)).any():
        raise ValueError("a payload that is as long as its counts do not say")
    return Columns(
        heads[:, 1].astype(np.intp),
        heads[:, 4:],
        _balances(octets, starts + HEAD, supplies),
        _balances(octets, starts + HEAD + ENTRY * supplies, debts),
    )


def _balances(octets: NDArray[np.uint8], starts: Ints, counts: Ints) -> Balances:
    account = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(account)) - (np.cumsum(counts) - counts)[account]
    at = starts[account] + ENTRY * nth
    halves = octets[at[:, None] + np.arange(1, ENTRY)].view("<u8").reshape(-1, 2)
    return Balances(account, octets[at].astype(np.intp), halves[:, 0] + halves[:, 1] * 2.0**64)

"""What must be different on a fork for one position to be open to liquidation, as data: an adapter says it, the shell
does it, under a snapshot that is reverted afterwards. Nothing of this is ever for a real chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from keeper.core.types import Skip, TxCall


class Lever(StrEnum):
    """What is moved. THRESHOLD: the protocol's own parameter, so that prices stay equal to those of the pools in which
    collateral is sold, and a profit is what it would be. PRICE: what the oracle says, while pools stay as they are.
    """

    THRESHOLD = "threshold"
    PRICE = "price"


@dataclass(frozen=True, slots=True)
class SentAs:
    """A transaction of somebody whose key nobody needs on a fork. The shell gives the sender the ether for its gas."""

    sender: bytes
    call: TxCall


@dataclass(frozen=True, slots=True)
class CodeSet:
    account: bytes
    code: bytes


@dataclass(frozen=True, slots=True)
class StorageSet:
    account: bytes
    slot: int
    value: bytes  # 32 bytes


Override: TypeAlias = SentAs | CodeSet | StorageSet
"""One change. Several are made in their order, all before the next block is mined."""


def cannot_stress(kind: str) -> Skip:
    """The answer for an adapter that does not know how."""
    return Skip(
        "not_supported",
        f"the adapter of {kind} does not say how to make a healthy position liquidatable; "
        "only what is open to liquidation as it is can be rehearsed",
    )


_WORDS = 5


def constant_feed(answer: int) -> bytes:
    """Runtime code that answers any call as a Chainlink feed would: with `answer`, of a round of this very second.

    latestAnswer() reads the first word of it, latestRoundData() all five; a round is told by the same number, which
    nobody interprets.
    """
    push32, push1, mstore, timestamp, return_ = b"\x7f", b"\x60", b"\x52", b"\x42", b"\xf3"
    number = push32 + answer.to_bytes(32, "big")
    words = (number, number, timestamp, timestamp, number)
    stores = b"".join(word + push1 + bytes([32 * place]) + mstore for place, word in enumerate(words))
    return stores + push1 + bytes([32 * _WORDS]) + push1 + b"\0" + return_


def answers_about(answers: Mapping[bytes, int]) -> bytes:
    """Runtime code that answers any function of one address with the number that belongs to it; about any other address
    it returns nothing, which a caller that wants a number takes for a revert."""
    argument, is_zero, jump_if, here = b"\x60\x04\x35", b"\x15", b"\x57", b"\x5b"
    code = b""
    for address, number in answers.items():
        asked = argument + b"\x73" + address + b"\x14" + is_zero
        answer = b"\x7f" + number.to_bytes(32, "big") + b"\x60\x00\x52" + b"\x60\x20\x60\x00\xf3"
        after = len(code) + len(asked) + 3 + len(jump_if) + len(answer)
        code += asked + b"\x61" + after.to_bytes(2, "big") + jump_if + answer + here
    return code

"""What `tests/contract/test_adapters.py` needs of a protocol: a module here of its name, with `case()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Demand, Log, Prices


@dataclass(frozen=True)
class Situation:
    """One position at one moment. rich: a wallet that could pay for any liquidation of it."""

    market: Any
    prices: Prices
    key: bytes
    position: Any
    now: int
    rich: Mapping[bytes, int]


@dataclass(frozen=True)
class Case:
    """situations: random ones, with healths on both sides of 1. log_market, logs: one of every event, well-formed,
    each touching something. obeyed: the situation after its owner did this much (raw units) of what a demand asks for,
    by the protocol's own rounding. wallet_pays: a liquidation takes the wallet's tokens, not margin kept elsewhere."""

    adapter: ProtocolAdapter[Any, Any]
    situations: st.SearchStrategy[Situation]
    log_market: Any
    logs: Sequence[Log]
    obeyed: Callable[[Situation, Demand, int], Situation]
    wallet_pays: bool = True


def topic(word: bytes) -> str:
    """An indexed value."""
    return "0x" + word.rjust(32, b"\0").hex()


def data(*words: int | bytes) -> str:
    """Unindexed values of one word each."""
    return "0x" + "".join(
        (word.to_bytes(32, "big") if isinstance(word, int) else word.rjust(32, b"\0")).hex() for word in words
    )

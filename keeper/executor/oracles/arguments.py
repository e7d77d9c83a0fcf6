"""ABI-decoding of arguments that anybody may have written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from keeper.core.errors import DecodeError

MOST_BYTES = 16 * 1024
"""Far above any price update (some 2 kB), so that nobody keeps the decoder busy: offsets may point to the same bytes
over and over, which makes the work grow with the square of the size."""


def arguments(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Raises DecodeError for what a Solidity contract would refuse, too."""
    if len(data) > MOST_BYTES:
        raise DecodeError(f"{len(data)} bytes of arguments; at most {MOST_BYTES} are read")
    try:
        return decode(types, data)
    except (DecodingError, OverflowError, ValueError) as error:
        raise DecodeError(f"arguments are not ({','.join(types)}): {error}") from error


def median(observations: Sequence[int]) -> int:
    """The answer that an aggregator takes from a report: the upper middle of sorted observations.

    Raises DecodeError when there are none, or they are not sorted, on which the aggregator reverts.
    Source: libocr, OffchainAggregator.transmit and OCR2Aggregator._report.
    """
    if not observations:
        raise DecodeError("a report without observations")
    if any(earlier > later for earlier, later in pairwise(observations)):
        raise DecodeError("the observations of a report are not sorted")
    return observations[len(observations) // 2]

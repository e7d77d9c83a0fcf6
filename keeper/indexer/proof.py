"""Whether many logs can all be true, found in a few passes over all of them instead of many over each.

Of a million logs all but a handful are as they should be. So this only ever says yes; what it does not vouch for,
`LogQuery.accept` looks at one by one, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice, repeat
from operator import lt

from keeper.indexer.rpc.wire import HASH_CHARS, WireLog

_DIGITS = b"0123456789abcdefABCDEF"
_AT_ONCE = 1_000  # logs whose strings stay in the processor's cache from one pass to the next

Place = tuple[int, int]
"""A block's height and an index in it."""


def in_order(
    logs: Sequence[WireLog], addresses: Collection[str], topics: Collection[str], first: int, last: int
) -> bool:
    """Whether these logs are all of these contracts and first topics, of these blocks, well formed, none removed, and
    in the order of the chain with none twice."""
    contracts, events = set(addresses), set(topics)
    before: Place = first, -1
    try:
        for at in range(0, len(logs), _AT_ONCE):
            ends = _proven(logs[at : at + _AT_ONCE], contracts, events)
            if ends is None or not before < ends[0]:
                return False
            before = ends[1]
    except (IndexError, ValueError):
        return False
    return before[0] <= last


def _proven(logs: Sequence[WireLog], contracts: set[str], events: set[str]) -> tuple[Place, Place] | None:
    """The first and the last place of these logs, of which there are some; None when something about them is not true.
    Raises IndexError for one without topics, and ValueError for what is no text of hex."""
    topics = [log.topics for log in logs]
    if (
        {log.address for log in logs} <= contracts
        and {words[0] for words in topics} <= events
        and not any([log.removed for log in logs])  # noqa: C419  a list is built faster than a generator gone through
        and _are_hex(set(chain.from_iterable(topics)))
        and _are_hex([log.data for log in logs])
    ):
        return _rising([log.block_number for log in logs], [log.log_index for log in logs])
    return None


def _are_hex(texts: Collection[str]) -> bool:
    """Each 0x and whole bytes of hex. Raises ValueError for what is not ASCII."""
    left = "\n".join(texts).encode("ascii").translate(None, _DIGITS)
    return (
        left == b"\n".join([b"x"] * len(texts))
        and all(map(str.startswith, texts, repeat("0x")))
        and not any(size & 1 for size in set(map(len, texts)))
    )


def _rising(blocks: Sequence[str], indices: Sequence[str]) -> tuple[Place, Place] | None:
    """The first place and the last, if each is behind the one before."""
    height, place = _numbers(blocks), _numbers(indices)
    most = max(place.values()) + 1
    starts = {text: number * most for text, number in height.items()}
    places = [starts[block] + place[index] for block, index in zip(blocks, indices, strict=True)]
    if not all(map(lt, places, islice(places, 1, None))):
        return None
    return (height[blocks[0]], place[indices[0]]), (height[blocks[-1]], place[indices[-1]])


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """By quantity in hex, what it is. Raises ValueError when one is no quantity."""
    distinct = set(texts)
    if not all(text.startswith("0x") and len(text) <= HASH_CHARS and "_" not in text for text in distinct):
        raise ValueError("no hex quantity")
    return {text: int(text, 16) for text in distinct}

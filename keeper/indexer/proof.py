"""Whether many logs can all be true, found in a few passes over all of them instead of many over each.

Of a million logs all but a handful are as they should be. So this only ever says yes; what it does not vouch for,
`LogQuery.accept` looks at one by one, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice, repeat
from operator import add, lt

import numpy as np

from keeper.indexer.rpc.wire import HASH_CHARS, WireLog

_AT_ONCE = 1_000  # logs whose strings stay in the processor's cache from one pass to the next

Place = tuple[int, int]
"""A block's height and an index in it."""


class InOrder:
    """Whether logs, part by part, are all of these contracts and first topics, of these blocks, well formed, none
    removed, and in the order of the chain with none twice. count: how many went on so far."""

    def __init__(self, addresses: Collection[str], topics: Collection[str], first: int, last: int) -> None:
        self.count = 0
        self._contracts, self._events = set(addresses), set(topics)
        self._before: Place = first, -1
        self._last = last

    def goes_on(self, logs: Sequence[WireLog]) -> bool:
        """With these logs as the next, of which there are some. After a no nothing is known of what follows."""
        try:
            ends = self._ends(logs)
        except (IndexError, ValueError):
            return False
        if ends is None or not self._before < ends[0]:
            return False
        self._before = ends[1]
        self.count += len(logs)
        return ends[1][0] <= self._last

    def _ends(self, logs: Sequence[WireLog]) -> tuple[Place, Place] | None:
        """The first and the last place of these logs; None when something about them is not true. Raises IndexError for
        one without topics, and ValueError for what is no text of hex."""
        topics = [log.topics for log in logs]
        if (
            {log.address for log in logs} <= self._contracts
            and {words[0] for words in topics} <= self._events
            and not any([log.removed for log in logs])  # noqa: C419  a list is built faster than a generator gone through
            and _are_words(list(chain.from_iterable(topics)))
            and are_hex([log.data for log in logs])
        ):
            return _rising([log.block_number for log in logs], [log.log_index for log in logs])
        return None


def in_order(
    logs: Sequence[WireLog], addresses: Collection[str], topics: Collection[str], first: int, last: int
) -> bool:
    """The same of all logs at once."""
    order = InOrder(addresses, topics, first, last)
    return all(order.goes_on(logs[at : at + _AT_ONCE]) for at in range(0, len(logs), _AT_ONCE))


def _are_words(texts: Sequence[str]) -> bool:
    """Each 0x and 64 digits of hex, for texts that are all as long as that. Raises ValueError for what is not ASCII."""
    text = "".join(texts).encode("ascii")
    if len(text) != HASH_CHARS * len(texts):
        return False
    rows = np.frombuffer(text, np.uint8).reshape(-1, HASH_CHARS)
    prefixed = bool((rows[:, 0] == ord("0")).all() and (rows[:, 1] == ord("x")).all())
    return prefixed and _digits(text) == len(text) - len(texts)


def are_hex(texts: Collection[str]) -> bool:
    """Each 0x and whole bytes of hex. Raises ValueError for what is not ASCII."""
    text = "".join(texts).encode("ascii")
    return (
        all(map(str.startswith, texts, repeat("0x")))
        and _digits(text) == len(text) - len(texts)  # each has an x, so nobody has another
        and not any(size & 1 for size in set(map(len, texts)))
    )


def _digits(text: bytes) -> int:
    """How many of its characters are digits of hex, in either case. A byte less than what is subtracted wraps."""
    codes = np.frombuffer(text, np.uint8)
    found = (codes - ord("0")) < 10
    found |= ((codes | 0x20) - ord("a")) < 6
    return int(np.count_nonzero(found))


def _rising(blocks: Sequence[str], indices: Sequence[str]) -> tuple[Place, Place] | None:
    """The first place and the last, if each is behind the one before."""
    height, place = _numbers(blocks), _numbers(indices)
    most = max(place.values()) + 1
    starts = {text: number * most for text, number in height.items()}
    places = list(map(add, map(starts.__getitem__, blocks), map(place.__getitem__, indices)))
    if not all(map(lt, places, islice(places, 1, None))):
        return None
    return (height[blocks[0]], place[indices[0]]), (height[blocks[-1]], place[indices[-1]])


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """By quantity in hex, what it is. Raises ValueError when one is no quantity."""
    distinct = set(texts)
    if not all(text.startswith("0x") and len(text) <= HASH_CHARS and "_" not in text for text in distinct):
        raise ValueError("no hex quantity")
    return {text: int(text, 16) for text in distinct}

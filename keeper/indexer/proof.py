"""Whether many logs can all be true, found in a few passes over all of them instead of many over each.

Of a million logs all but a handful are as they should be. So this only ever says yes; what it does not vouch for,
`LogQuery.accept` looks at one by one, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice
from operator import lt

from keeper.indexer.rpc.wire import HASH_CHARS, WireLog

_DIGITS = b"0123456789abcdefABCDEF"


def in_order(
    logs: Sequence[WireLog], addresses: Collection[str], topics: Collection[str], first: int, last: int
) -> bool:
    """Whether these logs are all of these contracts and first topics, of these blocks, well formed, none removed, and
    in the order of the chain with none twice."""
    try:
        return (
            {log.address for log in logs} <= set(addresses)
            and {log.topics[0] for log in logs} <= set(topics)
            and {log.removed for log in logs} <= {False}
            and _are_words(set(chain.from_iterable([log.topics for log in logs])))
            and _are_hex([log.data for log in logs])
            and {len(log.block_hash) for log in logs} <= {HASH_CHARS}
            and {len(log.transaction_hash) for log in logs} <= {HASH_CHARS}
            and _rises([log.block_number for log in logs], [log.log_index for log in logs], first, last)
        )
    except (IndexError, ValueError):
        return False


def _are_words(texts: Collection[str]) -> bool:
    """Each 0x and 32 bytes of hex."""
    return set(map(len, texts)) <= {HASH_CHARS} and _are_hex(texts)


def _are_hex(texts: Collection[str]) -> bool:
    """Each 0x and whole bytes of hex. Raises ValueError for what is not ASCII."""
    left = "\n".join(texts).encode("ascii").translate(None, _DIGITS)
    return (
        left == b"\n".join([b"x"] * len(texts))
        and {text[:2] for text in texts} <= {"0x"}
        and not any(size & 1 for size in set(map(len, texts)))
    )


def _rises(blocks: Sequence[str], indices: Sequence[str], first: int, last: int) -> bool:
    """Whether each place, a block and an index in it, is behind the one before."""
    height, place = _numbers(blocks), _numbers(indices)
    most = max(place.values(), default=0) + 1
    starts = {text: number * most for text, number in height.items()}
    places = [starts[block] + place[index] for block, index in zip(blocks, indices, strict=True)]
    return all(first <= number <= last for number in height.values()) and all(map(lt, places, islice(places, 1, None)))


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """By quantity in hex, what it is. Raises ValueError when one is no quantity."""
    distinct = set(texts)
    if not all(text.startswith("0x") and len(text) <= HASH_CHARS and "_" not in text for text in distinct):
        raise ValueError("no hex quantity")
    return {text: int(text, 16) for text in distinct}

"""Which nonces are ours to use. Pure: from the account's nonce in the judged block, and what the journal still owns.

A journalled nonce belongs to its intent until a transaction with it is mined: an intent that is given up is replaced by
an empty transfer on the same nonce, never forgotten. So nothing queued behind it can be stuck for good.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import count as count_from
from itertools import islice


def allocate(chain_nonce: int, owned: Collection[int], count: int, foreign: Collection[int] = ()) -> list[int]:
    """The `count` lowest nonces that are neither mined nor owned, nor taken by somebody else, ascending."""
    taken = {*owned, *foreign}
    return list(islice((nonce for nonce in count_from(chain_nonce) if nonce not in taken), count))


def gaps(
    chain_nonce: int, owned: Collection[int], foreign: Collection[int] = (), *, most: int | None = None
) -> list[int]:
    """The lowest nonces below an owned one that nobody owns, at most so many: while they are missing, what comes after
    cannot be mined."""
    taken = {*owned, *foreign}
    below = range(chain_nonce, max(owned, default=chain_nonce))
    return list(islice((nonce for nonce in below if nonce not in taken), most))

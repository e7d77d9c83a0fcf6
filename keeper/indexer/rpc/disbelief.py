"""Heads that are not believed: whoever told of one is in quarantine, and nobody counts as behind it.

A forged header hashes to itself, so that nothing in it proves it wrong. What does is the way there, which does not
exist, and what everybody else says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keeper.core.errors import HeadRefused, KeeperError
from keeper.core.types import Block

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

FEWEST_OTHERS = 2
"""A single other endpoint may as well be the one that stands still."""


def disbelieve(pool: EndpointPool, refused: HeadRefused) -> None:
    """Blame whoever told of this head."""
    for endpoint in pool.endpoints:
        if endpoint.told_of(refused.head_hash):
            endpoint.disbelieve_head()
            endpoint.failed(refused)


async def hold_against_others(pool: EndpointPool, head: Block, lead: int) -> None:
    """Ask those who did not tell of this head for theirs.

    Raises HeadRefused where they are more than whoever told of it, two at least, and it is more than `lead` blocks
    above the highest of theirs.
    """
    trusted = pool.trusted()
    others = [one for one in trusted if not one.told_of(head.hash) and not one.cooling_s]
    tellers = sum(one.told_of(head.hash) for one in trusted)
    if len(others) < FEWEST_OTHERS:
        return
    heads = [told.number for told in await asyncio.gather(*(_head(pool, one) for one in others)) if told is not None]
    if len(heads) < max(FEWEST_OTHERS, tellers + 1) or head.number - max(heads) <= lead:
        return
    raise HeadRefused(
        f"a head {head.number} (0x{head.hash.hex()}) was announced, but {len(heads)} other endpoints are at "
        f"{max(heads)} at most; more than {lead} blocks above them is not believed, ask whoever runs that endpoint",
        head.hash,
    )


async def _head(pool: EndpointPool, endpoint: Endpoint) -> Block | None:
    try:
        return await pool.latest_of(endpoint)
    except KeeperError as error:
        endpoint.failed(error)
        return None

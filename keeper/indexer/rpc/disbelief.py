"""Heads that are not believed: whoever told of one is in quarantine, and nobody counts as behind it.

A forged header hashes to itself, so that nothing in it proves it wrong. What does is the way there, which does not
exist, and what everybody else says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keeper.core.errors import HeadRefused, KeeperError
from keeper.core.types import Block

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

FEWEST_OTHERS = 2
"""A single other endpoint may as well be the one that stands still."""

_STALE_S = 120.0


@dataclass(frozen=True, slots=True)
class Dispute:
    """Where the others were when a head was first held against them. at: on the monotonic clock."""

    heads: Mapping[Endpoint, bytes]
    at: float


def disbelieve(pool: EndpointPool, refused: HeadRefused) -> None:
    """Blame whoever told of this head."""
    for endpoint in pool.disbelieve_head(refused.head_hash):
        endpoint.failed(refused)


async def hold_against_others(pool: EndpointPool, head: Block, lead: int, *, moving: bool = False) -> None:
    """Ask those who did not tell of this head for theirs.

    moving: only who goes on has a say. Two that stand still know nothing of what came after, so a head is refused once
    one of the others has a newer one than when that was first asked: a block later, where they are well.

    Raises HeadRefused where they are more than whoever told of it, two at least, and it is more than `lead` blocks
    above the highest of theirs.
    """
    trusted = pool.trusted()
    others = [one for one in trusted if not one.told_of(head.hash) and not one.cooling_s]
    tellers = sum(one.told_of(head.hash) for one in trusted)
    if len(others) < FEWEST_OTHERS:
        return
    answers = zip(others, await asyncio.gather(*(_head(pool, one) for one in others)), strict=True)
    told = {endpoint: block for endpoint, block in answers if block is not None}
    heads = [block.number for block in told.values()]
    if len(heads) < max(FEWEST_OTHERS, tellers + 1) or head.number - max(heads) <= lead:
        return
    if moving and not _has_moved(pool, {endpoint: block.hash for endpoint, block in told.items()}):
        return
    raise HeadRefused(
        f"a head {head.number} (0x{head.hash.hex()}) was announced, but {len(heads)} other endpoints are at "
        f"{max(heads)} at most; more than {lead} blocks above them is not believed, ask whoever runs that endpoint",
        head.hash,
    )


def _has_moved(pool: EndpointPool, heads: Mapping[Endpoint, bytes]) -> bool:
    """Whether any of them has another head than at the first of the questions that followed one another."""
    before, now = pool.dispute, time.monotonic()
    if before is None or now - before.at > _STALE_S:
        before = pool.dispute = Dispute(heads, now)
    if any(endpoint in before.heads and before.heads[endpoint] != told for endpoint, told in heads.items()):
        pool.dispute = None
        return True
    return False


async def _head(pool: EndpointPool, endpoint: Endpoint) -> Block | None:
    try:
        return await pool.latest_of(endpoint)
    except KeeperError as error:
        endpoint.failed(error)
        return None

"""From a head to the steps that lead there: fetches whatever `reconcile` asks for, by hash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from keeper.core.chain import NeedBlock, Step, Window, reconcile
from keeper.core.errors import HeadRefused, StateUnavailable
from keeper.core.types import Block, BlockRef

MOST_MISSED = 100_000
"""Blocks between ours and a head that are asked for one by one; longer gaps were scanned before, up to finality."""

HEADERS_AT_ONCE = 100
MESSAGES_AT_ONCE = 4
"""A gap may be of thousands of blocks where finality is a quarter of an hour behind: so many of their headers are asked
for in one message, and so many messages at a time. All at once they would wait for a connection longer than an answer
may take."""


class Canonical(Protocol):
    """Says which block is at a height."""

    async def block_by_number(self, number: int | str) -> Block | None: ...


class Headers(Canonical, Protocol):
    """Where headers come from."""

    async def block_by_hash(self, block_hash: bytes) -> Block | None: ...
    async def blocks_by_number(self, numbers: Sequence[int]) -> Sequence[Block | None]: ...


async def steps_to(window: Window, head: Block, headers: Headers) -> tuple[Step, ...]:
    """Everything between our tip and this head.

    A gap is fetched by height, as a guess that parent hashes then confirm or discard.
    Raises HeadRefused for a head that no chain can have, StateUnavailable when the node no longer has a block
    of the branch (it reorged meanwhile: ask again with its new head) and UnrecoverableReorg as `reconcile` does.
    """
    missed = range(window.tip.number + 1, head.number)
    if len(missed) > MOST_MISSED:
        raise HeadRefused(
            f"a head {head.number} was announced, {len(missed)} blocks above ours ({window.tip.number}); "
            f"{MOST_MISSED} can be followed at once: check whether the node tells the truth",
            head.hash,
        )
    by_hash = {block.hash: block for block in await _at_heights(missed, headers)}
    branch = [head]
    while isinstance(answer := reconcile(window, branch), NeedBlock):
        parent = by_hash.get(answer.ref.hash) or await headers.block_by_hash(answer.ref.hash)
        if parent is None:
            raise StateUnavailable(
                f"the node has no block {answer.ref.number} (0x{answer.ref.hash.hex()}), the parent of a head it "
                "announced; it may have reorganized meanwhile, asking again"
            )
        branch.insert(0, parent)
    _check_branch(window, branch)
    return answer


async def _at_heights(numbers: range, headers: Headers) -> list[Block]:
    """The headers that the node has at these heights. Raises the first error; nobody goes on asking then."""
    free = asyncio.Semaphore(MESSAGES_AT_ONCE)

    async def ask(some: range) -> Sequence[Block | None]:
        async with free:
            return await headers.blocks_by_number(some)

    parts = [numbers[start : start + HEADERS_AT_ONCE] for start in range(0, len(numbers), HEADERS_AT_ONCE)]
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(part)) for part in parts]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [block for task in asked for block in task.result() if block is not None]


def _check_branch(window: Window, branch: Sequence[Block]) -> None:
    """Every chain counts its blocks one by one, and its time never goes back."""
    first, head = branch[0], branch[-1]
    before = next((block for block in reversed(window.blocks) if block.hash == first.parent_hash), None)
    for parent, block in pairwise(branch if before is None else [before, *branch]):
        if block.number != parent.number + 1:
            raise HeadRefused(
                f"block {block.number} (0x{block.hash.hex()}) names block {parent.number} as its parent", head.hash
            )
        if block.timestamp < parent.timestamp:
            raise HeadRefused(
                f"block {block.number} (0x{block.hash.hex()}) is of {block.timestamp}, before its parent's time "
                f"({parent.timestamp}); no chain allows that, the node is not to be trusted with it",
                head.hash,
            )


async def canonical_ancestor(window: Window, headers: Canonical) -> BlockRef | None:
    """The newest block we hold that the node still has at its height; None when it has others at all of these heights.

    For a start after an outage: the cursor may be on an orphaned block far below the present head.
    Raises StateUnavailable when the node does not reach our oldest: it is late, which proves nothing.
    """
    theirs: Block | None = None
    for block in reversed(window.blocks):
        theirs = await headers.block_by_number(block.number)
        if theirs is not None and theirs.hash == block.hash:
            return block.ref
    if theirs is None and len(window):
        raise StateUnavailable(
            f"the node has no block at {window.oldest.number}, the oldest height we hold; it is behind, or not of the "
            "same chain: asking again"
        )
    return None

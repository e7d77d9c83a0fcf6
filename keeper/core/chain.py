"""Where a new block stands against the blocks we hold: pure, and by parent hashes alone.

Subscriptions, heights and `removed` flags are hints at best (a node may skip, repeat or reorder them), so none of them
is used here. Every reorg of any depth becomes the same two steps: `Reverted` to the common ancestor, then `Committed`
for each block of the new branch, in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.errors import UnrecoverableReorg
from keeper.core.types import Block, BlockRef


@dataclass(frozen=True, slots=True)
class Committed:
    """One block to go forward by. tip: no later block of its branch is known yet: judged here is judged now."""

    block: Block
    tip: bool


@dataclass(frozen=True, slots=True)
class Reverted:
    """Everything above the ancestor is no longer on the canonical chain. reverted: newest first."""

    ancestor: BlockRef
    reverted: tuple[BlockRef, ...]


@dataclass(frozen=True, slots=True)
class NeedBlock:
    """The branch does not reach what we hold yet; its next older block has this hash and number."""

    ref: BlockRef


Step = Committed | Reverted


class Window:
    """The contiguous headers we hold, from finality to the tip. Look-ups by hash are O(1)."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        for older, newer in itertools.pairwise(blocks):
            if newer.parent_hash != older.hash or newer.number != older.number + 1:
                raise ValueError(f"headers {older.number} and {newer.number} are not parent and child")
        self._blocks = list(blocks)
        self._height = {block.hash: block.number for block in blocks}

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def blocks(self) -> Sequence[Block]:
        return self._blocks

    @property
    def tip(self) -> Block:
        return self._blocks[-1]

    @property
    def oldest(self) -> Block:
        return self._blocks[0]

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._height

    def at(self, number: int) -> Block | None:
        index = number - self._blocks[0].number if self._blocks else -1
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def above(self, number: int) -> tuple[BlockRef, ...]:
        """Refs above this height, newest first."""
        return tuple(block.ref for block in reversed(self._blocks) if block.number > number)

    def extend(self, block: Block) -> None:
        if self._blocks and block.parent_hash != self.tip.hash:
            raise ValueError(f"block {block.number} does not extend the tip {self.tip.number}")
        self._blocks.append(block)
        self._height[block.hash] = block.number

    def revert_to(self, ancestor: BlockRef) -> None:
        while self._blocks and self.tip.number > ancestor.number:
            del self._height[self._blocks.pop().hash]

    def forget_below(self, number: int) -> None:
        """Drop headers below a final height; the tip always stays."""
        keep = min(max(number - self._blocks[0].number, 0), len(self._blocks) - 1) if self._blocks else 0
        for block in self._blocks[:keep]:
            del self._height[block.hash]
        del self._blocks[:keep]


class Samples(Window):
    """Headers that were looked at one by one, with gaps between them: from the newest final one to the tip.

    Nothing here tells whether they are still canonical: whoever looks asks the node for each by its height.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__(())
        for block in blocks:
            self.extend(block)

    def at(self, number: int) -> Block | None:
        return next((block for block in self._blocks if block.number == number), None)

    def extend(self, block: Block) -> None:
        if self._blocks and block.number <= self.tip.number:
            raise ValueError(f"block {block.number} is not above the tip {self.tip.number}")
        self._blocks.append(block)
        self._height[block.hash] = block.number

    def newest_at_most(self, number: int) -> int:
        """Height of the newest sample that is not above this; 0 when all are."""
        return max((block.number for block in self._blocks if block.number <= number), default=0)

    def forget_below(self, number: int) -> None:
        while len(self._blocks) > 1 and self.oldest.number < number:
            del self._height[self._blocks.pop(0).hash]


def reconcile(window: Window, branch: Sequence[Block]) -> tuple[Step, ...] | NeedBlock:
    """What to do about a head: the steps that lead from our tip to the end of its branch.

    branch: consecutive blocks, oldest first; its last is the head. Five cases:
      known    the head is a block we hold: nothing to do (an older head is a lagging node, not a reorg)
      late     the head is below our oldest header: nothing to do, what lags that far speaks of nothing we hold
      extends  the branch starts on our tip: commit it
      gap      the branch starts above anything we hold: NeedBlock names its parent
      fork     the branch starts on a block below our tip: revert to that block, then commit the branch
    Raises UnrecoverableReorg when a branch that reaches our heights passes below our oldest header without touching it.
    """
    head, first = branch[-1], branch[0]
    if head.hash in window:
        return ()
    if first.parent_hash not in window:
        if head.number < window.oldest.number:
            return ()
        if first.number <= window.oldest.number:
            raise UnrecoverableReorg(
                f"the chain at {head.number} (0x{head.hash.hex()}) does not contain our oldest kept block "
                f"{window.oldest.number} (0x{window.oldest.hash.hex()}), which was final or the start of the index; "
                "check the node, and if it is right, re-index with `keeper repair`, which keeps the journal"
            )
        return NeedBlock(BlockRef(first.number - 1, first.parent_hash))
    commits = tuple(Committed(block, tip=block is head) for block in branch)
    if first.parent_hash == window.tip.hash:
        return commits
    ancestor = BlockRef(first.number - 1, first.parent_hash)
    return (Reverted(ancestor, window.above(ancestor.number)), *commits)

"""steps_to(): from an announced head to the steps that lead there, whatever was missed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from keeper.core.chain import Committed, Reverted, Window
from keeper.core.errors import HeadRefused, RpcUnavailable, StateUnavailable
from keeper.core.types import Block, BlockRef
from keeper.indexer.follow import HEADERS_AT_ONCE, MESSAGES_AT_ONCE, canonical_ancestor, steps_to
from tests.unit.test_chain import chain


class Node:
    """Serves one canonical chain by height and any given block by hash."""

    def __init__(self, canonical: list[Block], *others: Block) -> None:
        self.by_number = {block.number: block for block in canonical}
        self.by_hash = {block.hash: block for block in (*canonical, *others)}
        self.asked: list[object] = []

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        self.asked.append(block_hash)
        return self.by_hash.get(block_hash)

    async def block_by_number(self, number: int | str) -> Block | None:
        assert isinstance(number, int)
        self.asked.append(number)
        return self.by_number.get(number)

    async def blocks_by_number(self, numbers: Sequence[int]) -> list[Block | None]:
        return [await self.block_by_number(number) for number in numbers]


class Slow(Node):
    """Takes a while for each message, and fails at one of them."""

    def __init__(self, canonical: list[Block], fails_at: int | None = None) -> None:
        super().__init__(canonical)
        self.fails_at = fails_at
        self.sizes: list[int] = []
        self.answering = self.most = 0

    async def blocks_by_number(self, numbers: Sequence[int]) -> list[Block | None]:
        self.sizes.append(len(numbers))
        self.answering += 1
        self.most = max(self.most, self.answering)
        try:
            await asyncio.sleep(0.01 if self.fails_at is None or self.fails_at in numbers else 60)
            if self.fails_at in numbers:
                raise RpcUnavailable("cut off")
            return await super().blocks_by_number(numbers)
        finally:
            self.answering -= 1


async def test_a_child_of_the_tip_needs_no_request():
    blocks = chain(4)
    node = Node(blocks)
    assert await steps_to(Window(blocks[:4]), blocks[4], node) == (Committed(blocks[4], tip=True),)
    assert node.asked == []


async def test_a_gap_is_fetched_by_height_and_proven_by_parent_hash():
    blocks = chain(6)
    node = Node(blocks)
    steps = await steps_to(Window(blocks[:3]), blocks[6], node)
    assert [step.block for step in steps] == blocks[3:]
    assert node.asked == [103, 104, 105]


async def test_a_long_gap_is_fetched_in_few_messages_a_few_at_a_time():
    """Where finality is a quarter of an hour behind, thousands of blocks are missed at every longer pause. One request
    each, all at once, they waited for a free connection until their time was over, in every attempt anew."""
    blocks = chain(3_600)
    node = Slow(blocks)
    steps = await steps_to(Window(blocks[:1]), blocks[-1], node)
    assert [step.block for step in steps] == blocks[1:]
    assert (max(node.sizes), len(node.sizes), node.most) == (HEADERS_AT_ONCE, 36, MESSAGES_AT_ONCE)


async def test_once_a_part_of_a_gap_failed_nobody_goes_on_asking_for_the_rest():
    blocks = chain(1_000)
    node = Slow(blocks, fails_at=blocks[150].number)
    with pytest.raises(RpcUnavailable, match="cut off"):
        await steps_to(Window(blocks[:1]), blocks[-1], node)
    assert node.answering == 0
    assert len(node.sizes) <= MESSAGES_AT_ONCE + 1  # the one that was next in line


async def test_heights_that_belong_to_another_branch_are_not_believed():
    """While the gap was fetched the node moved to another branch: the head's own ancestors are asked for by hash."""
    ours = chain(6)
    theirs = chain(4, root=ours[2], salt="b")
    node = Node(theirs, *ours)
    steps = await steps_to(Window(ours[:3]), ours[6], node)
    assert [step.block for step in steps] == ours[3:]


async def test_a_fork_below_the_tip_is_walked_back_to_the_common_ancestor():
    ours = chain(5)
    theirs = chain(5, root=ours[2], salt="b")[1:]
    steps = await steps_to(Window(ours), theirs[-1], Node([*ours[:3], *theirs]))
    assert steps[0] == Reverted(ours[2].ref, Window(ours).above(102))
    assert [step.block for step in steps[1:]] == theirs


async def test_a_missing_ancestor_is_worth_another_try():
    blocks = chain(4)
    with pytest.raises(StateUnavailable, match="asking again"):
        await steps_to(Window(blocks[:2]), blocks[4], Node([]))


async def test_after_an_outage_the_newest_block_both_have_is_found():
    ours = chain(5)
    theirs = chain(9, root=ours[3], salt="b")
    assert await canonical_ancestor(Window(ours), Node([*ours[:3], *theirs])) == ours[3].ref


async def test_after_an_outage_a_node_may_have_other_blocks_at_all_our_heights():
    assert await canonical_ancestor(Window(chain(5)[1:]), Node(chain(9, salt="b"))) is None


async def test_after_an_outage_a_node_that_does_not_reach_our_oldest_block_proves_nothing():
    """It is late; what it will have at that height is told once it is there."""
    blocks = chain(9)
    with pytest.raises(StateUnavailable, match="no block at 107"):
        await canonical_ancestor(Window(blocks[7:]), Node(blocks[:5]))


async def test_time_that_goes_back_and_heights_that_jump_are_lies():
    """Whatever the hashes say: no chain counts or dates its blocks like that."""
    blocks = chain(4)
    for wrong in (
        replace(blocks[4], timestamp=blocks[3].timestamp - 1),
        replace(blocks[4], ref=BlockRef(200, b"h" * 32)),
    ):
        with pytest.raises(HeadRefused) as refused:
            await steps_to(Window(blocks[:4]), wrong, Node(blocks))
        assert refused.value.head_hash == wrong.hash
    same_second = replace(blocks[4], timestamp=blocks[3].timestamp)
    assert await steps_to(Window(blocks[:4]), same_second, Node(blocks)) == (Committed(same_second, tip=True),)


async def test_a_head_that_is_absurdly_far_is_not_walked_to():
    """A node may announce any height; asking for all blocks in between would never end."""
    blocks = chain(2)
    node = Node(blocks)
    far = replace(blocks[2], ref=BlockRef(2**60, b"h" * 32))
    with pytest.raises(HeadRefused, match="check whether the node tells the truth"):
        await steps_to(Window(blocks), far, node)
    assert node.asked == []

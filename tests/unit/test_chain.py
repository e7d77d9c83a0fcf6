"""reconcile(): every way a head can stand against the blocks we hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.chain import Committed, NeedBlock, Reverted, Samples, Window, reconcile
from keeper.core.errors import UnrecoverableReorg
from keeper.core.types import Block, BlockRef


def child(parent: Block, salt: str = "") -> Block:
    digest = hashlib.sha256(parent.hash + salt.encode()).digest()
    return Block(BlockRef(parent.number + 1, digest), parent.hash, parent.timestamp + 12)


GENESIS = Block(BlockRef(100, b"\x01" * 32), b"\x00" * 32, 1_000)


def chain(length: int, *, root: Block = GENESIS, salt: str = "") -> list[Block]:
    blocks = [root]
    for _ in range(length):
        blocks.append(child(blocks[-1], salt))
    return blocks


def test_a_known_head_changes_nothing():
    """A lagging endpoint that repeats an old head is not a reorg."""
    blocks = chain(3)
    assert all(reconcile(Window(blocks), [block]) == () for block in blocks)


def test_a_child_of_the_tip_is_committed():
    blocks = chain(3)
    new = child(blocks[-1])
    assert reconcile(Window(blocks), [new]) == (Committed(new, tip=True),)


def test_a_gap_asks_for_the_parent_by_hash():
    blocks = chain(5)
    assert reconcile(Window(blocks[:3]), [blocks[5]]) == NeedBlock(blocks[4].ref)


def test_a_filled_gap_commits_in_order_and_only_the_last_is_the_tip():
    blocks = chain(5)
    steps = reconcile(Window(blocks[:3]), blocks[3:])
    assert steps == tuple(Committed(block, tip=block is blocks[5]) for block in blocks[3:])


def test_a_fork_reverts_to_the_common_ancestor_first():
    ours = chain(4)
    theirs = chain(3, root=ours[2], salt="b")[1:]
    steps = reconcile(Window(ours), theirs)
    assert steps[0] == Reverted(ours[2].ref, (ours[4].ref, ours[3].ref))
    assert [step.block for step in steps[1:]] == theirs


def test_a_shorter_branch_is_a_reorg_too():
    """Heights decide nothing: a node may well switch to a branch with fewer blocks."""
    ours = chain(5)
    theirs = [child(ours[2], "b")]
    assert reconcile(Window(ours), theirs) == (
        Reverted(ours[2].ref, Window(ours).above(102)),
        Committed(theirs[0], True),
    )


def test_a_branch_that_passes_below_our_oldest_header_is_unrecoverable():
    ours = chain(4)
    other_root = Block(BlockRef(100, b"\x02" * 32), b"\x00" * 32, 1_000)
    with pytest.raises(UnrecoverableReorg, match="re-index"):
        reconcile(Window(ours), chain(4, root=other_root))


def test_a_head_below_our_oldest_header_changes_nothing():
    """Where finality follows two blocks behind the head, an honest endpoint three blocks late is below all we hold."""
    blocks = chain(9)
    window = Window(blocks)
    window.forget_below(blocks[7].number)
    assert all(reconcile(window, [block]) == () for block in blocks)


def test_a_branch_at_the_height_of_our_oldest_header_is_unrecoverable():
    """That height was final: whoever has another block there is of another chain, however short."""
    blocks = chain(9)
    window = Window(blocks)
    window.forget_below(blocks[7].number)
    with pytest.raises(UnrecoverableReorg):
        reconcile(window, [child(blocks[6], "b")])


def test_a_window_of_unlinked_headers_is_refused():
    blocks = chain(3)
    with pytest.raises(ValueError, match="parent and child"):
        Window([blocks[0], blocks[2]])
    with pytest.raises(ValueError, match="parent and child"):
        Window([GENESIS, child(Block(BlockRef(GENESIS.number, b"\x02" * 32), b"\x00" * 32, 1_000))])


@dataclass
class Node:
    """A node whose canonical chain moves at will, and which serves any block it ever had by hash."""

    canonical: list[Block] = field(default_factory=lambda: [GENESIS])
    known: dict[bytes, Block] = field(default_factory=lambda: {GENESIS.hash: GENESIS})
    forks: int = 0

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.canonical.append(child(self.canonical[-1], f"fork{self.forks}"))
            self.known[self.canonical[-1].hash] = self.canonical[-1]

    def reorg(self, depth: int, length: int) -> None:
        self.forks += 1
        del self.canonical[max(1, len(self.canonical) - depth) :]
        self.grow(length)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("reorg"), st.integers(1, 8), st.integers(1, 9)),
        st.tuples(st.just("see"), st.integers(0, 6), st.just(0)),
    ),
    max_size=40,
)


@given(moves)
def test_following_any_history_ends_on_the_canonical_chain(history):
    """Whatever a node did, and whichever heads were missed or stale, the window ends equal to the canonical chain."""
    node = Node()
    window = Window([GENESIS])
    for move, a, b in [*history, ("grow", 1, 0), ("see", 0, 0)]:
        if move == "grow":
            node.grow(a)
        elif move == "reorg":
            node.reorg(a, b)
        else:
            head = node.canonical[max(0, len(node.canonical) - 1 - a)]
            branch = [head]
            while isinstance(answer := reconcile(window, branch), NeedBlock):
                branch.insert(0, node.known[answer.ref.hash])
            for step in answer:
                if isinstance(step, Reverted):
                    assert step.ancestor.hash in window
                    window.revert_to(step.ancestor)
                else:
                    window.extend(step.block)
            assert head.hash in window
    assert list(window.blocks) == node.canonical
    window.forget_below(window.tip.number + 10)
    assert list(window.blocks) == [node.canonical[-1]]


def test_samples_may_have_gaps_and_keep_a_final_one():
    """The newest at or below the final height stays, to be reverted to."""
    blocks = chain(30)
    samples = Samples([blocks[3], blocks[10]])
    samples.extend(blocks[20])
    assert samples.at(blocks[10].number) == blocks[10]
    assert samples.at(blocks[11].number) is None
    final = samples.newest_at_most(blocks[15].number)
    assert final == blocks[10].number
    samples.forget_below(final)
    assert samples.blocks == [blocks[10], blocks[20]]
    assert samples.newest_at_most(blocks[2].number) == 0
    samples.revert_to(blocks[10].ref)
    assert (samples.tip, blocks[20].hash in samples) == (blocks[10], False)
    with pytest.raises(ValueError, match="not above the tip"):
        samples.extend(blocks[10])

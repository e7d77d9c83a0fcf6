"""Receipts that a node makes up, and counts of ours that contradict true ones, through the executor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keeper.core.records import Intent, IntentStatus
from keeper.executor.lifecycle import is_spent, nonce_of
from tests.support.model_chain import MadeUp
from tests.support.model_pipeline import Pipeline


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Everything is approved; the liquidation of position 2 waits in the pool."""
    found = Pipeline()
    found.chain.mine(opened=[1])
    found.follow()
    follow(found, 3)
    found.chain.mine(opened=[2], at_most=0)
    found.follow()
    yield found
    found.close()


def follow(pipeline: Pipeline, blocks: int, at_most: int = 1000) -> None:
    for _ in range(blocks):
        pipeline.chain.mine(at_most=at_most)
        pipeline.follow()


def of(pipeline: Pipeline, position: int) -> Intent:
    [found] = [one for one in pipeline.store.journal.values() if one.position == f"model:{position}"]
    return found


@pytest.mark.parametrize("miscounted", [0, None])
@pytest.mark.parametrize("lie", [MadeUp(), MadeUp(succeeded=False), MadeUp(below=True)])
def test_a_receipt_that_was_made_up_is_not_believed(pipeline: Pipeline, lie: MadeUp, miscounted: int | None) -> None:
    """Be the count of ours true or withheld, and its block below all headers. What was sent is mined, and accounted for
    once; nothing else is sent for the position."""
    chain = pipeline.chain
    chain.made_up, chain.miscounted = lie, miscounted
    follow(pipeline, 3, at_most=0)
    waiting = of(pipeline, 2)
    assert not is_spent(waiting)
    assert nonce_of(waiting) == chain.tip.after.nonce
    chain.made_up, chain.miscounted = None, 0
    follow(pipeline, 4)
    done = of(pipeline, 2)
    assert done.status is IntentStatus.CONFIRMED
    assert done.included_hash in {block.block.hash for block in chain.blocks}
    assert chain.tip.after.open == set()


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_count_that_is_too_low_sends_nothing_twice(pipeline: Pipeline, is_ours: bool) -> None:
    """What was mined is open again for that block, and found by its receipt in the next; of what another key signed the
    count of our account says nothing at all."""
    pipeline.executor._watch._has_signed = lambda raw: is_ours
    follow(pipeline, 1)
    before, chain = of(pipeline, 2), pipeline.chain
    assert before.status is IntentStatus.INCLUDED
    chain.miscounted = -1
    follow(pipeline, 1)
    assert is_spent(of(pipeline, 2)) is not is_ours
    chain.miscounted = 0
    follow(pipeline, 3)
    after = of(pipeline, 2)
    assert (after.status, after.tx_hash, after.included_hash) == (
        IntentStatus.CONFIRMED,
        before.tx_hash,
        before.included_hash,
    )
    assert chain.pool == {}
    assert {m.transaction.nonce for b in chain.blocks for m in b.mined} == set(range(chain.tip.after.nonce))

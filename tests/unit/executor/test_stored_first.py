"""The node simulates while the disk stores the block; what follows from it waits until the block is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from keeper.executor.ports import Opportunity
from tests.support.model_pipeline import Pipeline


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    made.chain.mine(opened=[1])
    made.follow(act=False)
    yield made
    made.close()


def act(pipeline: Pipeline, stored: asyncio.Event) -> asyncio.Task[None]:
    tip = pipeline.chain.tip.block
    venue = pipeline.venue(tip)
    opportunities = [Opportunity(venue, key) for key in venue.book.positions]
    return asyncio.create_task(pipeline.executor.act(tip, opportunities, [venue], tip.timestamp + 12, stored))


def test_nothing_is_journalled_or_sent_before_the_block_is_stored(pipeline: Pipeline) -> None:
    async def story() -> None:
        stored = asyncio.Event()
        acting = act(pipeline, stored)
        await asyncio.sleep(0.05)
        assert not acting.done()
        assert (pipeline.store.journal, pipeline.chain.submitted) == ({}, [])
        stored.set()
        await acting
        assert {intent.kind for intent in pipeline.store.journal.values()} == {"approval", "liquidation"}
        assert len(pipeline.chain.submitted) == 2

    pipeline.loop.run_until_complete(story())


def test_a_block_that_cannot_be_stored_has_no_consequences(pipeline: Pipeline) -> None:
    """Whoever stores it cancels what was to follow."""

    async def story() -> None:
        acting = act(pipeline, asyncio.Event())
        await asyncio.sleep(0.05)
        acting.cancel()
        await asyncio.wait([acting])
        assert acting.cancelled()
        assert (pipeline.store.journal, pipeline.chain.submitted) == ({}, [])

    pipeline.loop.run_until_complete(story())
    pipeline.chain.mine()
    pipeline.follow()
    assert len(pipeline.chain.submitted) == 2

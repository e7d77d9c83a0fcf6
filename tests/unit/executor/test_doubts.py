"""What is not believed is held: for some blocks where others contradict, for one where a price jumped."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from keeper.core.types import Block, Price
from keeper.executor.choose import Chosen
from keeper.executor.doubts import Doubts, jumps, without
from keeper.executor.ports import Opinion, Opinions, Opportunity, Venue
from keeper.executor.trial import Outcome, Trial
from tests.support.model_chain import COLLATERAL, TOKEN, ModelProtocol, book_at, key_of
from tests.support.model_pipeline import Pipeline

NO = Opinion(contradicts="they say it is healthy")
YES = Opinion(confirms=True)


@dataclass
class Says:
    """An endpoint with an opinion on every position; None: it does not answer in time."""

    opinion: Opinion | None
    asked: list[int] = field(default_factory=list)

    def ask(self, block: Block, opportunities: Sequence[Opportunity]) -> Awaitable[Opinions] | None:
        async def answer() -> Opinions:
            return lambda one: self.opinion

        self.asked.append(len(opportunities))
        return answer()


def sent_after(second: Says, blocks: int) -> list[bool]:
    """Whether anything was submitted by the end of each block, a position being open from the first."""
    pipeline, found = Pipeline(second=second), []
    opened: Sequence[int] = [1]
    for _ in range(blocks):
        pipeline.chain.mine(opened=opened)
        pipeline.follow()
        opened = ()
        liquidates = [i for i in pipeline.store.journal.values() if i.kind == "liquidation"]
        found.append(bool(liquidates))
    pipeline.close()
    return found


def test_what_another_endpoint_confirms_is_sent_at_once():
    second = Says(YES)
    assert sent_after(second, 1) == [True]
    assert second.asked == [1]


def test_who_does_not_answer_holds_nothing():
    assert sent_after(Says(None), 1) == [True]


def test_a_contradiction_holds_a_position_for_some_blocks_and_not_for_good():
    assert sent_after(Says(NO), 4) == [False, False, False, True]


def test_a_contradiction_that_ends_is_forgotten():
    """The count begins anew."""
    second = Says(NO)
    pipeline = Pipeline(second=second)
    pipeline.chain.mine(opened=[1])
    pipeline.follow()
    pipeline.chain.mine()
    pipeline.follow()
    second.opinion = YES
    pipeline.chain.mine()
    pipeline.follow()
    second.opinion = NO
    for _ in range(3):
        pipeline.chain.mine(opened=[2])
        pipeline.follow()
    causes = {intent.cause for intent in pipeline.store.journal.values() if intent.kind == "liquidation"}
    assert causes == {"liquidate:model:1"}
    pipeline.close()


# --- prices


@pytest.mark.parametrize(
    ("before", "now", "jumped"),
    [(100, 200, False), (100, 201, True), (200, 100, False), (201, 100, True), (100, 100, False), (0, 1, True)],
)
def test_a_jump_is_relative_to_the_lower_price(before: int, now: int, jumped: bool):
    found = jumps({TOKEN: Price(before, 8)}, {TOKEN: Price(now, 8)}, 10_000)
    assert found == (frozenset({TOKEN}) if jumped else frozenset())


def test_a_price_that_is_new_did_not_jump():
    assert jumps({}, {TOKEN: Price(1, 8)}, 1) == frozenset()


def priced(value: int) -> Venue:
    book = book_at(Pipeline().chain.tip.after)
    book.prices = {**book.prices, COLLATERAL: Price(value, 8)}
    return Venue(cast(Any, ModelProtocol()), book)


@dataclass(frozen=True)
class Plan:
    collateral_asset: bytes = COLLATERAL
    debt_asset: bytes = TOKEN


async def refused(doubts: Doubts, venue: Venue, opinion: Opinion | None = None, plan: Plan | None = None) -> list[str]:
    doubts.see_prices([venue])
    chosen = Chosen(Opportunity(venue, key_of(1)), cast(Any, plan or Plan()), 0)
    asked = None if opinion is None else Says(opinion).ask(cast(Any, None), [chosen.opportunity])
    return [one.skip.code for one in await doubts.about([chosen], asked)]


async def test_a_price_that_jumped_is_acted_on_once_the_next_block_has_it_too():
    doubts = Doubts(jump_bps=10_000)
    assert await refused(doubts, priced(100)) == []
    assert await refused(doubts, priced(1_000)) == ["price_jump"]
    assert await refused(doubts, priced(1_001)) == []
    assert await refused(doubts, priced(5)) == ["price_jump"]


async def test_another_endpoint_confirms_it_at_once():
    doubts = Doubts(jump_bps=10_000)
    await refused(doubts, priced(100))
    assert await refused(doubts, priced(1_000), YES) == []


async def test_a_jump_concerns_those_alone_who_hold_or_owe_that_asset():
    """Whoever can move the price of one market must not be able to stop the others."""
    doubts = Doubts(jump_bps=10_000)
    await refused(doubts, priced(100))
    assert await refused(doubts, priced(1_000), plan=Plan(collateral_asset=b"\x01" * 20)) == []


def test_what_was_made_ready_leaves_at_once_only_where_it_is_believed():
    """Before the block's prices were seen otherwise: others decide, else how far the prices moved."""
    doubts, one, plan = Doubts(jump_bps=10_000), Opportunity(priced(1_000), key_of(1)), cast(Any, Plan())
    assert doubts.believes(one, plan, None)
    doubts.see_prices([priced(900)])
    assert doubts.believes(one, plan, None)
    assert not doubts.believes(one, plan, lambda _: NO)
    assert doubts.believes(one, plan, lambda _: None)
    doubts.see_prices([priced(100)])
    assert not doubts.believes(one, plan, None)
    assert doubts.believes(one, plan, lambda _: YES)


# --- trials


def test_what_is_held_leaves_the_trial_and_the_batches_that_it_was_part_of():
    chosen = [Chosen(Opportunity(priced(1), key_of(n)), cast(Any, Plan()), 0) for n in range(5)]
    trial = Trial([], [], chosen, [(0, 1), (2, 4)])
    outcome = Outcome([], [], cast(Any, ["v0", "v1", "v2", "v3", "v4"]), True, cast(Any, ["b01", "b24"]))
    tried, found = without(trial, outcome, {chosen[1].opportunity.cause})
    assert [one.opportunity.cause for one in tried.chosen] == [f"liquidate:model:{n}" for n in (0, 2, 3, 4)]
    assert found.chosen == ["v0", "v2", "v3", "v4"]
    assert (tried.batches, found.batches) == ([(1, 3)], ["b24"])
    assert without(trial, outcome, ()) == (trial, outcome)

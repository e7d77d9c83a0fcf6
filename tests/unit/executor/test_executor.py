"""The executor as a whole, on the model chain: what it refuses, how often it says so, and what never holds it up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from keeper.core.errors import ConfigError, KeeperError
from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import TxCall
from keeper.executor.breakers import outcome_of
from keeper.executor.compose import draft_order
from keeper.executor.executor import Executor
from keeper.executor.ports import Mode, Opportunity, Request
from tests.support.model_chain import GWEI, ModelChain, key_of
from tests.support.model_pipeline import SETTINGS, SIGNER, IntentStore, Pipeline


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    made.close()


def liquidations(pipeline: Pipeline) -> list[Intent]:
    return [intent for intent in pipeline.store.journal.values() if intent.kind == "liquidation"]


def events(pipeline: Pipeline, *, opened: Sequence[int] = (), blocks: int = 1, at_most: int = 1000) -> list[Any]:
    """What is logged while blocks go by, in the first of which positions open."""
    with capture_logs() as logs:
        for _ in range(blocks):
            pipeline.chain.mine(opened=opened, at_most=at_most)
            pipeline.follow()
            opened = ()
    return cast("list[Any]", logs)


def codes(logs: Sequence[Any]) -> list[str]:
    return [entry["code"] for entry in logs if entry["event"] == "liquidation_skipped"]


def test_live_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        Executor(cast(Store, IntentStore()), ModelChain(b""), cast(Any, None), SETTINGS, lambda: 0.0)


def test_a_dry_run_needs_to_know_the_wallet() -> None:
    settings = replace(SETTINGS, mode=Mode.DRY_RUN)
    with pytest.raises(ConfigError, match="no wallet is known"):
        Executor(cast(Store, IntentStore()), ModelChain(b""), cast(Any, None), settings, lambda: 0.0)


def test_off_asks_nothing_and_does_nothing() -> None:
    pipeline = Pipeline(replace(SETTINGS, mode=Mode.OFF))
    logs = events(pipeline, opened=[1], blocks=3)
    assert (logs, pipeline.store.journal, pipeline.chain.submitted) == ([], {}, [])
    assert pipeline.executor.questions(pipeline.seen[-1].ref, []).requests == ()


def test_a_dry_run_says_once_what_it_would_do() -> None:
    pipeline = Pipeline(replace(SETTINGS, mode=Mode.DRY_RUN))
    logs = events(pipeline, opened=[1, 2], blocks=3)
    assert [entry["event"] for entry in logs].count("liquidation_simulated") == 2
    assert (pipeline.store.journal, pipeline.chain.submitted) == ({}, [])


def test_the_approval_goes_first_and_once(pipeline: Pipeline) -> None:
    events(pipeline, opened=[1, 2])
    first, *others = sorted(pipeline.store.journal.values(), key=lambda i: i.attempts[0].nonce)
    assert (first.kind, [i.kind for i in others]) == ("approval", ["liquidation"] * 2)
    events(pipeline, opened=[3], blocks=4)
    assert [i.kind for i in pipeline.store.journal.values()].count("approval") == 1
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.CONFIRMED}


def test_where_calls_cannot_be_simulated_in_sequence_the_approval_is_mined_first(pipeline: Pipeline) -> None:
    pipeline.chain.in_sequence = False
    logs = events(pipeline, opened=[1])
    assert codes(logs) == ["awaiting_approval"]
    assert [i.kind for i in pipeline.store.journal.values()] == ["approval"]
    events(pipeline, blocks=5)
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.CONFIRMED}
    assert pipeline.chain.tip.after.open == set()


def test_a_reason_for_doing_nothing_is_told_once_until_it_changes(pipeline: Pipeline) -> None:
    pipeline.chain.tip.after.tokens = 0
    assert codes(events(pipeline, opened=[1], blocks=4)) == ["no_balance"]
    pipeline.chain.tip.after.native_wei = 10**12
    pipeline.chain.tip.after.tokens = 100
    assert codes(events(pipeline, blocks=4)) == ["insufficient_gas_money"]
    assert pipeline.chain.submitted == []


def test_gas_decides_what_is_profitable(pipeline: Pipeline) -> None:
    """Position 1 brings $1,001; 200,000 gas at 400 gwei cost $160 at $2,000 an ether, so $900 remain out of reach."""
    pipeline.settings = replace(SETTINGS, min_profit=cast(Any, SETTINGS.min_profit) * 900)
    pipeline.restart()
    pipeline.chain.base_fee_wei = 400 * GWEI
    assert codes(events(pipeline, opened=[1], blocks=2)) == ["unprofitable"]
    pipeline.chain.base_fee_wei = 100 * GWEI
    events(pipeline, blocks=2)
    assert [i.status for i in liquidations(pipeline)] == [IntentStatus.INCLUDED]


def test_nothing_is_sent_above_the_fee_cap(pipeline: Pipeline) -> None:
    pipeline.chain.base_fee_wei = 600 * GWEI
    logs = events(pipeline, opened=[1], blocks=2)
    assert {entry["event"] for entry in logs} == {"gas_too_expensive", "liquidation_skipped"}
    assert codes(logs) == ["fee_above_cap"]
    assert pipeline.chain.submitted == []


def test_what_was_refused_can_be_asked(pipeline: Pipeline) -> None:
    pipeline.chain.tip.after.tokens = 0
    events(pipeline, opened=[1])
    opportunity = Opportunity(pipeline.venue(pipeline.chain.tip.block), key_of(1))
    refused = pipeline.executor.refusal(opportunity.cause)
    assert refused is not None
    assert refused.code == "no_balance"
    assert pipeline.executor.refusal("liquidate:nobody") is None


def test_an_order_is_sent_whatever_it_brings_and_tended_like_the_rest(pipeline: Pipeline) -> None:
    """It needs no profit, and counts for no breaker; it is journalled first, and mined once."""
    pipeline.follow()
    tip = pipeline.chain.tip.block
    order = draft_order("allow", TxCall(b"\x77" * 20, b"\x01"), 60_000)
    pipeline.loop.run_until_complete(pipeline.executor.act(tip, (), (), tip.timestamp + 12, orders=[order]))
    [intent] = pipeline.store.journal.values()
    assert (intent.kind, intent.cause, intent.status) == ("order", "allow", IntentStatus.BROADCAST)
    assert pipeline.unjournalled == []
    events(pipeline, blocks=3)
    [intent] = pipeline.store.journal.values()
    assert (intent.status, len(intent.attempts)) == (IntentStatus.CONFIRMED, 1)
    assert outcome_of(intent) is None


def test_without_a_price_for_gas_nothing_is_profitable() -> None:
    pipeline = Pipeline(replace(SETTINGS, native_asset=None))
    assert codes(events(pipeline, opened=[1], blocks=2)) == ["gas_unpriced"]


def test_no_more_are_on_their_way_than_allowed(pipeline: Pipeline) -> None:
    """Five, the approval included; the others follow as these are mined."""
    events(pipeline, opened=range(1, 9), at_most=0)
    assert len(liquidations(pipeline)) <= 5
    events(pipeline, blocks=8)
    assert len(liquidations(pipeline)) == 8
    assert pipeline.chain.tip.after.open == set()


def test_a_cause_that_failed_on_chain_rests_for_some_blocks(pipeline: Pipeline) -> None:
    events(pipeline, opened=[1], blocks=2)
    pipeline.chain.mine(opened=[2], at_most=0)
    pipeline.follow()
    pipeline.chain.mine(closed=[2])  # somebody else was first in the very block
    pipeline.follow()
    failed_at = pipeline.chain.tip.block.number
    [failed] = [i for i in liquidations(pipeline) if i.status is IntentStatus.FAILED]
    assert failed.reason == "reverted: healthy, since something earlier in its block"
    events(pipeline, opened=[2], blocks=4)
    assert len(liquidations(pipeline)) == 2
    events(pipeline, blocks=3)
    assert len(liquidations(pipeline)) == 3
    again = max(liquidations(pipeline), key=lambda i: i.judged_number)
    assert again.judged_number == failed_at + SETTINGS.cooldown_blocks


def test_a_simulation_that_hangs_costs_the_deadline_and_nothing_else(pipeline: Pipeline) -> None:
    pipeline.settings = replace(SETTINGS, deadline_s=0.05)
    pipeline.restart()
    answer = pipeline.chain.batch

    async def hang(requests: Sequence[Request]) -> list[Any]:
        if requests[0][0] == "eth_simulateV1":
            await asyncio.sleep(60)
        return await answer(requests)

    pipeline.chain.batch = hang  # type: ignore[method-assign] # the node stops answering
    logs = events(pipeline, opened=[1])
    assert "simulation_timed_out" in [entry["event"] for entry in logs]
    assert codes(logs) == ["not_simulated"]
    pipeline.chain.batch = answer  # type: ignore[method-assign]
    events(pipeline, blocks=2)
    assert pipeline.chain.tip.after.open == set()


class SlowSender:
    """Answers when told to; transactions are taken at once."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.answer = asyncio.Event()
        self.calls = 0

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        self.calls += 1
        outcomes = await self.pipeline.chain.submit_many(raws)
        await self.answer.wait()
        return outcomes


def test_a_submission_that_hangs_is_not_repeated_and_noted_when_it_is_answered(pipeline: Pipeline) -> None:
    pipeline.settings = replace(SETTINGS, deadline_s=0.05)
    slow = SlowSender(pipeline)
    pipeline.executor = Executor(
        cast(Store, pipeline.store), pipeline.chain, slow, pipeline.settings, lambda: 0.0, signer=SIGNER
    )
    events(pipeline, opened=[1], at_most=0)
    events(pipeline, blocks=2, at_most=0)
    assert slow.calls == 1
    assert {i.attempts[0].status for i in pipeline.store.journal.values()} == {"broadcast"}, "the node has them"
    slow.answer.set()
    pipeline.loop.run_until_complete(asyncio.sleep(0))
    events(pipeline, blocks=3)
    assert slow.calls == 1
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.CONFIRMED}


def test_closing_waits_for_the_answer_as_long_as_the_deadline(pipeline: Pipeline) -> None:
    pipeline.settings = replace(SETTINGS, deadline_s=0.05)
    slow = SlowSender(pipeline)
    pipeline.executor = Executor(
        cast(Store, pipeline.store), pipeline.chain, slow, pipeline.settings, lambda: 0.0, signer=SIGNER
    )
    events(pipeline, opened=[1], at_most=0)
    pipeline.loop.run_until_complete(pipeline.executor.close())
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.PLANNED}
    pipeline.restart()
    events(pipeline, blocks=4)
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.CONFIRMED}


def test_a_crash_between_a_revert_and_its_intents_is_made_good_at_the_start(pipeline: Pipeline) -> None:
    """The journal says included in a block that is no longer among the stored headers."""
    events(pipeline, opened=[1], blocks=2)
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.INCLUDED}
    pipeline.chain.reorg(1, requeue=False)
    pipeline.chain.mine(at_most=0)
    del pipeline.seen[-1]
    pipeline.restart()
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.REORGED}
    events(pipeline, blocks=4)
    assert {i.status for i in pipeline.store.journal.values()} == {IntentStatus.CONFIRMED}


def test_a_gap_in_our_nonces_is_filled(pipeline: Pipeline) -> None:
    """A journal that lost an intent must not leave the others stuck for good."""
    events(pipeline, opened=[1], at_most=0)
    lost = min(pipeline.store.journal.values(), key=lambda i: i.attempts[0].nonce)
    del pipeline.store.journal[lost.id]
    pipeline.chain.pool.pop(lost.attempts[0].tx_hash)
    pipeline.chain.tip.after.allowance = 10**6
    pipeline.restart()
    logs = events(pipeline, blocks=5)
    assert "nonces_missing" in [entry["event"] for entry in logs]
    assert {i.kind for i in pipeline.store.journal.values()} == {"filler", "liquidation"}
    assert {i.status for i in liquidations(pipeline)} == {IntentStatus.CONFIRMED}


def test_positions_beyond_what_one_block_plans_are_reached_by_the_next(pipeline: Pipeline) -> None:
    """Many that are not worth it must not hide one that is: those looked at longest ago come first."""
    pipeline.settings = replace(SETTINGS, max_planned=2, max_pending=10)
    pipeline.restart()
    events(pipeline, opened=range(1, 7), blocks=6)
    assert len(liquidations(pipeline)) == 6


def test_positions_that_cannot_be_liquidated_do_not_hide_one_that_can(pipeline: Pipeline) -> None:
    """A token whose issuer froze it falls: as many of its holders as may be on their way are worth more than all
    others, and each reverts when tried out, block after block."""
    frozen = range(10, 10 + SETTINGS.max_pending)
    pipeline.chain.tip.after.frozen = frozenset(frozen)
    events(pipeline, opened=[1, *frozen], blocks=4)
    assert [intent.account for intent in liquidations(pipeline)] == [key_of(1)]
    venue = pipeline.venue(pipeline.chain.tip.block)
    refusals = [pipeline.executor.refusal(Opportunity(venue, key_of(number)).cause) for number in frozen]
    assert {refusal.code for refusal in refusals if refusal is not None} == {"would_revert"}

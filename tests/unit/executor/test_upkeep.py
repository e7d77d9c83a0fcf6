"""What waits is outbid and given up within every limit, and nothing waits for ever behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.core.records import Intent
from keeper.executor.breakers import HOUR_S, Limits
from tests.support.model_chain import GWEI
from tests.support.model_pipeline import SETTINGS, Pipeline

NO_TIP_SHARE = replace(SETTINGS, tip_share_bps=0)


@pytest.fixture
def made() -> Iterator[list[Pipeline]]:
    pipelines: list[Pipeline] = []
    yield pipelines
    for pipeline in pipelines:
        pipeline.close()


def follow(pipeline: Pipeline, blocks: int = 1, **mined: Any) -> None:
    for _ in range(blocks):
        pipeline.chain.mine(**mined)
        pipeline.follow()
        mined = {key: value for key, value in mined.items() if key == "at_most"}


def approved(made: list[Pipeline], **given: Any) -> Pipeline:
    """One whose wallet approved what it pays with more than an hour ago, where gas costs a gwei."""
    made.append(Pipeline(**given))
    made[-1].chain.base_fee_wei = GWEI
    follow(made[-1], 5, opened=[2])
    made[-1].clock += HOUR_S
    follow(made[-1])
    return made[-1]


def of_first_position(pipeline: Pipeline) -> Intent:
    [intent] = [intent for intent in pipeline.store.journal.values() if intent.position == "model:1"]
    return intent


@pytest.mark.parametrize("cured", [False, True])
def test_however_long_it_waits_no_attempt_tips_more_than_the_largest(made: list[Pipeline], cured: bool) -> None:
    """Its first offers the largest that leaves room: one is outbid, one given up, and no eighth comes on top."""
    pipeline = approved(made)
    follow(pipeline, opened=[1], at_most=0)
    follow(pipeline, at_most=0, closed=[1] if cured else [])
    follow(pipeline, 20, at_most=0)
    pipeline.chain.base_fee_wei = 20 * GWEI
    follow(pipeline, 20, at_most=0)
    intent = of_first_position(pipeline)
    tips = [attempt.max_priority_fee_wei for attempt in intent.attempts]
    assert tips[0] == SETTINGS.max_tip_wei * 64 // 81
    assert len(tips) > 1
    assert max(tips) <= SETTINGS.max_tip_wei
    assert (intent.attempts[-1].purpose == "cancel") is cured


@pytest.mark.parametrize("later_gwei", [20, 60], ids=["the next block would take it", "it is too cheap"])
def test_what_was_outbid_as_far_as_the_largest_tip_goes_can_still_be_given_up(
    made: list[Pipeline], later_gwei: int
) -> None:
    """The last eighth below each cap is kept for that: else all nonces behind it would wait."""
    pipeline = approved(made)
    follow(pipeline, opened=[1], at_most=0)
    pipeline.chain.base_fee_wei = 20 * GWEI
    follow(pipeline, 20, at_most=0)
    assert [attempt.purpose for attempt in of_first_position(pipeline).attempts] == ["act", "act"]
    pipeline.chain.base_fee_wei = later_gwei * GWEI
    follow(pipeline, 10, at_most=0)
    follow(pipeline, 2, at_most=0, closed=[1])
    assert of_first_position(pipeline).attempts[-1].purpose == "cancel"
    assert of_first_position(pipeline).attempts[-1].max_priority_fee_wei <= SETTINGS.max_tip_wei


@pytest.mark.parametrize("cured", [False, True])
def test_the_last_replacement_is_kept_until_the_base_fee_is_above_what_waits(made: list[Pipeline], cured: bool) -> None:
    """Each costs an eighth more of tip, of which there is little left: spent while the next block would take it as it
    is, it could not follow the base fee any more."""
    pipeline = approved(made)
    follow(pipeline, opened=[1], at_most=0)
    follow(pipeline, at_most=0, closed=[1] if cured else [])
    follow(pipeline, 20, at_most=0)
    assert len(of_first_position(pipeline).attempts) == (2 if cured else 1)
    pipeline.chain.base_fee_wei = 40 * GWEI
    follow(pipeline, 4, at_most=0)
    last = of_first_position(pipeline).attempts[-1]
    assert last.max_fee_wei >= 40 * GWEI + last.max_priority_fee_wei
    assert (last.purpose == "cancel") is cured


@pytest.mark.parametrize("cured", [False, True])
def test_near_the_largest_fee_a_transaction_can_be_outbid_and_given_up(made: list[Pipeline], cured: bool) -> None:
    """Six blocks of rising fees would more than double a base fee of 230 gwei, and the cap is 500: to offer all of it
    at once would leave nothing to outbid it with."""
    pipeline = approved(made, settings=NO_TIP_SHARE)
    pipeline.chain.base_fee_wei = 230 * GWEI
    follow(pipeline, opened=[1], at_most=0)
    follow(pipeline, at_most=0, closed=[1] if cured else [])
    follow(pipeline, 6, at_most=0)
    attempts = of_first_position(pipeline).attempts
    assert len(attempts) > 1
    assert (attempts[-1].purpose == "cancel") is cured
    assert max(attempt.max_fee_wei for attempt in attempts) <= SETTINGS.max_fee_wei


def test_a_replacement_waits_for_room_below_the_spend_limit(made: list[Pipeline]) -> None:
    """However long nothing is mined, what it can cost stays within the limit; it says that it waits."""
    limit = 2 * 10**15
    pipeline = approved(made, settings=NO_TIP_SHARE, limits=Limits(gas_per_hour_wei=limit))
    with capture_logs() as logs:
        follow(pipeline, opened=[1], at_most=0)
        follow(pipeline, 60, at_most=0)
    intent = of_first_position(pipeline)
    assert len(intent.attempts) > 1, "as far as there is room"
    assert max(attempt.gas_limit * attempt.max_fee_wei for attempt in intent.attempts) <= limit
    held = [entry for entry in logs if entry["event"] == "replacement_held"]
    assert {entry["log_level"] for entry in held} == {"warning"}
    assert "of 0.002 native coin" in held[0]["reason"]
    follow(pipeline, 3)
    assert 0 < (of_first_position(pipeline).gas_cost_wei or 0) <= limit
    assert pipeline.executor.guard is not None
    assert pipeline.executor.guard.trips == ()


def test_no_limit_holds_a_cancellation(made: list[Pipeline]) -> None:
    """It buys the gas of an empty transfer, and everything behind it waits for its nonce."""
    pipeline = approved(made, settings=NO_TIP_SHARE, limits=Limits(gas_per_hour_wei=2 * 10**15))
    follow(pipeline, opened=[1], at_most=0)
    follow(pipeline, 60, at_most=0)
    follow(pipeline, 2, at_most=0, closed=[1])
    follow(pipeline, 10, at_most=0)
    attempts = of_first_position(pipeline).attempts
    assert [attempt.purpose for attempt in attempts[-2:]] == ["cancel", "cancel"], "outbid in turn"


def limited_to(pipeline: Pipeline, limit_wei: int) -> None:
    pipeline.limits = Limits(gas_per_hour_wei=limit_wei)
    pipeline.restart()


def most_wei(intents: Iterable[Intent]) -> int:
    return sum(max(a.gas_limit * a.max_fee_wei for a in intent.attempts) for intent in intents)


def waiting(pipeline: Pipeline) -> list[Intent]:
    return [intent for intent in pipeline.store.journal.values() if intent.included_number is None]


def test_the_replacements_of_one_block_share_the_room(made: list[Pipeline]) -> None:
    """Gas becomes three times as dear for two that wait, and there is room for one."""
    pipeline = approved(made, settings=NO_TIP_SHARE)
    follow(pipeline, opened=[1, 10], at_most=0)
    one_wei = most_wei(waiting(pipeline)) // 2
    limited_to(pipeline, 4 * one_wei)
    pipeline.chain.base_fee_wei = 3 * GWEI
    follow(pipeline, 4, at_most=0)
    assert sorted(len(intent.attempts) for intent in waiting(pipeline)) == [1, 2]


def test_replacements_leave_less_room_for_what_is_new(made: list[Pipeline]) -> None:
    """There is room for an eighth more of what waits, or for another one; in their block, not for both."""
    pipeline = approved(made, settings=NO_TIP_SHARE)
    follow(pipeline, opened=[1], at_most=0)
    one_wei = most_wei(waiting(pipeline))
    limited_to(pipeline, 2 * one_wei + one_wei // 16)
    follow(pipeline, 2, at_most=0)
    follow(pipeline, opened=[10], at_most=0)
    [intent] = waiting(pipeline)
    assert len(intent.attempts) == 2
    assert most_wei([intent]) + one_wei > 2 * one_wei + one_wei // 16

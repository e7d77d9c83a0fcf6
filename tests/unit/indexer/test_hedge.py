"""A question that takes long is asked elsewhere too; the first answer counts, and nobody is left asking."""

from __future__ import annotations

import asyncio

import pytest

from keeper.core.errors import RpcRefused, RpcUnavailable
from keeper.indexer.rpc.hedge import hedged

AFTER_S = 0.02


class Asked:
    """Answers (or fails) after that time, and knows whether it was asked, and cancelled."""

    def __init__(self, takes_s: float, answer: str | Exception) -> None:
        self.takes_s, self.answer = takes_s, answer
        self.asked = self.cancelled = False

    async def __call__(self) -> str:
        self.asked = True
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_prompt_answer_is_all_that_is_asked() -> None:
    usual, other = Asked(0, "usual"), Asked(0, "other")
    assert await hedged(usual(), other, AFTER_S) == "usual"
    assert not other.asked


async def test_whoever_hangs_is_left() -> None:
    usual, other = Asked(60, "usual"), Asked(0, "other")
    assert await hedged(usual(), other, AFTER_S) == "other"
    assert usual.cancelled


async def test_a_late_answer_counts_while_the_other_has_none() -> None:
    usual, other = Asked(0.1, "usual"), Asked(60, "other")
    assert await hedged(usual(), other, AFTER_S) == "usual"
    assert other.cancelled


async def test_a_stand_in_that_fails_is_not_the_end() -> None:
    usual, other = Asked(0.1, "usual"), Asked(0, RpcUnavailable("down"))
    assert await hedged(usual(), other, AFTER_S) == "usual"
    assert other.asked and not usual.cancelled


async def test_a_failure_leaves_it_to_the_stand_in() -> None:
    usual, other = Asked(0.1, RpcUnavailable("down")), Asked(0.2, "other")
    assert await hedged(usual(), other, AFTER_S) == "other"


async def test_where_both_fail_the_usual_ones_error_is_told() -> None:
    with pytest.raises(RpcUnavailable, match="down"):
        await hedged(Asked(0.1, RpcUnavailable("down"))(), Asked(0.2, RpcUnavailable("too")), AFTER_S)


async def test_a_refusal_is_the_same_everywhere() -> None:
    other = Asked(60, "other")
    with pytest.raises(RpcRefused):
        await hedged(Asked(0.1, RpcRefused("reverted", 3, b""))(), other, AFTER_S)
    assert other.cancelled


async def test_nobody_may_be_there_to_stand_in() -> None:
    assert await hedged(Asked(0.1, "usual")(), lambda: None, AFTER_S) == "usual"


async def test_a_defect_is_no_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        await hedged(Asked(60, "usual")(), Asked(0, ZeroDivisionError()), AFTER_S)


async def test_nobody_goes_on_asking_for_whoever_was_cancelled() -> None:
    usual, other = Asked(60, "usual"), Asked(60, "other")
    asking = asyncio.create_task(hedged(usual(), other, AFTER_S))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])
    assert usual.cancelled and other.cancelled

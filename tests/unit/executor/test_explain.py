"""Why a transaction reverted, read from traces and replays, and how long its cause rests for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import RpcRefused, RpcUnavailable
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.executor.explain import Explainer, Failure, is_lost_race, read_trace
from keeper.executor.journal import Journal as ExecutorJournal
from keeper.executor.reverts import is_lasting
from tests.support.model_chain import POOL
from tests.support.model_pipeline import SETTINGS, SIGNER, Pipeline
from tests.support.signing import allowing
from tests.support.store_work import attempt, intent

OTHER = b"\x0e" * 20
HEALTHY = b"healthy"


def frame(to: bytes = POOL, output: bytes = b"", *calls: dict[str, Any], error: str | None = "execution reverted"):
    found: dict[str, Any] = {"to": "0x" + to.hex(), "output": "0x" + output.hex(), "calls": list(calls)}
    return found if error is None else {**found, "error": error}


def test_the_innermost_call_that_nobody_caught_is_the_cause() -> None:
    inner = frame(OTHER, HEALTHY)
    assert read_trace(frame(POOL, HEALTHY, frame(error=None), inner)) == Failure(OTHER, HEALTHY, "execution reverted")


def test_a_failure_that_was_caught_is_not_the_cause() -> None:
    """The last call succeeded, so the caller failed by itself."""
    caught = frame(OTHER, b"caught")
    assert read_trace(frame(POOL, b"own", caught, frame(error=None))) == Failure(POOL, b"own", "execution reverted")
    assert read_trace(frame(POOL, b"own", caught)) == Failure(POOL, b"own", "execution reverted")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["to", "output", "error", "calls"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_a_node_answers_is_read_or_is_not_known(answer: Any) -> None:
    found = read_trace(answer)
    assert found is None or isinstance(found.data, bytes)


class Journal:
    def __init__(self) -> None:
        self.recorded: list[Intent] = []

    def hash_of(self, number: int) -> bytes | None:
        return None

    def get(self, intent_id: str) -> Intent | None:
        return None

    def record(self, intents: Sequence[Intent]) -> None:
        self.recorded += intents


class Node:
    """Answers what it is told to; how much it was asked."""

    def __init__(self) -> None:
        self.answers: Sequence[Any] = ()
        self.asked = 0

    async def batch(self, requests: Sequence[Any]) -> Sequence[Any]:
        self.asked = len(requests)
        return self.answers


class Protocol:
    class adapter:
        @staticmethod
        def explain_revert(data: bytes) -> str:
            return data.decode() or "no reason"


def failed() -> Intent:
    call = UnsignedTransaction(31337, 3, 1, 2, 500_000, TxCall(POOL, b"\x01"))
    one = replace(attempt("i", 0), raw=SIGNER.sign(call, allowing(call)))
    return replace(
        intent("i", IntentStatus.FAILED), attempts=(one,), tx_hash=one.tx_hash, included_number=9, protocol="pool"
    )


REVERTED, SUCCEEDED = RpcRefused("execution reverted", 3, HEALTHY), "0x"
NO_METHOD = RpcRefused("the method does not exist", -32601)


class Asking:
    def __init__(self) -> None:
        self.node, self.journal = Node(), Journal()
        self.explainer = Explainer(self.node, SIGNER.address, cast(Any, self.journal), lambda: 0.0, 1.0)

    async def reason(self, *answers: Any) -> str | None:
        self.journal.recorded, self.node.answers = [], answers
        await self.explainer.explain([failed()], {"pool": cast(Any, Protocol())})
        assert self.node.asked == len(answers)
        return self.journal.recorded[0].reason if self.journal.recorded else None


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((NO_METHOD, REVERTED, REVERTED), "reverted: healthy"),
        ((NO_METHOD, SUCCEEDED, REVERTED), "reverted: healthy, since something earlier in its block"),
        ((NO_METHOD, SUCCEEDED, SUCCEEDED), None),
        ((frame(POOL, b"sold out"), REVERTED, REVERTED), "reverted: sold out"),
        (
            (frame(POOL, b"sold out", frame(OTHER, b"sold out")), SUCCEEDED, SUCCEEDED),
            f"reverted: sold out (0x{OTHER.hex()}), since something earlier in its block",
        ),
        (
            (frame(error="out of gas"), SUCCEEDED, SUCCEEDED),
            "reverted: out of gas, since something earlier in its block",
        ),
        ((RpcUnavailable("busy"), REVERTED, REVERTED), "reverted: healthy"),
        ((RpcUnavailable("busy"), RpcUnavailable("busy"), REVERTED), "reverted: healthy"),
        (("nonsense", RpcUnavailable("busy"), None), None),
    ],
)
async def test_the_trace_says_what_happened_and_the_replays_whether_somebody_was_faster(
    answers: Sequence[Any], reason: str | None
) -> None:
    assert await Asking().reason(*answers) == reason


@pytest.mark.parametrize(
    ("failure", "before", "after", "lost"),
    [
        (None, SUCCEEDED, REVERTED, True),
        (Failure(POOL, b"sold out", "execution reverted"), SUCCEEDED, REVERTED, True),
        (None, REVERTED, REVERTED, False),  # it would never have succeeded
        (None, SUCCEEDED, SUCCEEDED, False),  # nor does the state tell why it did not
        (None, RpcUnavailable("busy"), REVERTED, False),
        (None, SUCCEEDED, RpcUnavailable("busy"), False),
        (Failure(POOL, b"", "out of gas"), SUCCEEDED, REVERTED, False),
    ],
)
async def test_a_race_is_lost_where_the_call_succeeded_before_its_block_and_fails_behind_it(
    failure: Failure | None, before: Any, after: Any, lost: bool
) -> None:
    assert is_lost_race(failure, before, after) is lost


async def test_a_lost_race_is_journalled_and_given_back() -> None:
    asking = Asking()
    asking.node.answers = (NO_METHOD, SUCCEEDED, REVERTED)
    explained = await asking.explainer.explain([failed()], {"pool": cast(Any, Protocol())})
    assert [one.realized for one in explained] == [{"raced": True, "succeeded_before": True}]
    assert asking.journal.recorded == list(explained)


async def test_what_succeeds_on_both_sides_of_its_block_failed_for_that_block_alone() -> None:
    """Somebody took the liquidity right before it, and brought it back right behind it."""
    asking = Asking()
    asking.node.answers = (frame(POOL, b"no liquidity"), SUCCEEDED, SUCCEEDED)
    [explained] = await asking.explainer.explain([failed()], {"pool": cast(Any, Protocol())})
    assert explained.realized == {"succeeded_before": True}
    assert is_lasting(str(explained.reason))


async def test_a_node_without_traces_is_asked_for_one_once() -> None:
    asking = Asking()
    assert await asking.reason(NO_METHOD, REVERTED, REVERTED) == "reverted: healthy"
    assert await asking.reason(REVERTED, REVERTED) == "reverted: healthy"


async def test_a_trace_that_fails_once_is_asked_for_again() -> None:
    asking = Asking()
    assert await asking.reason(RpcRefused("transaction not found", -32000), REVERTED, REVERTED) == "reverted: healthy"
    assert await asking.reason(frame(POOL, b"sold out"), REVERTED, REVERTED) == "reverted: sold out"


async def test_a_node_that_says_nothing_leaves_the_reason_unknown() -> None:
    asking = Asking()

    async def silent(_: Sequence[Any]) -> Sequence[Any]:
        raise RpcUnavailable("gone")

    asking.node.batch = silent  # type: ignore[method-assign] # the node stops answering
    await asking.explainer.explain([failed()], {})
    assert asking.journal.recorded == []


@pytest.mark.parametrize(
    ("reason", "lasts"),
    [
        ("reverted: HealthFactorNotBelowThreshold: the position is healthy: nothing may be liquidated", False),
        ("reverted: gained too little", False),
        ("reverted: Too little received", False),
        ("reverted: used all of its 500000 gas", False),
        ("reverted without a reason", False),
        ("reverted: ReservePaused: the reserve is paused", True),
        ("reverted: LiquidationGraceSentinelCheckFailed: a liquidation grace period is running", True),
        ("reverted: ERC20InsufficientAllowance: the allowance is too small: approve the pool first", True),
        ("reverted: call not allowed (0x0e), since something earlier in its block", True),
        ("reverted: insufficient liquidity", True),
    ],
)
def test_which_reasons_last(reason: str, lasts: bool) -> None:
    assert is_lasting(reason) is lasts


def liquidations(pipeline: Pipeline) -> list[Intent]:
    return [one for one in pipeline.store.journal.values() if one.position == "model:1"]


def follow(pipeline: Pipeline, blocks: int) -> None:
    for _ in range(blocks):
        pipeline.chain.mine()
        pipeline.follow()


@pytest.mark.parametrize(
    ("reason", "in_its_block", "rests_s"),
    [("healthy", True, 5 * 12), ("paused", False, 6 * 3_600), ("paused", True, 5 * 12)],
)
def test_a_cause_rests_for_blocks_or_for_hours_as_its_reason_is(reason: str, in_its_block: bool, rests_s: int) -> None:
    """A block is twelve seconds. Restarts, and finality far above the failure, change nothing. A reason that arose
    within its block keeps nobody away for hours, be it one that lasts elsewhere: a competitor can make it up."""
    pipeline = Pipeline(replace(SETTINGS, lasting_cooldown_s=6 * 3_600))
    pipeline.chain.mine(opened=[2], at_most=0)
    follow(pipeline, 3)  # so that everything is approved
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    pipeline.chain.tip.after.paused = reason == "paused" and not in_its_block
    pipeline.chain.mine(closed=[1] if reason == "healthy" else [], paused=reason == "paused")
    pipeline.follow()
    [failed] = liquidations(pipeline)
    assert failed.status is IntentStatus.FAILED
    assert reason in str(failed.reason)
    failed_at = pipeline.clock
    pipeline.chain.tip.after.paused = False
    pipeline.chain.tip.after.open.add(1)
    while len(liquidations(pipeline)) == 1:
        follow(pipeline, 1)
        if pipeline.clock % 600 == 0:
            pipeline.restart()
    assert pipeline.clock - failed_at == pytest.approx(rests_s, abs=24)
    pipeline.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_restart_shortens_no_cooldown_that_is_longer_than_finality_is_far(restarted: bool) -> None:
    """Two blocks behind the tip are final; the failure is known for all of its twenty."""
    pipeline = Pipeline(replace(SETTINGS, cooldown_blocks=20), finality=2)
    pipeline.chain.mine(opened=[2], at_most=0)
    follow(pipeline, 5)
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    pipeline.chain.mine(closed=[1])
    pipeline.follow()
    pipeline.chain.tip.after.open.add(1)
    [failed] = liquidations(pipeline)
    while len(liquidations(pipeline)) == 1:
        if restarted:
            pipeline.restart()
        follow(pipeline, 1)
    assert pipeline.chain.tip.block.number - (failed.included_number or 0) == 20
    pipeline.close()


@pytest.mark.parametrize("succeeded_before", [True, False])
def test_the_legs_of_a_batch_rest_as_it_does(succeeded_before: bool) -> None:
    leg: dict[str, Any] = {
        "cause": "liquidate:a",
        "position": "a",
        **dict.fromkeys(("account", "debt_asset", "collateral_asset"), "0x" + "01" * 20),
        "expected": {"gas_wei": "1", "profit": "1"},
    }
    batch = replace(
        failed(),
        kind="batch",
        plan={"legs": [leg, {**leg, "cause": "liquidate:b"}]},
        reason="reverted: insufficient liquidity",
        realized={"at": 100.0, **({"succeeded_before": True} if succeeded_before else {})},
    )
    journal = ExecutorJournal(cast(Any, None), cooldown_blocks=5, lasting_cooldown_s=3_600.0)
    journal.hold([batch])
    assert len(journal.blocked_causes(10, 100.0)) == 2, "it was mined in block 9"
    assert len(journal.blocked_causes(14, 200.0)) == (0 if succeeded_before else 2)

"""Breakers in the executor: what trips stays tripped, holds what is new, and leaves what is on its way alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from keeper.core.errors import ConfigError, StoreError
from keeper.core.ports import Store
from keeper.core.records import IntentStatus
from keeper.core.types import Book, Financing, LiquidationPlan, Price, TxCall
from keeper.executor.breakers import Limits
from keeper.executor.guard import SUBJECT, Guard, read_tripped
from keeper.executor.ports import Venue
from keeper.executor.switch import Switch
from keeper.executor.transaction import decode_signed
from keeper.store import open_store
from tests.support.model_chain import COLLATERAL, GWEI, TOKEN, ModelProtocol
from tests.support.model_pipeline import IntentStore, ModelSwitch, Pipeline
from tests.support.store_work import intent


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def trips(pipeline: Pipeline) -> list[str]:
    return [trip.name for trip in read_tripped(cast(Store, pipeline.store)).trips]


def blocks(pipeline: Pipeline, count: int = 1, **options: Any) -> None:
    for _ in range(count):
        pipeline.chain.mine(**options)
        pipeline.follow()
        options.pop("opened", None)


def resume(pipeline: Pipeline) -> None:
    pipeline.switch.paused = False
    pipeline.switch.asked_at = pipeline.clock


@pytest.fixture
def made() -> Iterator[list[Pipeline]]:
    pipelines: list[Pipeline] = []
    yield pipelines
    for pipeline in pipelines:
        pipeline.close()


def limited(made: list[Pipeline], **limits: Any) -> Pipeline:
    made.append(Pipeline(limits=Limits(**limits)))
    blocks(made[-1])
    return made[-1]


def test_an_empty_wallet_trips_once_and_holds_everything_new(made: list[Pipeline]) -> None:
    pipeline = limited(made, min_balance_wei=10**20 + 1)
    with capture_logs() as logs:
        blocks(pipeline, 3, opened=[1, 2])
    assert trips(pipeline) == ["min_balance"]
    assert pipeline.store.journal == {}
    assert [entry for entry, _ in pipeline.store.trail] == ["tripped"]
    assert "breaker_tripped" not in [entry["event"] for entry in logs], "it had tripped before, and says so once"


def test_a_trip_is_an_error_with_its_remedy(made: list[Pipeline]) -> None:
    with capture_logs() as logs:
        limited(made, min_balance_wei=10**20 + 1)
    [entry] = [entry for entry in logs if entry["event"] == "breaker_tripped"]
    assert entry["log_level"] == "error"
    assert "keeper resume" in entry["remedy"]


def test_what_tripped_survives_a_restart_and_even_its_cause(made: list[Pipeline]) -> None:
    pipeline = limited(made, min_balance_wei=10**20 + 1)
    pipeline.limits = Limits()
    pipeline.restart()
    blocks(pipeline, 2, opened=[1])
    assert trips(pipeline) == ["min_balance"]
    assert pipeline.store.journal == {}


def test_resuming_clears_what_tripped_and_things_go_on(made: list[Pipeline]) -> None:
    pipeline = limited(made, min_balance_wei=10**20 + 1)
    pipeline.limits = Limits()
    pipeline.restart()
    resume(pipeline)
    blocks(pipeline, 2, opened=[1])
    assert trips(pipeline) == []
    assert pipeline.switch.asked_at is None
    assert [entry for entry, _ in pipeline.store.trail] == ["tripped", "resumed"]
    assert pipeline.store.journal


def test_while_the_cause_lasts_resuming_trips_again(made: list[Pipeline]) -> None:
    pipeline = limited(made, min_balance_wei=10**20 + 1)
    pipeline.clock += 1
    resume(pipeline)
    blocks(pipeline)
    assert trips(pipeline) == ["min_balance"]
    assert [entry for entry, _ in pipeline.store.trail] == ["tripped", "resumed", "tripped"]


def test_a_request_that_a_crash_left_behind_clears_nothing_younger(made: list[Pipeline]) -> None:
    pipeline = limited(made, min_balance_wei=10**20 + 1)
    pipeline.switch.asked_at = -1.0
    blocks(pipeline)
    assert trips(pipeline) == ["min_balance"]


def test_what_tripped_before_the_clock_was_set_back_can_be_resumed(made: list[Pipeline]) -> None:
    """It tripped while the clock was an hour fast: the request is younger, whatever the times say."""
    pipeline = limited(made)
    pipeline.limits = Limits(min_balance_wei=10**20 + 1)
    pipeline.clock += 3_600
    pipeline.restart()
    blocks(pipeline)
    assert trips(pipeline) == ["min_balance"]
    pipeline.limits = Limits()
    pipeline.restart()
    pipeline.clock -= 3_600
    resume(pipeline)
    blocks(pipeline)
    assert trips(pipeline) == []


def test_after_resuming_limits_count_from_zero_also_after_a_restart(made: list[Pipeline]) -> None:
    """What was mined before counts no more, whenever it is confirmed."""
    limit = 3 * 10**16
    pipeline = limited(made, gas_per_hour_wei=limit)
    for first in range(0, 100, 5):
        blocks(pipeline, 1, opened=range(first, first + 5))
    assert trips(pipeline) == ["gas_per_hour"]
    spent, before = sum(i.gas_cost_wei or 0 for i in pipeline.store.journal.values()), set(pipeline.store.journal)
    resume(pipeline)
    blocks(pipeline)
    assert trips(pipeline) == []
    assert set(pipeline.store.journal) > before, "there is room again"
    blocks(pipeline, 4, at_most=0)
    pipeline.restart()
    blocks(pipeline, 1, at_most=0)
    assert spent > limit // 2
    assert trips(pipeline) == []


def test_a_spend_limit_is_never_exceeded_and_trips_when_reached(made: list[Pipeline]) -> None:
    limit = 3 * 10**16
    pipeline = limited(made, gas_per_hour_wei=limit)
    for first in range(0, 200, 5):
        blocks(pipeline, 2, opened=range(first, first + 5))
    spent = sum(intent.gas_cost_wei or 0 for intent in pipeline.store.journal.values())
    assert 0 < spent <= limit
    assert trips(pipeline) == ["gas_per_hour"]
    assert 0 < len(pipeline.store.journal) < 200


def test_a_pause_holds_what_is_new_and_tends_what_is_on_its_way(made: list[Pipeline]) -> None:
    """A transaction that became too cheap is replaced all the same."""
    pipeline = limited(made)
    blocks(pipeline, opened=[1], at_most=0)
    before = set(pipeline.store.journal)
    assert before
    pipeline.switch.paused = True
    attempts = sum(len(intent.attempts) for intent in pipeline.store.journal.values())
    blocks(pipeline, 4, opened=[2], at_most=0)
    assert set(pipeline.store.journal) == before
    assert sum(len(intent.attempts) for intent in pipeline.store.journal.values()) > attempts
    pipeline.switch.paused = False
    blocks(pipeline, 4)
    assert set(pipeline.store.journal) > before
    assert [entry for entry, _ in pipeline.store.trail] == ["paused", "unpaused"]


def test_a_denied_protocol_is_left_alone_without_tripping(made: list[Pipeline]) -> None:
    pipeline = Pipeline(limits=Limits(denied=frozenset({"model"})))
    made.append(pipeline)
    with capture_logs() as logs:
        blocks(pipeline, 3, opened=[1])
    assert pipeline.store.journal == {}
    assert [entry["code"] for entry in logs if entry["event"] == "liquidation_skipped"] == ["protocol_denied"]
    assert trips(pipeline) == []


OPEN = st.tuples(st.just("open"), st.integers(1, 40))
STEPS = st.lists(
    st.one_of(
        *(OPEN, OPEN, OPEN),  # most steps bring something to send
        st.tuples(st.just("mine"), st.integers(0, 5)),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("resume"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("reorg"), st.integers(1, 3)),
    ),
    min_size=8,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(1, 8))
def test_while_anything_holds_no_new_transaction_leaves(
    steps: list[tuple[str, int]], failures: int, limit: int
) -> None:
    """Blocks, reorgs, restarts and pauses happen in between. Only an empty transfer may fill a nonce that others
    wait behind, and nothing but resuming clears what tripped."""
    pipeline = Pipeline(limits=Limits(failures=failures, min_balance_wei=10**20 - limit * 10**14))
    try:
        blocks(pipeline)
        for what, value in steps:
            tripped, known = trips(pipeline), set(pipeline.store.journal)
            asked = pipeline.switch.asked_at is not None
            held = pipeline.switch.paused or (bool(tripped) and not asked)
            if what == "open":
                blocks(pipeline, opened=[value])
            elif what == "mine":
                blocks(pipeline, at_most=value)
            elif what == "reorg" and len(pipeline.chain.blocks) > 6:
                pipeline.chain.reorg(value, requeue=False)
                blocks(pipeline)
            elif what == "pause":
                pipeline.switch.paused = bool(value)
            elif what == "resume":
                resume(pipeline)
            elif what == "restart":
                pipeline.restart()
            new = [pipeline.store.journal[key] for key in set(pipeline.store.journal) - known]
            assert not held or all(intent.kind == "filler" for intent in new)
            assert asked or set(tripped) <= set(trips(pipeline))
    finally:
        pipeline.close()


# --- what it stands on ------------------------------------------------------------------------------------------------


def test_the_switch_is_two_files(tmp_path: Path) -> None:
    switch = Switch(tmp_path / "var" / "keeper.db.pause")
    assert not switch.paused
    switch.pause()
    assert switch.paused
    switch.resume()
    assert not switch.paused
    assert switch.resume_asked_at() is not None
    switch.taken()
    assert switch.resume_asked_at() is None


def test_a_pause_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"breakers\.pause_file"):
        Switch(tmp_path / "file" / "keeper.pause").pause()


def test_in_doubt_it_is_paused(tmp_path: Path) -> None:
    """A path that cannot be looked at might hold the file."""
    (tmp_path / "file").write_text("")
    assert Switch(tmp_path / "file" / "keeper.pause").paused


def test_a_request_to_resume_is_as_old_as_its_file(tmp_path: Path) -> None:
    switch = Switch(tmp_path / "keeper.pause")
    switch.resume()
    os.utime(switch.request_file, (5, 5))
    assert switch.resume_asked_at() == 5


def test_a_failure_is_judged_once_the_node_was_asked_why(tmp_path: Path) -> None:
    """Two races lost in one block are no two failures; a reason that nobody tells leaves them failures."""
    store = open_store(f"sqlite:///{tmp_path / 'keeper.db'}", chain_id=1)
    guard = Guard(store, Limits(failures=2), Switch(tmp_path / "keeper.pause"), lambda: 100.0)
    guard.load()
    mined = {"tx_hash": b"\x01" * 32, "included_number": 7, "updated_at": 100.0}
    found = [intent(name, IntentStatus.FAILED, **mined) for name in "ab"]
    guard.note(found)
    assert guard.review([], None, 7, None, unexplained={"a", "b"})
    guard.note([replace(one, realized={"raced": True}) for one in found])
    assert guard.review([], None, 8, None)
    guard.note(found)
    assert guard.review([], None, 9, None, unexplained={"a"})
    assert not guard.review([], None, 10, None)
    assert [trip.name for trip in guard.trips] == ["failures"]
    store.close()


def test_the_real_store_keeps_trips_with_their_reason(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'keeper.db'}"
    switch = Switch(tmp_path / "keeper.pause")
    store = open_store(url, chain_id=1)
    guard = Guard(store, Limits(min_balance_wei=5 * GWEI), switch, lambda: 100.0)
    guard.load()
    assert guard.review([], None, 7, 5 * GWEI)
    assert not guard.review([], None, 8, 5 * GWEI - 1)
    store.close()
    store = open_store(url, chain_id=1)
    [trip] = read_tripped(store).trips
    assert (trip.name, trip.block, trip.at) == ("min_balance", 8, 100.0)
    [entry] = store.audit(SUBJECT)
    assert (entry.event, entry.evidence["breaker"]) == ("tripped", "min_balance")
    store.close()


def test_a_damaged_state_is_not_taken_for_none() -> None:
    store = IntentStore(kept={SUBJECT: json.dumps({"trips": [{"name": "x"}], "since_block": 0})})
    with pytest.raises(StoreError, match="breakers"):
        read_tripped(cast(Store, store))


def test_signed_bytes_are_what_costs_are_counted_from(made: list[Pipeline]) -> None:
    """The most that a transaction can cost is its gas limit at its maximum fee."""
    pipeline = limited(made, gas_per_hour_wei=10**17)
    blocks(pipeline, opened=range(1, 6), at_most=0)
    costs = [
        transaction.gas_limit * transaction.max_fee_wei
        for intent in pipeline.store.journal.values()
        for transaction in [decode_signed(intent.attempts[-1].raw)]
    ]
    assert 0 < sum(costs) <= 10**17


# --- the market against the protocol ----------------------------------------------------------------------------------


def plan_selling(sold: int, proceeds: int) -> LiquidationPlan:
    """Of collateral at 2,000, for tokens at 1; both with 8 decimals."""
    financing = Financing(
        funding="aave",
        route="direct",
        borrowed_assets=proceeds,
        fee_assets=0,
        sold_assets=sold,
        proceeds_assets=proceeds,
        gain_token=TOKEN,
        gain_decimals=8,
        gain_assets=1,
        least_gain_assets=1,
    )
    return LiquidationPlan(
        account=b"\x01" * 20,
        debt_asset=TOKEN,
        repay_assets=proceeds,
        collateral_asset=COLLATERAL,
        expected_repaid_assets=proceeds,
        expected_seized_assets=sold,
        profit_base=1,
        judged_at=0,
        health_wad=None,
        call=TxCall(TOKEN, b""),
        approval=None,
        gas_limit_hint=1,
        financing=financing,
    )


def doubted(limits: Limits, plan: LiquidationPlan) -> str | None:
    prices = {COLLATERAL: Price(2_000 * 10**8, 8), TOKEN: Price(10**8, 8)}
    venue = Venue(cast(Any, ModelProtocol()), Book(market=object(), prices=prices))
    guard = Guard(cast(Store, IntentStore()), limits, cast(Any, ModelSwitch()), lambda: 0.0)
    skip = guard.deviation(venue, plan, {COLLATERAL: 8, TOKEN: 8})
    return None if skip is None else skip.code


@pytest.mark.parametrize(
    ("proceeds", "code"), [(1_900, None), (2_100, None), (1_899, "price_deviation"), (2_101, "price_deviation")]
)
def test_a_plan_is_not_believed_when_market_and_protocol_disagree(proceeds: int, code: str | None) -> None:
    """Either way: a market far above the protocol's price is as suspect as one far below."""
    assert doubted(Limits(deviation_bps=500), plan_selling(10**8, proceeds * 10**8)) == code


def test_without_a_limit_or_a_sale_every_plan_is_believed() -> None:
    assert doubted(Limits(), plan_selling(10**8, 1)) is None
    kept = plan_selling(10**8, 0)
    assert doubted(Limits(deviation_bps=1), kept) is None
    assert doubted(Limits(deviation_bps=1), replace(kept, financing=None)) is None

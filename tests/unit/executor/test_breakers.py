"""Which breakers trip: from limits, outcomes and the time alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.records import IntentStatus
from keeper.core.types import Price, Skip
from keeper.executor.breakers import (
    DAY_S,
    HOUR_S,
    Limits,
    Outcome,
    Scale,
    admit,
    admit_losses,
    deviation_bps,
    judge,
    loss_wad,
    outcome_of,
)
from tests.support.store_work import intent

NOW = 1_000_000.0
WAD = 10**18
SCALES = {"aave": Scale(8, Price(2_000 * 10**8, 8))}
_block = iter(range(1, 10**9))


def mined(
    succeeded: bool | None = True,
    *,
    gas_wei: int = 0,
    age_s: float = 0.0,
    expected: int | None = None,
    realized: int | None = None,
    raced: bool = False,
) -> Outcome:
    """A transaction mined after those made before it."""
    return Outcome((next(_block), 0), NOW - age_s, "aave", gas_wei, succeeded, expected, realized, raced=raced)


def tripped(limits: Limits, *outcomes: Outcome, balance_wei: int | None = None) -> list[str]:
    return [trip.name for trip in judge(limits, outcomes, SCALES, balance_wei=balance_wei, now=NOW, block=7)]


def test_without_limits_nothing_trips() -> None:
    assert tripped(Limits(), *[mined(succeeded=False, gas_wei=WAD)] * 50, balance_wei=0) == []


def test_gas_counts_within_its_window_only() -> None:
    limits = Limits(gas_per_hour_wei=10, gas_per_day_wei=15)
    assert tripped(limits, mined(gas_wei=9)) == []
    assert tripped(limits, mined(gas_wei=10)) == ["gas_per_hour"]
    assert tripped(limits, mined(gas_wei=10, age_s=HOUR_S)) == []
    assert tripped(limits, mined(gas_wei=10, age_s=HOUR_S), mined(gas_wei=5)) == ["gas_per_day"]
    assert tripped(limits, mined(gas_wei=99, age_s=DAY_S)) == []


def test_gas_counts_whatever_it_was_spent_on() -> None:
    """Approvals, cancellations and reverted transactions cost the same."""
    assert tripped(Limits(gas_per_hour_wei=3), mined(None, gas_wei=1), mined(False, gas_wei=1), mined(gas_wei=1))


def test_a_loss_is_a_liquidation_below_zero_or_gas_that_bought_nothing() -> None:
    """In whole units of the base currency: 0.01 native coin at 2,000 is 20."""
    assert loss_wad(mined(realized=-5 * 10**8), SCALES) == 5 * WAD
    assert loss_wad(mined(realized=5 * 10**8, gas_wei=WAD), SCALES) == 0
    assert loss_wad(mined(succeeded=False, gas_wei=WAD // 100), SCALES) == 20 * WAD
    assert loss_wad(mined(None, gas_wei=WAD // 100), SCALES) == 20 * WAD


def test_gains_are_not_set_against_losses() -> None:
    limits = Limits(loss_per_hour_wad=10 * WAD)
    gain, loss = mined(realized=10**12), mined(realized=-10 * 10**8)
    assert tripped(limits, gain, loss) == ["loss_per_hour"]
    assert tripped(limits, gain, mined(realized=-10 * 10**8 + 1)) == []


def test_failures_count_in_a_row() -> None:
    limits = Limits(failures=3)
    failed, done, other = (lambda: mined(succeeded=False)), mined, (lambda: mined(None))
    assert tripped(limits, failed(), failed(), done(), failed()) == []
    assert tripped(limits, done(), failed(), other(), failed(), failed()) == ["failures"]


def test_lost_races_are_no_failures_and_have_a_limit_of_their_own() -> None:
    limits = Limits(failures=2, lost_races=4)
    failed, lost, done = (lambda: mined(False)), (lambda: mined(False, raced=True)), mined
    assert tripped(limits, lost(), lost(), lost()) == []
    assert tripped(limits, failed(), lost(), lost(), failed()) == ["failures"]
    assert tripped(limits, lost(), lost(), done(), lost(), lost()) == []
    assert tripped(limits, lost(), lost(), lost(), lost()) == ["lost_races"]


def test_what_explains_a_failure_decides_whether_it_counts() -> None:
    one = replace(intent("i", IntentStatus.FAILED), tx_hash=b"\x01" * 32, included_number=9)
    known = outcome_of(one)
    raced = outcome_of(replace(one, realized={"raced": True}))
    assert known is not None and not known.raced
    assert raced is not None and raced.raced


def test_order_is_that_of_the_chain_not_of_learning() -> None:
    first, second, third = (mined(succeeded=False) for _ in range(3))
    success = mined()
    limits = Limits(failures=3)
    assert tripped(limits, success, third, first, second) == []


def test_profit_short_of_the_plan_in_a_row_trips_slippage() -> None:
    limits = Limits(shortfalls=2, shortfall_bps=5_000)
    half, less = (mined(expected=100, realized=amount) for amount in (50, 49))
    loss = mined(expected=100, realized=-1)
    assert tripped(limits, half, less) == []
    assert tripped(limits, less, half) == []
    assert tripped(limits, less, loss) == ["slippage"]
    unknown = mined(expected=100, realized=None)
    assert tripped(limits, less, unknown, loss) == ["slippage"]


def test_a_loss_as_planned_is_no_slippage_and_one_beyond_it_is() -> None:
    """Bad debt that is realized on purpose."""
    limits = Limits(shortfalls=1, shortfall_bps=5_000)
    assert tripped(limits, mined(expected=-100, realized=-100)) == []
    assert tripped(limits, mined(expected=-100, realized=-150)) == []
    assert tripped(limits, mined(expected=-100, realized=-151)) == ["slippage"]


def liquidated(realized: int, **causes: int) -> Outcome:
    """Of 100 planned, by the causes of what is missing."""
    difference = {cause: str(amount) for cause, amount in causes.items()}
    before = intent("i", IntentStatus.CONFIRMED, profit_expected=100, profit_realized=realized)
    mined = replace(before, tx_hash=b"1" * 32, included_number=next(_block), realized={"difference": difference})
    outcome = outcome_of(mined)
    assert outcome is not None
    return replace(outcome, at=NOW)


def test_what_falling_prices_and_competitors_took_is_no_shortfall() -> None:
    """Somebody repaid part of the debt before us, or the price went on falling until we landed; a worse sale counts."""
    limits = Limits(shortfalls=1, shortfall_bps=5_000)
    assert tripped(limits, liquidated(-50, price=-150)) == []
    assert tripped(limits, liquidated(20, interest=-60, price=-20)) == []
    assert tripped(limits, liquidated(20, slippage=-60, price=-20)) == ["slippage"]
    assert tripped(limits, liquidated(40, slippage=-160, price=100)) == ["slippage"]
    assert tripped(limits, liquidated(95, slippage=-105, price=100)) == [], "more seized of what is worth less"


def test_a_leg_that_somebody_else_had_liquidated_is_no_shortfall_of_its_batch() -> None:
    """The rest is held against what was planned of the rest. A batch of which nothing was left says nothing."""
    leg = {"cause": "a", "position": "aave:0x01", "account": "0x01", "debt_asset": "0x01", "collateral_asset": "0x02"}
    expected = {"profit": "100", "gas_wei": "10"}
    gone: dict[str, Any] = {"gas": "9", "failed": "reverted: healthy"}

    def batch(realized: int, *legs: dict[str, Any]) -> Outcome:
        one = intent("b", IntentStatus.CONFIRMED, kind="batch", profit_expected=200, profit_realized=realized)
        plan = {"legs": [{**leg, "expected": expected}] * len(legs)}
        one = replace(one, plan=plan, tx_hash=b"1" * 32, included_number=next(_block), realized={"legs": list(legs)})
        outcome = outcome_of(one)
        assert outcome is not None
        return replace(outcome, at=NOW)

    def done(profit: int) -> dict[str, Any]:
        return {"gas": "9", "statement": {"profit": str(profit), "repaid": "1", "seized": "1"}, "difference": {}}

    limits = Limits(shortfalls=1, shortfall_bps=5_000)
    assert tripped(limits, batch(81, done(90), gone)) == []
    assert tripped(limits, batch(31, done(40), gone)) == ["slippage"]
    assert tripped(limits, batch(-18, gone, gone)) == []
    twice = replace(limits, shortfalls=2)
    assert tripped(twice, batch(31, done(40), gone), batch(-18, gone, gone), batch(31, done(40), gone)) == ["slippage"]


@given(
    limit=st.integers(0, 1_000),
    lost=st.lists(st.integers(0, 400), max_size=3),
    planned=st.lists(st.integers(0, 400), max_size=5),
    committed=st.integers(0, 400),
)
def test_planned_losses_never_reach_a_loss_limit(
    limit: int, lost: list[int], planned: list[int], committed: int
) -> None:
    limits = Limits(loss_per_hour_wad=limit * WAD, loss_per_day_wad=limit * WAD)
    outcomes = [mined(realized=-amount * 10**8) for amount in lost]
    count, reason = admit_losses(limits, outcomes, SCALES, [amount * WAD for amount in planned], committed * WAD, NOW)
    admitted = planned[:count]
    if any(admitted):
        assert sum(lost) + committed + sum(admitted) < limit
    assert (reason is None) is (count == len(planned))
    if count < len(planned):
        assert sum(lost) + committed + sum(planned[: count + 1]) >= limit


def test_the_balance_may_be_at_its_minimum_and_must_be_known() -> None:
    limits = Limits(min_balance_wei=10)
    assert tripped(limits, balance_wei=10) == []
    assert tripped(limits, balance_wei=9) == ["min_balance"]
    assert tripped(limits, balance_wei=None) == []


def test_protocols_are_allowed_unless_lists_say_otherwise() -> None:
    assert Limits().objection("aave") is None
    assert Limits(allowed=frozenset({"aave"})).objection("aave") is None
    assert isinstance(Limits(allowed=frozenset({"aave"})).objection("venus"), Skip)
    assert isinstance(Limits(denied=frozenset({"aave"})).objection("aave"), Skip)


def test_deviation_is_counted_both_ways() -> None:
    assert deviation_bps(1_000, 950) == deviation_bps(1_000, 1_050) == 500
    assert deviation_bps(0, 1) == 10_000
    assert deviation_bps(0, 0) == 0


def test_room_waits_for_what_is_on_its_way_and_trips_when_waiting_cannot_help() -> None:
    limits, spent = Limits(gas_per_hour_wei=100), [mined(gas_wei=40)]
    assert admit(limits, spent, [30, 30], 0, NOW) == (2, None)
    count, reason = admit(limits, spent, [30, 30], 10, NOW)
    assert (count, reason and reason.code) == (1, "spend_limit")
    count, reason = admit(limits, spent, [61], 0, NOW)
    assert (count, reason and reason.code) == (0, "gas_per_hour")


@given(
    limit=st.integers(0, 200),
    spent=st.lists(st.integers(0, 60), max_size=4),
    costs=st.lists(st.integers(1, 60), max_size=8),
    committed=st.integers(0, 100),
)
def test_what_is_admitted_never_exceeds_a_limit(limit: int, spent: list[int], costs: list[int], committed: int) -> None:
    """Even if everything costs the most that it can; and nothing that fits is held back."""
    outcomes = [mined(gas_wei=gas) for gas in spent]
    count, reason = admit(Limits(gas_per_day_wei=limit), outcomes, costs, committed, NOW)
    if count:
        assert sum(spent) + committed + sum(costs[:count]) <= limit
    if count < len(costs):
        assert reason is not None
        assert sum(spent) + committed + sum(costs[: count + 1]) > limit
    else:
        assert reason is None

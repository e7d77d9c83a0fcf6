"""What gas costs next, what we offer, and what outbids our own earlier offer."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Price, Skip
from keeper.executor.fees import (
    CANCELLATION,
    FIRST,
    REPLACEMENT,
    Fees,
    below,
    bump_fees,
    choose_fees,
    forecast_base_fee,
    next_base_fee,
    tip_cap,
    tip_from_history,
    tip_from_profit,
)
from keeper.executor.nonces import allocate, gaps
from keeper.executor.ports import Settings
from keeper.executor.value import gas_value, value_down, value_up, wei_value

GWEI = 10**9
fees = st.integers(0, 10**13)


@pytest.mark.parametrize(
    ("base_fee", "gas_used", "expected"),
    [
        (1_000_000_000, 10_000_000, 1_000_000_000),
        (1_000_000_000, 20_000_000, 1_125_000_000),
        (1_000_000_000, 0, 875_000_000),
        (1_072_671_875, 9_000_000, 1_059_263_477),
        (7, 10_000_001, 8),
        (7, 0, 7),
    ],
)
def test_next_base_fee_is_that_of_eip_1559(base_fee: int, gas_used: int, expected: int) -> None:
    """Vectors in the manner of go-ethereum's TestCalcBaseFee; a fee that must rise rises by a wei at least."""
    assert next_base_fee(base_fee, gas_used, 20_000_000) == expected


def test_a_header_without_gas_limit_keeps_the_fee() -> None:
    assert next_base_fee(5, 0, 0) == 5


@given(base_fee=fees, used=st.lists(st.integers(0, 30_000_000), max_size=8))
def test_the_forecast_is_never_exceeded(base_fee: int, used: list[int]) -> None:
    worst = forecast_base_fee(base_fee, len(used))
    for gas_used in used:
        base_fee = next_base_fee(base_fee, gas_used, 30_000_000)
    assert base_fee <= worst


@given(base_fee=fees, tip=fees, cap=fees, blocks=st.integers(0, 10))
def test_fees_are_enough_for_the_next_block_and_never_above_the_cap(
    base_fee: int, tip: int, cap: int, blocks: int
) -> None:
    chosen = choose_fees(base_fee, tip, forecast_blocks=blocks, cap_wei=cap)
    if isinstance(chosen, Skip):
        assert base_fee + tip > cap
    else:
        assert base_fee + tip <= chosen.max_fee_wei <= cap
        assert chosen.tip_wei == tip


@given(old=st.builds(Fees, fees, fees), fresh=st.none() | st.builds(Fees, fees, fees))
def test_a_replacement_outbids_both_fields_by_more_than_a_tenth(old: Fees, fresh: Fees | None) -> None:
    """Nodes ask for 10 % on the maximum and on the tip, strictly more."""
    bumped = bump_fees(old, fresh, cap_wei=10**15, tip_cap_wei=10**15)
    assert bumped is not None
    assert bumped.max_fee_wei * 8 >= old.max_fee_wei * 9
    assert bumped.tip_wei * 8 >= old.tip_wei * 9
    assert bumped.max_fee_wei > old.max_fee_wei
    assert bumped.tip_wei > old.tip_wei
    assert bumped.tip_wei <= bumped.max_fee_wei
    if fresh is not None:
        assert bumped.max_fee_wei >= fresh.max_fee_wei


def test_no_replacement_above_the_cap() -> None:
    assert bump_fees(Fees(90 * GWEI, GWEI), None, cap_wei=100 * GWEI, tip_cap_wei=2 * GWEI) is None
    assert bump_fees(Fees(80 * GWEI, GWEI), None, cap_wei=90 * GWEI, tip_cap_wei=2 * GWEI) == Fees(
        90 * GWEI, 1_125_000_000
    )


def test_no_replacement_tips_above_the_cap_of_tips() -> None:
    """Not even where a new transaction would tip more."""
    old, fresh = Fees(30 * GWEI, 8 * GWEI), Fees(60 * GWEI, 50 * GWEI)
    assert bump_fees(old, fresh, cap_wei=500 * GWEI, tip_cap_wei=9 * GWEI) == Fees(60 * GWEI, 9 * GWEI)
    assert bump_fees(old, fresh, cap_wei=500 * GWEI, tip_cap_wei=9 * GWEI - 1) is None


@given(base_fee=fees, tip=fees, cap=st.integers(2, 10**13), blocks=st.integers(0, 10))
def test_a_first_offer_can_be_outbid_and_then_given_up_below_the_cap(
    base_fee: int, tip: int, cap: int, blocks: int
) -> None:
    """Unless the next block needs so much that this leaves no room."""
    chosen = choose_fees(base_fee, tip, forecast_blocks=blocks, cap_wei=cap)
    if isinstance(chosen, Skip) or base_fee + tip > below(cap, FIRST):
        return
    for steps in (REPLACEMENT, CANCELLATION):
        chosen = bump_fees(chosen, None, cap_wei=below(cap, steps), tip_cap_wei=cap)
        assert chosen is not None


@given(least=fees, most=fees)
def test_a_first_tip_can_be_outbid_twice_below_the_cap_of_tips(least: int, most: int) -> None:
    """Also where the least tip is the largest, or both are nothing: what cannot be outbid holds its nonce for ever."""
    settings = Settings(chain_id=1, min_tip_wei=min(least, most), max_tip_wei=max(least, most))
    assert settings.min_tip_wei <= settings.first_tip_wei <= settings.max_tip_wei
    offered: Fees | None = Fees(0, settings.first_tip_wei)
    for steps in (REPLACEMENT, CANCELLATION):
        assert offered is not None
        offered = bump_fees(offered, None, cap_wei=10**15, tip_cap_wei=below(settings.tip_cap_wei, steps))
    assert offered is not None
    assert offered.tip_wei <= settings.tip_cap_wei


def test_the_cap_of_tips_is_the_largest_tip_where_that_leaves_room() -> None:
    assert tip_cap(GWEI // 100, 20 * GWEI) == 20 * GWEI
    assert tip_cap(64, 64 + 10**6) == 64 + 10**6
    assert tip_cap(64 * GWEI, 64 * GWEI) == 81 * GWEI
    assert tip_cap(0, 0) == 10**6


@given(profit=fees, spare=fees, gas=st.integers(1, 10**7), typical=fees, share=st.integers(0, 10_000), ceiling=fees)
def test_a_tip_never_gives_away_more_than_its_share_nor_what_must_remain(
    profit: int, spare: int, gas: int, typical: int, share: int, ceiling: int
) -> None:
    tip = tip_from_profit(profit, spare, gas, typical_wei=typical, share_bps=share, ceiling_wei=ceiling)
    extra = (tip - typical) * gas
    assert 0 <= extra <= min(profit * share // 10_000, spare)
    assert tip <= max(ceiling, typical)


def test_a_larger_profit_offers_more() -> None:
    """A tenth of 0.1 ether over 500,000 gas is 20 gwei more."""
    offer = partial(tip_from_profit, gas=500_000, typical_wei=GWEI, share_bps=1_000, ceiling_wei=50 * GWEI)
    assert offer(10**17, 10**17) == 21 * GWEI
    assert offer(10**17, 10**15) == 3 * GWEI
    assert offer(10**19, 10**19) == 50 * GWEI


def test_the_tip_is_what_recent_blocks_paid_within_bounds() -> None:
    assert tip_from_history([], 3, 10) == 3
    assert tip_from_history([1, 1, 2], 3, 10) == 3
    assert tip_from_history([4, 6, 50], 3, 10) == 6
    assert tip_from_history([40, 60], 3, 10) == 10


@given(chain_nonce=st.integers(0, 50), owned=st.sets(st.integers(0, 60)), count=st.integers(0, 10))
def test_new_nonces_fill_every_gap_first(chain_nonce: int, owned: set[int], count: int) -> None:
    """With as many new transactions as there are gaps, nothing that waits is stuck for good."""
    fresh = allocate(chain_nonce, owned, count)
    assert len(set(fresh)) == count
    assert fresh == sorted(fresh)
    assert all(nonce >= chain_nonce and nonce not in owned for nonce in fresh)
    missing = gaps(chain_nonce, owned)
    assert fresh[: len(missing)] == missing[:count]
    assert gaps(chain_nonce, owned | set(missing)) == []


def test_values_round_against_us() -> None:
    """A millionth of a token that costs 3 base units is worth nothing to receive, and costs one to pay."""
    price = Price(3, 8)
    assert value_down(1, 6, price, 8) == 0
    assert value_up(1, 6, price, 8) == 1
    assert value_down(2_000_000, 6, price, 8) == value_up(2_000_000, 6, price, 8) == 6
    native = Price(2_000 * 10**8, 8)
    assert gas_value(10**18, native, 8) == 2_000 * 10**8
    assert gas_value(1, native, 8) == 1
    assert wei_value(2_000 * 10**8, native, 8) == 10**18


@pytest.mark.parametrize(("text", "decimals", "base"), [("1.00", 8, 10**8), ("0.000000001", 8, 1), ("0", 8, 0)])
def test_the_least_profit_rounds_up_to_the_base_currencys_units(text: str, decimals: int, base: int) -> None:
    assert Settings(chain_id=1, min_profit=Decimal(text)).min_profit_base(decimals) == base

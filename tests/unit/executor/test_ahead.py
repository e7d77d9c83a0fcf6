"""What ours pays behind a price update, and what is durable of following one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, LiquidationPlan, Price, Skip, TxCall
from keeper.executor.ahead import Ahead, distinct_gas, fees_behind, marked, offered_until, read_pending, update_of
from keeper.executor.behind import Ways
from keeper.executor.choose import Chosen
from keeper.executor.fees import Fees
from keeper.executor.lifecycle import Sight, observe, orphan
from keeper.executor.oracles.ports import Written
from keeper.executor.oracles.watched import Aggregator, Watched, look_up
from keeper.executor.ports import Opportunity, Venue
from keeper.executor.prepared import KEPT_BLOCKS, Prepared
from keeper.executor.reverts import is_lasting
from keeper.store.encoding import intent_row
from tests.support.model_updates import BehindPipeline
from tests.unit.executor.test_lifecycle import NONCE, block, intent, receipt

UPDATE = Ahead(b"\xaa" * 32)
WEI = st.integers(0, 10**13)


def effective(fees: Fees, base_fee: int) -> int:
    """What a builder gets per gas; negative for what the block cannot hold."""
    return min(fees.tip_wei, fees.max_fee_wei - base_fee)


@given(WEI, WEI, WEI, WEI, WEI, WEI, st.integers(0, 8))
def test_whatever_the_base_fee_becomes_ours_never_goes_before_the_update(
    most: int, tip: int, base_fee: int, later: int, max_tip: int, cap: int, blocks: int
) -> None:
    """It pays no more per gas, so it is not ordered before; and no block can hold it that cannot hold the update."""
    theirs = Fees(most, min(tip, most))
    ours = fees_behind(theirs, base_fee, forecast_blocks=blocks, max_tip_wei=max_tip, cap_wei=cap)
    if isinstance(ours, Skip):
        assert most < base_fee or cap < base_fee
        return
    assert base_fee <= ours.max_fee_wei <= cap
    assert 0 <= ours.tip_wei <= max_tip
    assert effective(ours, later) <= effective(theirs, later)
    if effective(theirs, base_fee) >= 2 and max_tip >= effective(theirs, base_fee) and cap > 2 * most:
        assert 0 <= effective(theirs, base_fee) - effective(ours, base_fee) <= 1


def test_an_update_that_the_next_block_cannot_hold_is_not_followed() -> None:
    skip = fees_behind(Fees(9, 2), 10, forecast_blocks=6, max_tip_wei=100, cap_wei=100)
    assert isinstance(skip, Skip)
    assert skip.code == "update_too_cheap"
    assert "9 wei" in skip.detail
    assert "10" in skip.detail


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({"gasPrice": "0x9"}, Fees(9, 9)),
        ({"gasPrice": "0x9", "maxFeePerGas": "0xa", "maxPriorityFeePerGas": "0x1"}, Fees(10, 1)),
    ],
)
def test_a_pending_transaction_is_read_as_nodes_tell_it(prices: dict[str, str], expected: Fees) -> None:
    """A legacy one offers all of its gas price as a tip."""
    ahead = read_pending(told(**prices))
    assert ahead is not None
    assert ahead.fees == expected
    assert (ahead.sender, ahead.nonce, ahead.gas_limit) == (b"\x22" * 20, 7, 9)
    assert ahead.call == TxCall(b"\x33" * 20, b"\xab\xcd", 5)


@pytest.mark.parametrize(
    "answer",
    [None, "0x12", {}, {"hash": 1, "to": 2}, {"blockNumber": "0x1"}, {"to": None}, {"nonce": None}, {"input": "0x0"}],
)
def test_what_is_mined_or_malformed_is_no_pending_transaction(answer: Any) -> None:
    whole = {**told(gasPrice="0x9"), **answer} if isinstance(answer, dict) and len(answer) == 1 else answer
    assert read_pending(whole) is None


def told(**changes: Any) -> dict[str, Any]:
    plain = {"hash": "0x" + "11" * 32, "from": "0x" + "22" * 20, "to": "0x" + "33" * 20, "nonce": "0x7", "gas": "0x9"}
    return {**plain, "input": "0xabcd", "value": "0x5", "blockNumber": None, **changes}


# --- lifecycle --------------------------------------------------------------------------------------------------------


def private(status: IntentStatus = IntentStatus.BROADCAST) -> Intent:
    """Offered for block 11 alone."""
    return marked(intent(status), UPDATE, for_block=11)


def seen(before: Intent, number: int, *receipts: Any, nonce: int | None = NONCE) -> Intent:
    sight = Sight(block(number), nonce, {r.transaction_hash: r for r in receipts}, {})
    return observe(before, sight, is_canonical=lambda _: True, confirmations=3, finalized=0, now=1.0)


@pytest.mark.parametrize("status", [IntentStatus.PLANNED, IntentStatus.BROADCAST, IntentStatus.REORGED])
def test_when_its_only_block_has_come_without_it_an_offer_lapses(status: IntentStatus) -> None:
    lapsed = seen(private(status), 11)
    assert (lapsed.status, lapsed.included_number, lapsed.tx_hash) == (IntentStatus.ABANDONED, 11, None)
    assert "lapsed" in str(lapsed.reason)
    assert [attempt.status for attempt in lapsed.attempts] == ["lost"]


def test_before_its_block_and_while_the_nonce_is_not_known_nothing_lapses() -> None:
    assert seen(private(), 10) == private()
    assert seen(private(), 11, nonce=None) == private()


def test_an_offer_that_was_mined_is_included() -> None:
    offer = private()
    mined = seen(offer, 11, receipt(offer, 0, 11), nonce=NONCE + 1)
    assert mined.status is IntentStatus.INCLUDED


def test_a_lapsed_offer_that_is_mined_all_the_same_counts() -> None:
    """A relay may not do it; should it, we know what we paid."""
    lapsed = seen(private(), 11)
    mined = seen(lapsed, 12, receipt(lapsed, 0, 12), nonce=NONCE + 1)
    assert (mined.status, mined.included_number, mined.gas_used) == (IntentStatus.INCLUDED, 12, 70_000)


def test_a_lapse_is_unlearned_with_its_block() -> None:
    lapsed = seen(private(), 11)
    assert orphan(lapsed, BlockRef(10, b""), 2.0).status is IntentStatus.REORGED


def test_what_was_mined_once_is_in_the_open_when_its_block_is_orphaned() -> None:
    """Anybody may bring it into another block: it keeps its nonce until one is mined, like everything public."""
    offer = private()
    mined = seen(offer, 11, receipt(offer, 0, 11), nonce=NONCE + 1)
    orphaned = orphan(mined, BlockRef(10, b""), 2.0)
    assert (update_of(orphaned), offered_until(orphaned)) == (UPDATE.tx_hash, None)
    assert seen(orphaned, 12).status is IntentStatus.REORGED
    lapsed = orphan(seen(private(), 11), BlockRef(10, b""), 2.0)
    assert offered_until(lapsed) == 11


def test_in_the_open_nothing_lapses() -> None:
    public = marked(intent(), UPDATE, for_block=None)
    assert seen(public, 50) == public
    assert (update_of(public), offered_until(public)) == (UPDATE.tx_hash, None)


def test_what_an_intent_follows_is_stored_with_it() -> None:
    """By JSON, as everything of a plan."""
    assert any("for_block" in str(value) for value in intent_row(private()))
    assert (update_of(intent()), offered_until(intent())) == (None, None)


@given(st.integers(0, 10**9), st.integers(1, 4094))
def test_offers_of_near_blocks_never_have_the_same_bytes(number: int, later: int) -> None:
    """Nor those of what is sent in the open."""
    assert distinct_gas(100_000, number) != distinct_gas(100_000, number + later)
    assert distinct_gas(100_000, number) > 100_000


# --- ways -------------------------------------------------------------------------------------------------------------


class Takes:
    """A route that takes what has bytes."""

    name, ordered_by_fee = "takes", False

    def takes(self, ahead: Ahead) -> bool:
        return ahead.raw is not None


def test_bundles_are_preferred_and_the_mempool_is_for_what_is_public() -> None:
    mempool: Any = object()
    ways = Ways([Takes()], mempool)  # type: ignore[list-item]
    in_pool = replace(UPDATE, fees=Fees(2, 1))
    assert ways.behind(replace(in_pool, raw=b"raw"), 5)[1] is True
    assert ways.behind(in_pool, 5) == (mempool, False)
    assert ways.behind(UPDATE, 5) == (None, False)
    assert Ways([Takes()]).behind(in_pool, 5) == (None, False)  # type: ignore[list-item]


# --- who is watched ---------------------------------------------------------------------------------------------------

AGGREGATOR, FORWARDER, NODE = b"\xa1" * 20, b"\xf0" * 20, b"\x0e" * 20


def test_a_feed_is_watched_with_its_decimals_and_transmitters() -> None:
    reads = look_up({AGGREGATOR: ["aave"], b"\xa2" * 20: ["morpho"]})
    calls = next(reads)
    listed = (32).to_bytes(32, "big") + (1).to_bytes(32, "big") + FORWARDER.rjust(32, b"\0")
    answers = [(18).to_bytes(32, "big"), listed, None, None, b"\xff" * 31, b"\xff" * 96]
    with pytest.raises(StopIteration) as done:
        reads.send(answers)
    watched = done.value.value
    assert len(calls) == 6
    assert watched.aggregators[AGGREGATOR] == Aggregator(18, frozenset({FORWARDER}), frozenset({"aave"}))
    assert watched.aggregators[b"\xa2" * 20] == Aggregator(8, frozenset(), frozenset({"morpho"}))
    assert "0x" + FORWARDER.hex() in watched.addressees


def test_only_who_may_write_is_believed() -> None:
    """The node itself, or whoever sends through a forwarder that may; of a hint the sender is not known."""
    watched = Watched({AGGREGATOR: Aggregator(8, frozenset({FORWARDER, NODE}), frozenset({"aave"}))})
    writes = [Written(AGGREGATOR, 1), Written(b"\x99" * 20, 2)]
    assert watched.relevant(writes, NODE, AGGREGATOR) == writes[:1]
    assert watched.relevant(writes, b"\x77" * 20, FORWARDER) == writes[:1]
    assert watched.relevant(writes, b"\x77" * 20, AGGREGATOR) == []
    assert watched.relevant(writes) == writes[:1]


# --- prepared plans ---------------------------------------------------------------------------------------------------


class Protocol:
    name = "lab"

    def position_id(self, key: bytes) -> str:
        return f"lab:{key.hex()}"


def opportunity(price: int = 100, position: object = "as it is", updated_at: int = 1) -> Opportunity:
    from keeper.core.types import Book

    adapter: Any = Protocol()
    prices = {b"\x01" * 20: Price(price, 8, updated_at)}
    return Opportunity(Venue(adapter, Book(market=None, prices=prices, positions={b"k": position})), b"k")


def test_a_prepared_plan_is_used_when_everything_is_as_it_was_foreseen_to_be() -> None:
    """Not by another price or position, nor after a few blocks; when the feed says it was updated does not matter."""
    plan = LiquidationPlan(
        account=b"k",
        debt_asset=b"",
        repay_assets=0,
        collateral_asset=b"",
        expected_repaid_assets=1,
        expected_seized_assets=1,
        profit_base=1,
        judged_at=1,
        health_wad=None,
        call=TxCall(b"", b""),
        approval=None,
        gas_limit_hint=1,
    )
    prepared = Prepared()
    prepared.keep([Chosen(opportunity(), plan, 0)], 10)
    assert prepared.plan(opportunity(updated_at=2), 11) == plan
    assert prepared.plan(opportunity(price=101), 11) is None
    assert prepared.plan(opportunity(position="changed"), 11) is None
    assert prepared.plan(opportunity(), 11 + KEPT_BLOCKS) is None
    prepared.keep([], 10 + KEPT_BLOCKS)
    assert prepared.plan(opportunity(), 11) is None


@pytest.mark.parametrize(("lasting_cooldown_s", "follows"), [(0.0, True), (3_600.0, False)])
def test_behind_an_update_a_cause_rests_for_as_many_seconds_as_elsewhere(
    lasting_cooldown_s: float, follows: bool
) -> None:
    """Its liquidation failed in a paused market eight blocks ago, which five blocks are enough for otherwise."""
    pipeline = BehindPipeline()
    pipeline.settings = replace(pipeline.settings, lasting_cooldown_s=lasting_cooldown_s)
    pipeline.executor, pipeline.clock = pipeline._executor(), 1_700_000_000.0
    chain = pipeline.updated
    for opened in ([2], [], [], [1]):
        chain.mine(opened=opened, at_most=0 if opened == [1] else 1000)
        pipeline.follow()
    chain.tip.after.paused = True
    chain.mine()
    pipeline.follow()
    [failed] = [one for one in pipeline.store.journal.values() if one.position == "model:1"]
    assert failed.status is IntentStatus.FAILED
    assert is_lasting(str(failed.reason))
    for _ in range(8):
        chain.mine(closed=[1], paused=False)
        pipeline.follow()
    pipeline.foresee(pipeline.update([1], public=False))
    assert bool(chain.offers) is follows
    pipeline.close()

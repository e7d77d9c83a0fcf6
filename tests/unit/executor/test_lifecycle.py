"""What blocks say about an intent, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.core.policy import SigningPolicy
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, TxCall
from keeper.executor.compose import Composer, Draft
from keeper.executor.fees import Fees
from keeper.executor.lifecycle import Action, Receipt, Sight, decide, observe, orphan, sent, uncertain
from keeper.executor.signer import LocalSigner
from keeper.executor.upkeep import Judgement, Market, tend

GWEI = 10**9
SIGNER = LocalSigner(b"\x01" * 32, chain_id=1)
CALL = TxCall(b"\x09" * 20, b"do")
COMPOSER = Composer(SIGNER, SigningPolicy(1, SIGNER.address, 1_000 * GWEI, exactly=frozenset({CALL})))
NONCE = 5


def block(number: int) -> BlockRef:
    return BlockRef(number, number.to_bytes(32, "big"))


def intent(status: IntentStatus = IntentStatus.BROADCAST, *, kind: str = "liquidation", fee: int = 10) -> Intent:
    draft = Draft(kind=kind, cause="liquidate:a", call=CALL, gas_limit=100_000)
    made = COMPOSER.intent(draft, NONCE, Fees(fee * GWEI, GWEI), block(10), 0.0)
    if status is not IntentStatus.PLANNED:
        made = sent(made, made.attempts[0].tx_hash, error=None, refused=False, now=0.0)
    return replace(made, status=status)


def replaced(old: Intent) -> Intent:
    return COMPOSER.replacement(old, Fees(20 * GWEI, 2 * GWEI), 0.0)


def cancelled(old: Intent) -> Intent:
    return COMPOSER.cancellation(old, Fees(20 * GWEI, 2 * GWEI), "given up: healthy", 0.0)


def receipt(of: Intent, attempt: int, number: int, *, succeeded: bool = True, gas_used: int = 70_000) -> Receipt:
    return Receipt(of.attempts[attempt].tx_hash, block(number), succeeded, gas_used, gas_used * GWEI)


def after(
    before: Intent,
    number: int,
    *receipts: Receipt,
    nonce: int | None = NONCE,
    known: dict[bytes, bool] | None = None,
    finalized: int = 0,
    orphaned: tuple[int, ...] = (),
    is_counted: bool = True,
) -> Intent:
    sight = Sight(block(number), nonce, {r.transaction_hash: r for r in receipts}, known or {})
    return observe(
        before,
        sight,
        is_canonical=lambda ref: ref.number not in orphaned,
        confirmations=3,
        finalized=finalized,
        now=1.0,
        is_counted=is_counted,
    )


def test_what_was_armed_and_then_replaced_never_left_only_if_the_node_has_none_of_it() -> None:
    """The first may wait in its pool where the second is not there: the nonce is not free."""
    armed = cancelled(uncertain(intent(IntentStatus.PLANNED)))
    first, second = (attempt.tx_hash for attempt in armed.attempts)
    assert after(armed, 11, known={first: True, second: False}).status is IntentStatus.PLANNED
    assert after(armed, 11, known={second: False}).status is IntentStatus.PLANNED
    assert after(armed, 11, known={first: False, second: False}).status is IntentStatus.ABANDONED


def test_one_block_that_counts_too_high_spends_nothing_for_good() -> None:
    """The next one says that the nonce is free: it is ours again, and tended as before."""
    waiting = intent()
    doubted = after(waiting, 11, nonce=NONCE + 1)
    assert doubted.included_number == 11 and not doubted.status.settled
    assert after(doubted, 12, nonce=None) is doubted, "no answer is no second word"
    again = after(doubted, 12, nonce=NONCE)
    assert (again.included_number, again.status, again.reason) == (None, IntentStatus.BROADCAST, None)
    assert after(doubted, 12, nonce=NONCE + 1).status is IntentStatus.ABANDONED


def test_what_the_node_still_has_is_given_up_at_finality_alone() -> None:
    """Two blocks count too high, but the transaction waits in the pool, or is mined and its receipt not there yet."""
    waiting = intent()
    known = {waiting.attempts[0].tx_hash: True}
    doubted = after(waiting, 11, nonce=NONCE + 1, known=known)
    for number in (12, 13):
        assert not after(doubted, number, nonce=NONCE + 1, known=known).status.settled
    assert after(doubted, 14, nonce=NONCE + 1, known=known, finalized=11).status is IntentStatus.ABANDONED
    assert after(doubted, 13, receipt(waiting, 0, 11), nonce=NONCE + 1).status is IntentStatus.CONFIRMED


def test_a_block_without_news_leaves_the_very_same_intent() -> None:
    waiting = intent()
    assert after(waiting, 11) is waiting


def test_a_receipt_in_a_canonical_block_includes_it_and_depth_confirms_it() -> None:
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=6)
    assert (included.status, included.included_number) == (IntentStatus.INCLUDED, 11)
    assert (included.gas_used, included.gas_cost_wei) == (70_000, 70_000 * GWEI)
    assert after(included, 12, nonce=6).status is IntentStatus.INCLUDED
    assert after(included, 13, nonce=6).status is IntentStatus.CONFIRMED


def test_finality_confirms_before_depth_does() -> None:
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=6)
    assert after(included, 12, nonce=6, finalized=11).status is IntentStatus.CONFIRMED


def test_a_receipt_of_another_branch_or_of_a_later_block_says_nothing_yet() -> None:
    waiting = intent()
    assert after(waiting, 11, receipt(waiting, 0, 11), orphaned=(11,)) is waiting
    assert after(waiting, 11, receipt(waiting, 0, 12)) is waiting


def test_any_attempt_may_be_the_one_that_is_mined() -> None:
    """Also one that was replaced, or refused: the others are lost with it."""
    twice = replaced(intent())
    included = after(twice, 11, receipt(twice, 0, 11), nonce=6)
    assert [a.status for a in included.attempts] == ["included", "lost"]
    assert included.tx_hash == twice.attempts[0].tx_hash


def test_a_reverted_transaction_is_failed_at_once() -> None:
    waiting = intent()
    failed = after(waiting, 11, receipt(waiting, 0, 11, succeeded=False), nonce=6)
    assert (failed.status, failed.reason) == (IntentStatus.FAILED, "reverted")
    burnt = after(waiting, 11, receipt(waiting, 0, 11, succeeded=False, gas_used=100_000), nonce=6)
    assert burnt.reason == "reverted: used all of its 100000 gas"


def test_a_mined_cancellation_abandons_and_keeps_the_reason() -> None:
    given_up = cancelled(intent())
    abandoned = after(given_up, 11, receipt(given_up, 1, 11), nonce=6)
    assert (abandoned.status, abandoned.reason) == (IntentStatus.ABANDONED, "given up: healthy")


def test_a_nonce_used_by_somebody_else_abandons_only_when_no_receipt_turns_up() -> None:
    """A node's receipts can lag behind its state."""
    waiting = intent()
    spent = after(waiting, 11, nonce=6)
    assert spent.status is IntentStatus.BROADCAST
    assert spent.included_number == 11
    assert after(spent, 12, nonce=6).status is IntentStatus.ABANDONED
    late = after(spent, 12, receipt(waiting, 0, 11), nonce=6)
    assert (late.status, late.included_number) == (IntentStatus.INCLUDED, 11)


def test_a_nonce_that_could_not_be_read_says_nothing() -> None:
    waiting = intent()
    assert after(waiting, 11, nonce=None) is waiting


@pytest.mark.parametrize("status", [IntentStatus.PLANNED, IntentStatus.REORGED])
def test_a_node_that_has_the_transaction_proves_that_it_left(status: IntentStatus) -> None:
    unsure = intent(status)
    tx_hash = unsure.attempts[0].tx_hash
    assert after(unsure, 11, known={tx_hash: True}).status is IntentStatus.BROADCAST
    assert after(unsure, 11, known={tx_hash: False}) is unsure


@pytest.mark.parametrize("confirmed", [False, True])
def test_an_orphaned_block_takes_back_all_it_said(confirmed: bool) -> None:
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=6)
    included = after(included, 13, nonce=6) if confirmed else included
    assert orphan(included, block(11), 2.0) is included
    reorged = orphan(included, block(10), 2.0)
    assert reorged.status is IntentStatus.REORGED
    assert (reorged.tx_hash, reorged.included_number, reorged.gas_used) == (None, None, None)
    assert reorged.attempts[0].status == "broadcast"
    assert after(reorged, 11, receipt(waiting, 0, 11), nonce=6).status is IntentStatus.INCLUDED


# --- receipts that are made up ----------------------------------------------------------------------------------------


def test_no_receipt_is_believed_where_its_nonce_is_not_used() -> None:
    """Be it free, or not told."""
    waiting = intent()
    for nonce in (NONCE, None):
        assert after(waiting, 11, receipt(waiting, 0, 11), nonce=nonce) is waiting
        assert after(waiting, 12, receipt(waiting, 0, 11), nonce=nonce) is waiting
    assert after(waiting, 12, receipt(waiting, 0, 11), nonce=6).status is IntentStatus.INCLUDED


@pytest.mark.parametrize(("succeeded", "age"), [(True, 1), (True, 5), (False, 1), (False, 5)])
def test_what_a_made_up_receipt_said_is_taken_back_when_the_nonce_is_free(succeeded: bool, age: int) -> None:
    """The count was made up with it. Be it failed, or confirmed by depth meanwhile."""
    waiting = intent()
    believed = after(waiting, 11, receipt(waiting, 0, 11, succeeded=succeeded), nonce=6)
    believed = after(believed, 10 + age, nonce=6)
    expected = IntentStatus.FAILED if not succeeded else IntentStatus.CONFIRMED if age > 2 else IntentStatus.INCLUDED
    assert believed.status is expected
    reopened = after(believed, 11 + age)
    assert (reopened.status, reopened.tx_hash, reopened.included_number) == (IntentStatus.REORGED, None, None)
    assert (reopened.gas_used, reopened.realized, reopened.attempts[0].status) == (None, {}, "broadcast")
    assert "its nonce is free" in str(reopened.reason)


def test_a_cancellation_that_was_made_up_holds_its_nonce_again() -> None:
    given_up = cancelled(intent())
    abandoned = after(given_up, 11, receipt(given_up, 1, 11), nonce=6)
    assert abandoned.status is IntentStatus.ABANDONED
    assert after(abandoned, 12).status is IntentStatus.REORGED


def test_what_was_mined_after_all_is_found_again() -> None:
    """Once, a block counted too low."""
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=6)
    reopened = after(included, 12)
    again = after(reopened, 13, receipt(waiting, 0, 11), nonce=6)
    assert (again.status, again.included_number, again.tx_hash) == (IntentStatus.CONFIRMED, 11, included.tx_hash)


def test_only_a_block_that_is_not_older_and_is_asked_before_finality_takes_back() -> None:
    """What a nonce was before its block proves nothing; and what is final stays."""
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=6)
    assert after(included, 10) is included
    assert after(included, 12, nonce=None) is included
    assert after(included, 12, finalized=11).status is IntentStatus.CONFIRMED
    failed = after(waiting, 11, receipt(waiting, 0, 11, succeeded=False), nonce=6)
    assert after(failed, 12, finalized=11) is failed


def test_of_what_another_key_left_our_nonce_says_nothing() -> None:
    waiting = intent()
    included = after(waiting, 11, receipt(waiting, 0, 11), nonce=0, is_counted=False)
    assert included.status is IntentStatus.INCLUDED
    assert after(included, 12, nonce=0, is_counted=False) is included


# --- what to do about one that waits ----------------------------------------------------------------------------------


def decided(waiting: Intent, **facts: Any) -> Action:
    usual: dict[str, Any] = {
        "wanted": True,
        "known": True,
        "underpriced": False,
        "age_blocks": 1,
        "is_next": True,
        "needed_fee_wei": 5 * GWEI,
        "replace_after_blocks": 3,
    }
    return decide(waiting, **{**usual, **facts})


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        ({}, Action.WAIT),
        ({"known": None}, Action.WAIT),
        ({"known": False}, Action.RESEND),
        ({"known": False, "needed_fee_wei": 11 * GWEI}, Action.REPLACE),
        ({"age_blocks": 3}, Action.REPLACE),
        ({"age_blocks": 3, "is_next": False}, Action.WAIT),
        ({"age_blocks": 3, "is_next": False, "needed_fee_wei": 11 * GWEI}, Action.REPLACE),
        ({"age_blocks": 2, "needed_fee_wei": 11 * GWEI}, Action.WAIT),
        ({"underpriced": True}, Action.REPLACE),
        ({"wanted": False}, Action.CANCEL),
        ({"wanted": None, "known": False}, Action.WAIT),
    ],
)
def test_what_waits_is_left_sent_again_replaced_or_cancelled(facts: dict[str, Any], action: Action) -> None:
    assert decided(intent(), **facts) is action


def test_what_is_not_known_to_have_left_is_sent_once_judged_again() -> None:
    assert decided(intent(IntentStatus.PLANNED), known=None) is Action.RESEND
    assert decided(intent(IntentStatus.REORGED), known=None) is Action.RESEND
    assert decided(intent(IntentStatus.REORGED), known=None, wanted=None) is Action.WAIT


def test_a_cancellation_is_not_cancelled_again() -> None:
    assert decided(cancelled(intent()), wanted=False) is Action.WAIT


def tended(
    waiting: list[Intent],
    judgement: Judgement,
    *,
    known: bool | None,
    needed: int,
    cap: int = 500,
    sent: int = 10,
    composer: Composer = COMPOSER,
) -> tuple[list[Intent], list[Any]]:
    fresh = Fees(needed * 2 * GWEI, GWEI) if needed * 2 <= cap else None
    last = waiting[0].attempts[-1].tx_hash
    sight = Sight(block(20), NONCE, {}, {} if known is None else {last: known})
    return tend(
        waiting,
        {w.id: judgement for w in waiting},
        sight,
        {last: sent},
        Market(
            needed_fee_wei=needed * GWEI,
            fresh=fresh,
            cap_wei=cap * GWEI,
            first_cap_wei=cap * GWEI,
            tip_cap_wei=20 * GWEI,
            base_fee_wei=needed * GWEI,
            typical_tip_wei=0,
        ),
        composer,
        replace_after_blocks=3,
        room=lambda more_wei: None,
        now=1.0,
    )


def test_a_replacement_keeps_nonce_call_and_gas_and_pays_what_new_ones_pay() -> None:
    [changed], [attempt] = tended([intent()], Judgement(wanted=True), known=True, needed=15)
    old, new = changed.attempts
    assert (new.nonce, new.gas_limit, new.purpose) == (old.nonce, old.gas_limit, "act")
    assert new.max_fee_wei == 30 * GWEI
    assert (old.status, new.status) == ("replaced", "signed")
    assert attempt == new


def test_above_the_cap_nothing_is_replaced() -> None:
    assert tended([intent(fee=450)], Judgement(wanted=True), known=True, needed=455, cap=500) == ([], [])


def test_above_the_cap_what_the_node_lost_is_sent_again_or_cancelled_at_the_present_price() -> None:
    """With nothing to outbid, an empty transfer at today's fee frees the nonce."""
    dear = intent(fee=490)
    changed, outgoing = tended([dear], Judgement(wanted=True), known=False, needed=5)
    assert (changed, outgoing) == ([], [dear.attempts[0]])
    [given_up], [cancel] = tended([dear], Judgement(wanted=False, reason="healthy"), known=False, needed=5)
    assert (cancel.purpose, cancel.max_fee_wei) == ("cancel", 10 * GWEI)
    assert given_up.reason == "given up: healthy"


def test_what_gas_made_worthless_is_cancelled() -> None:
    """At 15 gwei it would cost more than it brings."""
    [given_up], [cancel] = tended([intent()], Judgement(wanted=True, worth_fee_wei=12 * GWEI), known=True, needed=15)
    assert (cancel.purpose, cancel.nonce) == ("cancel", NONCE)
    assert given_up.reason == f"given up: gas costs {15 * GWEI} wei, it pays up to {12 * GWEI}"


def test_what_no_block_would_take_as_cancelled_either_waits_at_its_own_price() -> None:
    """Above the cap a cancellation could be mined only after the gas fell, when the liquidation pays again."""
    assert tended([intent()], Judgement(wanted=True, worth_fee_wei=12 * GWEI), known=True, needed=50, cap=30) == (
        [],
        [],
    )


@pytest.mark.parametrize(("worth", "offered"), [(100, 30), (20, 20)])
def test_a_replacement_offers_what_new_ones_pay_and_never_more_than_it_brings(worth: int, offered: int) -> None:
    [changed], [attempt] = tended([intent()], Judgement(wanted=True, worth_fee_wei=worth * GWEI), known=True, needed=15)
    assert attempt.max_fee_wei == offered * GWEI
    assert changed.attempts[-1] == attempt


def test_what_would_be_mined_at_a_loss_is_cancelled_at_once() -> None:
    """At 10 gwei the next block could take it, for 9 and its tip; what others left of it pays 8."""
    [given_up], [cancel] = tended([intent()], Judgement(wanted=True, worth_fee_wei=8 * GWEI), known=True, needed=9)
    assert cancel.purpose == "cancel"
    assert "what it still brings" in str(given_up.reason)


def test_a_loss_that_was_planned_is_no_reason_to_cancel() -> None:
    losing = replace(intent(), profit_expected=-1)
    at_a_loss = Judgement(wanted=True, worth_fee_wei=8 * GWEI)
    assert tended([losing], at_a_loss, known=True, needed=9, sent=20) == ([], [])
    [_], [cancel] = tended([intent()], at_a_loss, known=True, needed=9, sent=20)
    assert cancel.purpose == "cancel"


def test_where_the_profit_leaves_no_room_for_a_bump_it_waits() -> None:
    """10 gwei is offered, a node takes no replacement below 11.25, and it brings 11."""
    assert tended([intent()], Judgement(wanted=True, worth_fee_wei=11 * GWEI), known=True, needed=11) == ([], [])

"""What blocks say about our transactions. Pure: an intent and a block give the intent after it.

    PLANNED ──▶ BROADCAST ──▶ INCLUDED ──▶ CONFIRMED      one of our transactions with its nonce was mined
       │            │     └──▶ FAILED                      it was mined, and reverted
       └────────────┴────────▶ ABANDONED                   its cancellation, or something foreign, took the nonce
                REORGED ◀── any of the five, when the block that said so is orphaned, or its receipt was made up

Behind a price update that is not mined yet, an intent may be offered for one block alone (`ahead`). When that block
comes without it, it is abandoned and its nonce is free.

One that was only armed (`armed`) when its daemon ended is abandoned likewise, once the node says that it never had it.

Every intent owns one nonce. It is *spent* when a block shows the nonce used (`included_number`), whatever used it.
One block's word is not enough to give it up: a second has to say the same, and while the node still has one of our
transactions for it, mined or waiting, only finality settles it. Where the second says that it was not used, it was not.
Until then each of its attempts may be mined, also those that a node refused or that were replaced: nodes err, and some
lie. So nothing is concluded from answers to a submission: receipts in canonical blocks and the account's nonce decide.

A receipt can be made up, too, so it is believed in a block that shows its nonce used, and no other. What one said
before its block is final is taken back where a block shows the nonce free after all. Both are safe, since a nonce is
used once: what was mined all the same is found again, by its receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from keeper.core.records import Attempt, Intent, IntentStatus
from keeper.core.types import BlockRef, RawLog
from keeper.executor.ahead import exposed, offered_until

# A receipt index can lag behind the state: "used by something else" waits for one more block.
_FOREIGN_DEPTH = 2

_ARMED = "armed"
_STAYED = "was ready when the daemon ended, and never left: the node does not know it"
_LAPSED = "lapsed: the price update it was to follow was not mined in time, or without it"


@dataclass(frozen=True, slots=True)
class Receipt:
    """cost_wei: all that was paid for it, a rollup's data fee included."""

    transaction_hash: bytes
    block: BlockRef
    succeeded: bool
    gas_used: int
    cost_wei: int
    logs: tuple[RawLog, ...] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What one block shows of our account.

    nonce: of the account in that block; None when it could not be read.
    receipts: by transaction hash, as the node has them now: they may be of a later block, or of another branch.
    known: whether the node has the transaction at all, mined or waiting; absent when it was not asked or did not say.
    pending_nonce: the account's nonce once all that waits without a gap is mined, ours or not; None when not said.
    """

    block: BlockRef
    nonce: int | None
    receipts: Mapping[bytes, Receipt]
    known: Mapping[bytes, bool]
    pending_nonce: int | None = None


def nonce_of(intent: Intent) -> int:
    return intent.attempts[0].nonce


def most_wei(intent: Intent) -> int:
    """The most gas that it can cost: each of its attempts may still be the one that is mined."""
    return max(attempt.gas_limit * attempt.max_fee_wei for attempt in intent.attempts)


def is_spent(intent: Intent) -> bool:
    """Whether a block showed the intent's nonce used."""
    return intent.included_number is not None


def is_open(intent: Intent) -> bool:
    """Whether it may still be mined, or just was: its nonce is free, or was used by what nobody knows yet."""
    return not is_spent(intent) or (intent.tx_hash is None and not intent.status.settled)


def is_cancelling(intent: Intent) -> bool:
    return intent.attempts[-1].purpose == "cancel"


def succeeded(intent: Intent) -> bool:
    """Whether its transaction did what it was made for."""
    return intent.status in (IntentStatus.INCLUDED, IntentStatus.CONFIRMED)


def observe(
    intent: Intent,
    sight: Sight,
    *,
    is_canonical: Callable[[BlockRef], bool],
    confirmations: int,
    finalized: int,
    now: float,
    is_counted: bool = True,
) -> Intent:
    """The intent after this block; the same object when the block changes nothing.

    finalized: number of the newest final block. is_counted: whether the account whose nonce is seen signed it; of what
    another key left, that nonce says nothing.
    """
    if _has_own_inclusion(intent):
        if is_counted and _is_disproven(intent, sight, finalized):
            said = f"block {intent.included_number} was said to hold it, and its nonce is free in {sight.block.number}"
            return _take_back(intent, said, now)
    else:
        receipt = _canonical_receipt(intent, sight, is_canonical)
        if receipt is not None and (_is_used(intent, sight) or not is_counted):
            intent = _include(intent, receipt, now)
        elif not is_spent(intent):
            if _is_used(intent, sight):
                reason = f"nonce {nonce_of(intent)} was used by a transaction that is not ours"
                intent = _spend(intent, sight.block, reason, now)
            elif _has_lapsed(intent, sight):
                intent = _abandon(_spend(intent, sight.block, _LAPSED, now), now)
            elif _never_left(intent, sight):
                intent = _abandon(_spend(intent, sight.block, _STAYED, now), now)
            else:
                intent = _acknowledge(intent, sight, now)
        elif _is_contradicted(intent, sight):
            intent = replace(intent, included_number=None, included_hash=None, reason=None, updated_at=now)
    return _settle(intent, sight, confirmations, finalized, now)


def orphan(intent: Intent, ancestor: BlockRef, now: float) -> Intent:
    """The intent after every block above the ancestor was reverted; the same object when that changes nothing."""
    if intent.included_number is None or intent.included_number <= ancestor.number:
        return intent
    return _take_back(intent, f"block {intent.included_number} was orphaned", now)


def _take_back(intent: Intent, reason: str, now: float) -> Intent:
    """The intent as if no block had ever shown its nonce used; its transactions may be mined still, or again."""
    if intent.tx_hash is not None:
        intent = exposed(replace(intent, plan={key: value for key, value in intent.plan.items() if key != _ARMED}))
    attempts = tuple(_waiting(a) if a.status in ("included", "reverted", "lost") else a for a in intent.attempts)
    return replace(
        intent,
        status=IntentStatus.REORGED,
        updated_at=now,
        tx_hash=None,
        included_number=None,
        included_hash=None,
        repaid_assets=None,
        seized_assets=None,
        profit_realized=None,
        gas_used=None,
        gas_cost_wei=None,
        realized={},
        reason=reason,
        attempts=attempts,
    )


class Action(Enum):
    WAIT = "wait"
    RESEND = "resend"  # the same bytes
    REPLACE = "replace"  # the same call on the same nonce, better paid
    CANCEL = "cancel"  # an empty transfer to ourselves on the same nonce


def decide(
    intent: Intent,
    *,
    wanted: bool | None,
    known: bool | None,
    underpriced: bool,
    age_blocks: int,
    is_next: bool,
    needed_fee_wei: int,
    replace_after_blocks: int,
) -> Action:
    """What to do about an unspent intent that an earlier block left behind.

    wanted: whether its call still succeeds when judged again; None when that could not be found out.
    known: whether the node has its last attempt. underpriced: whether the node refused that for its fee.
    age_blocks: since its last attempt was sent. is_next: whether its nonce is the account's next.
    needed_fee_wei: least maximum fee that the next block takes.
    """
    last = intent.attempts[-1]
    if wanted is False and not is_cancelling(intent):
        return Action.CANCEL
    if wanted is None:
        return Action.WAIT
    too_cheap = last.max_fee_wei < needed_fee_wei
    if underpriced:
        return Action.REPLACE
    if known is False or (known is None and intent.status in (IntentStatus.PLANNED, IntentStatus.REORGED)):
        return Action.REPLACE if too_cheap else Action.RESEND
    if age_blocks >= replace_after_blocks and (is_next or too_cheap):
        return Action.REPLACE
    return Action.WAIT


def add_attempt(intent: Intent, attempt: Attempt, now: float) -> Intent:
    """The intent with one more transaction on its nonce; the earlier ones may still be mined instead."""
    earlier = tuple(replace(a, status="replaced") for a in intent.attempts)
    return replace(intent, attempts=(*earlier, attempt), updated_at=now)


def sent(intent: Intent, attempt_hash: bytes, *, error: str | None, refused: bool, now: float) -> Intent:
    """The intent after a submission was answered, or was not: either way the attempt may be on its way."""
    attempts = tuple(
        replace(a, status="refused" if refused else "broadcast", broadcast_at=now, error=error)
        if a.tx_hash == attempt_hash and a.status in ("signed", "broadcast", "refused")
        else a
        for a in intent.attempts
    )
    status = intent.status if is_spent(intent) else IntentStatus.BROADCAST
    return replace(intent, status=status, attempts=attempts, updated_at=now)


# --- single steps -----------------------------------------------------------------------------------------------------


def _has_own_inclusion(intent: Intent) -> bool:
    return is_spent(intent) and intent.tx_hash is not None


def _canonical_receipt(intent: Intent, sight: Sight, is_canonical: Callable[[BlockRef], bool]) -> Receipt | None:
    for attempt in intent.attempts:
        receipt = sight.receipts.get(attempt.tx_hash)
        if receipt is not None and receipt.block.number <= sight.block.number and is_canonical(receipt.block):
            return receipt
    return None


def _include(intent: Intent, receipt: Receipt, now: float) -> Intent:
    mined = next(a for a in intent.attempts if a.tx_hash == receipt.transaction_hash)
    outcome = "included" if receipt.succeeded else "reverted"
    if mined.purpose == "cancel":
        status, reason = IntentStatus.ABANDONED, intent.reason
    elif receipt.succeeded:
        status, reason = IntentStatus.INCLUDED, None
    else:
        status, reason = IntentStatus.FAILED, "reverted"
        if receipt.gas_used >= mined.gas_limit:
            reason = f"reverted: used all of its {mined.gas_limit} gas"
    return replace(
        intent,
        status=status,
        updated_at=now,
        tx_hash=mined.tx_hash,
        included_number=receipt.block.number,
        included_hash=receipt.block.hash,
        gas_used=receipt.gas_used,
        gas_cost_wei=receipt.cost_wei,
        reason=reason,
        attempts=tuple(replace(a, status=outcome if a is mined else "lost") for a in intent.attempts),
    )


def _spend(intent: Intent, block: BlockRef, reason: str, now: float) -> Intent:
    return replace(intent, included_number=block.number, included_hash=block.hash, reason=reason, updated_at=now)


def _is_contradicted(intent: Intent, sight: Sight) -> bool:
    """Whether a block says that a nonce is free which an earlier one showed used by nobody knows what."""
    return not intent.status.settled and _is_free(intent, sight)


def is_contradictory(intent: Intent, sight: Sight) -> bool:
    """Whether a receipt, of this block or an earlier one, says that it was mined, and the nonce that it is free."""
    said = intent.tx_hash is not None or any(attempt.tx_hash in sight.receipts for attempt in intent.attempts)
    return said and _is_free(intent, sight)


def _is_used(intent: Intent, sight: Sight) -> bool:
    return sight.nonce is not None and sight.nonce > nonce_of(intent)


def _is_free(intent: Intent, sight: Sight) -> bool:
    return sight.nonce is not None and sight.nonce <= nonce_of(intent)


def _is_disproven(intent: Intent, sight: Sight, finalized: int) -> bool:
    """Whether a block says that a nonce is free which one of ours was said to have used, there or before."""
    number = intent.included_number
    return number is not None and finalized < number <= sight.block.number and _is_free(intent, sight)


def _has_lapsed(intent: Intent, sight: Sight) -> bool:
    """Whether the only block that an intent was offered for has come without it. Its nonce is free then: nobody else
    ever had the transaction, and the relay may not put it anywhere else. Should it all the same, it counts."""
    last = offered_until(intent)
    return last is not None and sight.nonce is not None and sight.block.number >= last


def uncertain(intent: Intent) -> Intent:
    """The intent of a transaction that was armed when its daemon ended: it may have left."""
    return replace(intent, plan={**intent.plan, _ARMED: True})


def is_uncertain(intent: Intent) -> bool:
    """Whether nobody knows if it ever left: it was armed when its daemon ended, and the node has not said yet."""
    unsure = intent.status in (IntentStatus.PLANNED, IntentStatus.REORGED) and intent.attempts[-1].status == "signed"
    return unsure and bool(intent.plan.get(_ARMED))


def _never_left(intent: Intent, sight: Sight) -> bool:
    """Whether what was armed when the daemon ended stayed where it was. Its nonce is free then; should it be mined all
    the same, it counts."""
    unknown = all(sight.known.get(attempt.tx_hash) is False for attempt in intent.attempts)
    return is_uncertain(intent) and sight.nonce is not None and unknown


def _abandon(intent: Intent, now: float) -> Intent:
    lost = tuple(replace(a, status="lost") for a in intent.attempts)
    return replace(intent, status=IntentStatus.ABANDONED, attempts=lost, updated_at=now)


def _acknowledge(intent: Intent, sight: Sight, now: float) -> Intent:
    """A node that has the transaction proves that it left, whatever we remember or were told."""
    last = intent.attempts[-1]
    unsure = intent.status in (IntentStatus.PLANNED, IntentStatus.REORGED) or last.status in ("signed", "refused")
    if not (unsure and sight.known.get(last.tx_hash)):
        return intent
    return sent(intent, last.tx_hash, error=None, refused=False, now=now)


def _settle(intent: Intent, sight: Sight, confirmations: int, finalized: int, now: float) -> Intent:
    if intent.included_number is None or intent.status.settled:
        return intent
    depth, is_final = sight.block.number - intent.included_number + 1, intent.included_number <= finalized
    if intent.tx_hash is None:
        still_there = any(sight.known.get(attempt.tx_hash) for attempt in intent.attempts)
        if sight.nonce is None or depth < _FOREIGN_DEPTH or (still_there and not is_final):
            return intent
        return _abandon(intent, now)
    if depth >= confirmations or is_final:
        return replace(intent, status=IntentStatus.CONFIRMED, updated_at=now)
    return intent


def _waiting(attempt: Attempt) -> Attempt:
    return replace(attempt, status="signed" if attempt.broadcast_at is None else "broadcast")

"""What becomes of transactions that an earlier block left waiting: send again, pay more, or give the nonce up. Pure but
for signing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from keeper.core.records import Attempt, Intent
from keeper.core.types import Block, Skip
from keeper.executor.compose import Composer
from keeper.executor.fees import (
    CANCELLATION,
    FIRST,
    REPLACEMENT,
    Fees,
    below,
    bump_fees,
    choose_fees,
    next_base_fee,
    tip_from_history,
)
from keeper.executor.lifecycle import Action, Sight, decide, is_cancelling, most_wei, nonce_of
from keeper.executor.ports import Settings
from keeper.executor.questions import Answers
from keeper.executor.refusals import Refusal, classify

log = structlog.get_logger(__name__)

MEDDLED = "look at who can write the database; its journal holds what this key never signed"


Room = Callable[[int], Skip | None]
"""Why what is on its way may not cost so many wei more at the most; None when the spend limits have room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What gas costs now. needed_fee_wei: least maximum fee the next block takes from us: its base fee, and the typical
    tip. fresh: what a new transaction would pay, None when that is above the cap. first_cap_wei: what it pays at most,
    unless the next block needs more; cap_wei, tip_cap_wei: what replacements do."""

    needed_fee_wei: int
    fresh: Fees | None
    cap_wei: int
    first_cap_wei: int
    tip_cap_wei: int
    base_fee_wei: int
    typical_tip_wei: int


def market_of(block: Block, base_fee_wei: int, answers: Answers, settings: Settings) -> Market:
    """What gas will cost in the block after this one."""
    base_fee = next_base_fee(base_fee_wei, block.gas_used, block.gas_limit)
    tip = tip_from_history(answers.tips_wei, settings.min_tip_wei, settings.first_tip_wei)
    fresh = choose_fees(base_fee, tip, forecast_blocks=settings.forecast_blocks, cap_wei=settings.max_fee_wei)
    if isinstance(fresh, Skip):
        log.warning("gas_too_expensive", block=block.number, reason=fresh.detail)
    affordable = None if isinstance(fresh, Skip) else fresh
    return Market(
        needed_fee_wei=base_fee + tip,
        fresh=affordable,
        cap_wei=settings.max_fee_wei,
        first_cap_wei=below(settings.max_fee_wei, FIRST),
        tip_cap_wei=settings.tip_cap_wei,
        base_fee_wei=base_fee,
        typical_tip_wei=tip,
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one waiting intent. wanted: whether its call still succeeds; None when nobody knows. reason: why not.
    worth_fee_wei: the most per gas at which it still pays; None for what is not done for profit, or has no price."""

    wanted: bool | None
    reason: str = ""
    worth_fee_wei: int | None = None


def tend(
    waiting: list[Intent],
    judgements: Mapping[str, Judgement],
    sight: Sight,
    sent_at: Mapping[bytes, int],
    market: Market,
    composer: Composer,
    *,
    replace_after_blocks: int,
    room: Room,
    now: float,
) -> tuple[list[Intent], list[Attempt]]:
    """The intents that change, and the attempts to send, by nonce.

    waiting: unspent intents by nonce. sent_at: block at which an attempt was last sent, by hash. room: of the spend
    limits, for replacements. They hold no cancellation: it buys almost no gas, and all behind it wait for its nonce.
    """
    changed: list[Intent] = []
    outgoing: list[Attempt] = []
    more_wei = 0
    for intent in waiting:
        judgement = _unless_at_a_loss(intent, judgements[intent.id], market)
        last = intent.attempts[-1]
        action = decide(
            intent,
            wanted=judgement.wanted,
            known=sight.known.get(last.tx_hash),
            underpriced=last.status == "refused" and classify(last.error or "") is Refusal.UNDERPRICED,
            age_blocks=sight.block.number - sent_at.get(last.tx_hash, sight.block.number),
            is_next=nonce_of(intent) == sight.nonce,
            needed_fee_wei=market.needed_fee_wei,
            replace_after_blocks=replace_after_blocks,
        )
        gone = sight.known.get(last.tx_hash) is False
        renewed = _renew(intent, action, judgement, market, composer, room, more_wei, gone=gone, now=now)
        if renewed is not None:
            more_wei += most_wei(renewed) - most_wei(intent)
            changed.append(renewed)
            outgoing.append(renewed.attempts[-1])
        elif action is Action.RESEND or (action is Action.REPLACE and gone):
            outgoing.append(last)
        if action is not Action.WAIT:
            log.info(
                "transaction_tended",
                intent=intent.id,
                cause=intent.cause,
                nonce=nonce_of(intent),
                action=action.value,
                status=intent.status.value,
                reason=judgement.reason or None,
                block=sight.block.number,
            )
    return changed, outgoing


def _unless_at_a_loss(intent: Intent, judgement: Judgement, market: Market) -> Judgement:
    """No longer wanted where the next block could hold it and would cost more than it still brings: somebody traded
    before us, or most of a batch is gone. What was meant to lose is left alone."""
    last, worth = intent.attempts[-1], judgement.worth_fee_wei
    price = min(last.max_fee_wei, market.base_fee_wei + last.max_priority_fee_wei)
    if worth is None or worth >= price or last.max_fee_wei < market.base_fee_wei or (intent.profit_expected or 0) < 0:
        return judgement
    return Judgement(wanted=False, reason=f"gas costs {price} wei, what it still brings pays up to {worth}")


def _renew(
    intent: Intent,
    action: Action,
    judgement: Judgement,
    market: Market,
    composer: Composer,
    room: Room,
    more_wei: int,
    *,
    gone: bool,
    now: float,
) -> Intent | None:
    """The intent with a new attempt, if the action asks for one and it can be paid: a replacement never more than its
    profit, which makes it a cancellation where even the next block's price is more, and never more than the spend
    limits have room for.

    more_wei: what those renewed before it may cost more.
    gone: the node does not have the last attempt, so what comes instead need not outbid it.
    """
    if action not in (Action.REPLACE, Action.CANCEL):
        return None
    reason, worth = judgement.reason, judgement.worth_fee_wei
    if action is Action.REPLACE and (objection := composer.objection(intent)) is not None:
        log.error("signature_refused", intent=intent.id, cause=intent.cause, reason=objection, remedy=MEDDLED)
        action, reason = Action.CANCEL, objection
    is_worthless = action is Action.REPLACE and worth is not None and worth < market.needed_fee_wei
    if is_worthless:
        action, reason = Action.CANCEL, f"gas costs {market.needed_fee_wei} wei, it pays up to {worth}"
    acts = action is Action.REPLACE and not is_cancelling(intent)
    fees = _outbidding(intent, market, worth, acts=acts, gives_up=action is Action.CANCEL, gone=gone)
    if fees is None:
        return None
    if is_worthless and fees.max_fee_wei < market.needed_fee_wei:
        return None  # no block would take the cancellation either; at its own price the old one still pays
    if action is Action.CANCEL:
        return composer.cancellation(intent, fees, f"given up: {reason}", now)
    if acts and intent.kind != "order":
        extra_wei = intent.attempts[-1].gas_limit * fees.max_fee_wei - most_wei(intent)
        if extra_wei > 0 and (held := room(more_wei + extra_wei)) is not None:
            log.warning("replacement_held", intent=intent.id, cause=intent.cause, reason=held.detail)
            return None
    return replace(composer.replacement(intent, fees, now), reason=intent.reason)


def _outbidding(
    intent: Intent, market: Market, worth: int | None, *, acts: bool, gives_up: bool, gone: bool
) -> Fees | None:
    """What outbids its last attempt; None where a cap forbids it, or where it is better kept for later.

    acts: it does what it was made for, at most at what that is `worth`, and leaves room below the caps to be given up:
    whatever cannot be holds its nonce. gives_up: it is a cancellation of what is none.
    """
    last, steps = intent.attempts[-1], REPLACEMENT if acts else CANCELLATION
    cap_wei = min(max(below(market.cap_wei, steps), market.needed_fee_wei), market.cap_wei)
    tip_cap_wei = below(market.tip_cap_wei, steps)
    if acts and worth is not None:
        cap_wei = min(cap_wei, worth)
    old = Fees(last.max_fee_wei, last.max_priority_fee_wei)
    fees = bump_fees(old, market.fresh, cap_wei=cap_wei, tip_cap_wei=tip_cap_wei)
    if fees is None and gone and market.fresh is not None and market.fresh.max_fee_wei <= cap_wei:
        return market.fresh
    if fees is None:
        said = {"max_fee_wei": old.max_fee_wei, "cap_wei": cap_wei, "tip_wei": old.tip_wei, "tip_cap_wei": tip_cap_wei}
        log.warning("replacement_above_cap", intent=intent.id, **said)
        return None
    is_last = bump_fees(fees, None, cap_wei=2 * fees.max_fee_wei, tip_cap_wei=tip_cap_wei) is None
    if is_last and not gives_up and last.status != "refused" and old.max_fee_wei >= market.needed_fee_wei:
        return None  # the next block takes it as it is; once the base fee is above that, this is how to follow
    return fees

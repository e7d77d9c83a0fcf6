"""What becomes of transactions that an earlier block left waiting: send again, pay more, or give the nonce up. Pure but
for signing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from keeper.core.records import Attempt, Intent
from keeper.core.types import Block, Skip
from keeper.executor.compose import Composer
from keeper.executor.fees import Fees, bump_fees, choose_fees, next_base_fee, tip_from_history
from keeper.executor.lifecycle import Action, Sight, decide, nonce_of
from keeper.executor.ports import Settings
from keeper.executor.questions import Answers
from keeper.executor.refusals import Refusal, classify

log = structlog.get_logger(__name__)

MEDDLED = "look at who can write the database; its journal holds what this key never signed"


@dataclass(frozen=True, slots=True)
class Market:
    """What gas costs now. needed_fee_wei: least maximum fee the next block takes from us: its base fee, and the typical
    tip. fresh: what a new transaction would pay, None when that is above the cap."""

    needed_fee_wei: int
    fresh: Fees | None
    cap_wei: int
    base_fee_wei: int
    typical_tip_wei: int


def market_of(block: Block, base_fee_wei: int, answers: Answers, settings: Settings) -> Market:
    """What gas will cost in the block after this one."""
    base_fee = next_base_fee(base_fee_wei, block.gas_used, block.gas_limit)
    tip = tip_from_history(answers.tips_wei, settings.min_tip_wei, settings.max_tip_wei)
    fresh = choose_fees(base_fee, tip, forecast_blocks=settings.forecast_blocks, cap_wei=settings.max_fee_wei)
    if isinstance(fresh, Skip):
        log.warning("gas_too_expensive", block=block.number, reason=fresh.detail)
    affordable = None if isinstance(fresh, Skip) else fresh
    return Market(base_fee + tip, affordable, settings.max_fee_wei, base_fee, tip)


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
    now: float,
) -> tuple[list[Intent], list[Attempt]]:
    """The intents that change, and the attempts to send, by nonce.

    waiting: unspent intents by nonce. sent_at: block at which an attempt was last sent, by hash.
    """
    changed: list[Intent] = []
    outgoing: list[Attempt] = []
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
        renewed = _renew(intent, action, judgement, market, composer, gone=gone, now=now)
        if renewed is not None:
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
    *,
    gone: bool,
    now: float,
) -> Intent | None:
    """The intent with a new attempt, if the action asks for one and it can be paid: a replacement never more than its
    profit, which makes it a cancellation where even the next block's price is more.

    gone: the node does not have the last attempt, so what comes instead need not outbid it.
    """
    if action not in (Action.REPLACE, Action.CANCEL):
        return None
    last, cap_wei, reason, worth = intent.attempts[-1], market.cap_wei, judgement.reason, judgement.worth_fee_wei
    if action is Action.REPLACE and (objection := composer.objection(intent)) is not None:
        log.error("signature_refused", intent=intent.id, cause=intent.cause, reason=objection, remedy=MEDDLED)
        action, reason = Action.CANCEL, objection
    is_worthless = action is Action.REPLACE and worth is not None and worth < market.needed_fee_wei
    if is_worthless:
        action, reason = Action.CANCEL, f"gas costs {market.needed_fee_wei} wei, it pays up to {worth}"
    elif action is Action.REPLACE and worth is not None:
        cap_wei = min(cap_wei, worth)
    fees = bump_fees(Fees(last.max_fee_wei, last.max_priority_fee_wei), market.fresh, cap_wei=cap_wei)
    if fees is None and gone and market.fresh is not None and market.fresh.max_fee_wei <= cap_wei:
        fees = market.fresh
    if fees is None:
        log.warning("replacement_above_cap", intent=intent.id, max_fee_wei=last.max_fee_wei, cap_wei=cap_wei)
        return None
    if is_worthless and fees.max_fee_wei < market.needed_fee_wei:
        return None  # no block would take the cancellation either; at its own price the old one still pays
    if action is Action.CANCEL:
        return composer.cancellation(intent, fees, f"given up: {reason}", now)
    return replace(composer.replacement(intent, fees, now), reason=intent.reason)

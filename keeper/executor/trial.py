"""Trying out, in one simulation, everything that is on its way and everything that could be sent, and judging by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from keeper.core.errors import KeeperError
from keeper.core.records import Intent
from keeper.core.types import BlockRef, Price, Skip, TxCall
from keeper.executor.accounts import Statement
from keeper.executor.ahead import Ahead
from keeper.executor.batch import call_of, draft_batch
from keeper.executor.choose import Approval, Chosen, Refused, approved_pair
from keeper.executor.compose import Draft, draft_approval, draft_liquidation
from keeper.executor.fees import Fees
from keeper.executor.legs import BATCH, LIQUIDATES, legs_of
from keeper.executor.lifecycle import is_cancelling
from keeper.executor.liquidator_calls import split_logs
from keeper.executor.offer import bid, padded_gas, rates_of
from keeper.executor.ports import Request, Settings, Venue
from keeper.executor.questions import Wallet
from keeper.executor.settle import as_simulated, forecast, gained_value
from keeper.executor.simulate import Simulator, Verdict
from keeper.executor.transaction import decode_signed
from keeper.executor.upkeep import Judgement, Market
from keeper.executor.value import gas_value, wei_value

log = structlog.get_logger(__name__)

APPROVAL_GAS = 100_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried out, in this order: `waiting` by nonce, then `approvals`, then `chosen`.

    batches: groups of the chosen, by index, that are also tried out together, after all others.
    """

    waiting: Sequence[Intent]
    approvals: Sequence[Approval]
    chosen: Sequence[Chosen]
    batches: Sequence[tuple[int, ...]] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One verdict for each member of a trial, in its order; None where nobody knows. answers: to the extra requests.

    batches: verdicts of each group of them in one transaction; none where that was not tried.
    """

    waiting: Sequence[Verdict | None]
    approvals: Sequence[Verdict | None]
    chosen: Sequence[Verdict | None]
    in_sequence: bool
    answers: Sequence[object]
    batches: Sequence[Verdict | None] = ()


async def try_out(
    simulator: Simulator,
    trial: Trial,
    block: BlockRef,
    landing_at: int,
    extra: Sequence[Request],
    deadline_s: float,
    ahead: Ahead | None = None,
) -> Outcome:
    """Never longer than the deadline, and never an error: what cannot be simulated now is judged with a later block.

    ahead: a price update behind which all of it is tried out.
    """
    calls: list[TxCall] = [
        *(decode_signed(intent.attempts[-1].raw).call for intent in trial.waiting),
        *(approval.call for approval in trial.approvals),
        *(chosen.plan.call for chosen in trial.chosen),
    ]
    verdicts: list[Verdict | None] = [None] * len(calls)
    together = _together(trial, calls) if trial.batches and simulator.in_sequence and ahead is None else []
    if together:
        extra = [*extra, simulator.sequence(together, block, landing_at)]
    answers: Sequence[object] = [None] * len(extra)
    try:
        async with asyncio.timeout(deadline_s):
            verdicts, answers = await simulator.run(calls, block, landing_at, extra, ahead)
    except TimeoutError:
        log.warning("simulation_timed_out", block=block.number, calls=len(calls), deadline_s=deadline_s)
    except KeeperError as error:
        log.warning("simulation_failed", block=block.number, calls=len(calls), error=str(error))
    batches: Sequence[Verdict | None] = ()
    if together:
        *answers, last = answers
        batches = simulator.read(last, len(together))[-len(trial.batches) :]
    first, second = len(trial.waiting), len(trial.waiting) + len(trial.approvals)
    return Outcome(verdicts[:first], verdicts[first:second], verdicts[second:], simulator.in_sequence, answers, batches)


def _together(trial: Trial, calls: Sequence[TxCall]) -> list[TxCall]:
    """The same calls, but what may be a batch is one, at the end."""
    members = {index for batch in trial.batches for index in batch}
    before = len(calls) - len(trial.chosen)
    single = [call for index, call in enumerate(calls[before:]) if index not in members]
    return [*calls[:before], *single, *(call_of([trial.chosen[i] for i in batch]) for batch in trial.batches)]


def judge_waiting(
    trial: Trial,
    outcome: Outcome,
    venues: Mapping[str, Venue],
    native_asset: bytes | None,
) -> Mapping[str, Judgement]:
    """By intent. An approval is always wanted, and so is a cancellation: it holds a nonce that others may need.

    A reorg can leave two for one cause, made one after the other: where calls do not see each other, the first counts.
    """
    unseen = _approving(trial.waiting) if not outcome.in_sequence else frozenset()
    judgements: dict[str, Judgement] = {}
    causes: set[str] = set()
    for intent, verdict in zip(trial.waiting, outcome.waiting, strict=True):
        judgement = _judge(intent, verdict, venues.get(intent.protocol), unseen, native_asset)
        if intent.cause in causes and not (intent.kind in LIQUIDATES and outcome.in_sequence):
            judgement = Judgement(wanted=is_cancelling(intent), reason="an earlier transaction does the same")
        judgements[intent.id] = judgement
        if not is_cancelling(intent):
            causes.add(intent.cause)
    return judgements


def _judge(
    intent: Intent,
    verdict: Verdict | None,
    venue: Venue | None,
    unseen: frozenset[bytes],
    native_asset: bytes | None,
) -> Judgement:
    if intent.kind not in LIQUIDATES or is_cancelling(intent):
        return Judgement(wanted=True)
    financing = intent.plan.get("financing")
    if verdict is None or venue is None or (financing is None and intent.debt_asset in unseen):
        return Judgement(wanted=None)
    if not verdict.succeeded:
        return Judgement(wanted=False, reason=_explain(venue, verdict))
    native = _native_price(venue, native_asset)
    base = venue.adapter.base_decimals(venue.book.market)
    if native is None or not verdict.gas_used:
        return Judgement(wanted=True)
    if intent.kind == BATCH:
        return Judgement(wanted=True, worth_fee_wei=_batch_gain_wei(intent, verdict, venue, native) // verdict.gas_used)
    gained = None if financing is None else gained_value(financing, verdict.logs, venue)
    if financing is None or gained is None:
        profit_wei = wei_value(int(intent.plan["profit_base"]), native, base)
    else:
        profit_wei = wei_value(gained, native, base) - int(financing["tip_wei"])
    return Judgement(wanted=True, worth_fee_wei=max(profit_wei, 0) // verdict.gas_used)


def _batch_gain_wei(intent: Intent, verdict: Verdict, venue: Venue, native: Price) -> int:
    """What the legs that succeed bring, before gas, in native coin."""
    legs = legs_of(intent)
    contract = bytes.fromhex(legs[0].plan["financing"]["contract"][2:])
    gained = [
        gained_value(leg.plan["financing"], logs, venue) or 0
        for leg, (reason, logs) in zip(legs, split_logs(verdict.logs, contract), strict=False)
        if reason is None
    ]
    return wei_value(sum(gained), native, venue.adapter.base_decimals(venue.book.market))


def accept(
    trial: Trial,
    outcome: Outcome,
    market: Market,
    fees: Fees,
    wallet: Wallet,
    native_wei: int,
    settings: Settings,
) -> tuple[list[Draft], list[Refused]]:
    """What is worth sending, approvals first, and why the rest is not.

    fees: of what is not done for profit. wallet: at the judged block. native_wei: free to be spent on gas and tips.
    """
    tried = dict(zip(trial.approvals, outcome.approvals, strict=True))
    in_flight = _approving(trial.waiting)
    approving: dict[Approval, Draft] = {}
    drafts: list[Draft] = []
    refused: list[Refused] = []
    batches = _batches(trial, outcome, market, wallet.decimals, settings)
    batched = {index for batch in batches for index in batch}
    for index, (chosen, verdict) in enumerate(zip(trial.chosen, outcome.chosen, strict=True)):
        if index in batched:
            continue
        pair = chosen.plan.approval[:2] if chosen.plan.approval is not None else None
        first = [a for a in trial.approvals if (a.token, a.spender) == pair]
        unseen = pair is not None and not outcome.in_sequence and bool(first or pair[0] in in_flight)
        objection = _objection([tried[a] for a in first])
        result: Draft | Skip
        if objection is not None:
            result = objection
        elif unseen:
            result = Skip("awaiting_approval", "the token it pays with is being approved first")
        else:
            result = _draft(chosen, verdict, market, wallet.decimals, settings)
        needed: dict[Approval, Draft] = {}
        if isinstance(result, Draft) or (unseen and objection is None):
            needed = {a: _draft_approval(a, tried[a]) for a in first if a not in approving}
        most_wei = sum(d.most_wei(fees) for d in (*needed.values(), result) if isinstance(d, Draft))
        if most_wei > native_wei:
            result = _too_poor(most_wei, native_wei)
        else:
            native_wei -= most_wei
            approving.update(needed)
        if isinstance(result, Skip):
            refused.append(Refused(chosen.opportunity, result))
        else:
            drafts.append(result)
    for batch, draft in batches.items():
        most_wei = draft.most_wei(fees)
        if most_wei > native_wei:
            refused += [Refused(trial.chosen[i].opportunity, _too_poor(most_wei, native_wei)) for i in batch]
        else:
            native_wei -= most_wei
            drafts.append(draft)
    return [*approving.values(), *drafts], refused


def _too_poor(most_wei: int, native_wei: int) -> Skip:
    detail = f"gas may cost {most_wei} wei, the wallet has {native_wei} left; send it more"
    return Skip("insufficient_gas_money", detail)


def _batches(
    trial: Trial, outcome: Outcome, market: Market, decimals: Mapping[bytes, int], settings: Settings
) -> Mapping[tuple[int, ...], Draft]:
    """The groups that leave more in one transaction than those of them that pay alone."""
    found: dict[tuple[int, ...], Draft] = {}
    for batch, verdict in zip(trial.batches, outcome.batches, strict=False):
        members, alone = [trial.chosen[i] for i in batch], [outcome.chosen[i] for i in batch]
        draft = draft_batch(members, alone, verdict, market, decimals, settings)
        singles = [_draft(one, said, market, decimals, settings) for one, said in zip(members, alone, strict=True)]
        apart = sum(one.profit_expected or 0 for one in singles if isinstance(one, Draft))
        if draft is not None and (draft.profit_expected or 0) > apart:
            found[batch] = draft
    return found


def _objection(approvals: Sequence[Verdict | None]) -> Skip | None:
    """Why what needs these approvals cannot go on."""
    if any(verdict is None for verdict in approvals):
        return Skip("not_simulated", "the node did not say whether its approval would succeed")
    if any(verdict is not None and not verdict.succeeded for verdict in approvals):
        return Skip("approval_failed", "the wallet cannot approve the token it pays with")
    return None


def _draft_approval(approval: Approval, verdict: Verdict | None) -> Draft:
    return draft_approval(approval, padded_gas(_gas(verdict, APPROVAL_GAS)))


def _draft(
    chosen: Chosen, verdict: Verdict | None, market: Market, decimals: Mapping[bytes, int], settings: Settings
) -> Draft | Skip:
    venue, plan = chosen.opportunity.venue, chosen.plan
    if verdict is None:
        return Skip("not_simulated", "the node did not say whether it would succeed")
    if not verdict.succeeded:
        return Skip("would_revert", _explain(venue, verdict))
    native = _native_price(venue, settings.native_asset)
    if native is None:
        return Skip("gas_unpriced", "the protocol has no price for chain.wrapped_native, so gas cannot be valued")
    gas_used = _gas(verdict, plan.gas_limit_hint)
    base = venue.adapter.base_decimals(venue.book.market)
    plan = as_simulated(plan, verdict.logs, venue)
    rates = rates_of(venue, plan, decimals, settings.native_asset)

    def profit_at(fee_wei: int) -> tuple[int, Statement | None]:
        cost_wei = gas_used * fee_wei
        if rates is None:
            return plan.profit_base - gas_value(cost_wei, native, base), None
        expected = forecast(plan, rates, cost_wei)
        return expected.profit, expected

    least = chosen.least_base
    profit, _ = profit_at(market.needed_fee_wei)
    if profit < least:
        cost = gas_value(gas_used * market.needed_fee_wei, native, base)
        detail = f"brings {profit + cost} base units, gas costs {cost}: below the least ({least})"
        return Skip("unprofitable", detail)
    pays_builder = plan.financing is not None and plan.financing.tip_wei > 0
    spare_wei = 0 if pays_builder else wei_value(profit - least, native, base)
    fees = bid(wei_value(profit, native, base), spare_wei, gas_used, market, settings)
    profit, expected = profit_at(market.base_fee_wei + fees.tip_wei)
    return draft_liquidation(replace(chosen, plan=plan), padded_gas(gas_used), profit, expected, fees)


def _gas(verdict: Verdict | None, otherwise: int) -> int:
    return otherwise if verdict is None or verdict.gas_used is None else verdict.gas_used


def _explain(venue: Venue, verdict: Verdict) -> str:
    return venue.adapter.explain_revert(verdict.revert)


def _native_price(venue: Venue, native_asset: bytes | None) -> Price | None:
    return None if native_asset is None else venue.prices.get(native_asset)


def _approving(waiting: Sequence[Intent]) -> frozenset[bytes]:
    """Tokens whose approval is on its way."""
    return frozenset(approved_pair(decode_signed(i.attempts[-1].raw).call)[0] for i in waiting if i.kind == "approval")

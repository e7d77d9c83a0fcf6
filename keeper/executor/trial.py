"""Trying out, in one simulation, everything that is on its way and everything that could be sent, and judging by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.core.errors import KeeperError
from keeper.core.records import Intent
from keeper.core.types import BlockRef, Price, TxCall
from keeper.executor.ahead import Ahead
from keeper.executor.batch import call_of
from keeper.executor.choose import Chosen, First, approved_pair
from keeper.executor.legs import BATCH, LIQUIDATES, legs_of
from keeper.executor.lifecycle import is_cancelling
from keeper.executor.liquidator_calls import split_logs
from keeper.executor.offer import native_price
from keeper.executor.ports import Venue
from keeper.executor.settle import gained_value
from keeper.executor.simulate import Simulator, Verdict
from keeper.executor.transaction import decode_signed
from keeper.executor.upkeep import Judgement
from keeper.executor.value import wei_value

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried out, in this order: `waiting` by nonce, then `approvals`, then `chosen`.

    batches: groups of the chosen, by index, that are also tried out together, after all others.
    """

    waiting: Sequence[Intent]
    approvals: Sequence[First]
    chosen: Sequence[Chosen]
    batches: Sequence[tuple[int, ...]] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One verdict for each member of a trial, in its order; None where nobody knows.

    batches: verdicts of each group of them in one transaction; none where that was not tried.
    """

    waiting: Sequence[Verdict | None]
    approvals: Sequence[Verdict | None]
    chosen: Sequence[Verdict | None]
    in_sequence: bool
    batches: Sequence[Verdict | None] = ()


async def try_out(
    simulator: Simulator,
    trial: Trial,
    block: BlockRef,
    landing_at: int,
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
    extra = [simulator.sequence(together, block, landing_at)] if together else []
    answers: Sequence[Any] = [None] * len(extra)
    try:
        async with asyncio.timeout(deadline_s):
            verdicts, answers = await simulator.run(calls, block, landing_at, extra, ahead)
    except TimeoutError:
        log.warning("simulation_timed_out", block=block.number, calls=len(calls), deadline_s=deadline_s)
    except KeeperError as error:
        log.warning("simulation_failed", block=block.number, calls=len(calls), error=str(error))
    batches = [one for answer in answers for one in simulator.read(answer, len(together))[-len(trial.batches) :]]
    first, second = len(trial.waiting), len(trial.waiting) + len(trial.approvals)
    return Outcome(verdicts[:first], verdicts[first:second], verdicts[second:], simulator.in_sequence, batches)


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
    unseen = being_approved(trial.waiting) if not outcome.in_sequence else frozenset()
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
        return Judgement(wanted=False, reason=venue.adapter.explain_revert(verdict.revert))
    native = native_price(venue, native_asset)
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


def being_approved(waiting: Sequence[Intent]) -> frozenset[bytes]:
    """Tokens whose approval is on its way."""
    return frozenset(approved_pair(decode_signed(i.attempts[-1].raw).call)[0] for i in waiting if i.kind == "approval")

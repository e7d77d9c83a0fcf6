"""Why a transaction of ours was mined and reverted.

Where the node traces (`debug_traceTransaction`), the call that failed in the very block tells. Everywhere the same call
is asked again on the states before and after its block: what succeeds before it met somebody faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.core.errors import KeeperError, RpcRefused
from keeper.core.records import Intent
from keeper.core.types import TxCall
from keeper.executor.journal import Journal
from keeper.executor.ports import Request, Rpc, Venue
from keeper.executor.simulate import Verdict, call_object, verdict_of
from keeper.executor.transaction import decode_signed

log = structlog.get_logger(__name__)

_METHOD_NOT_FOUND = -32601
_TRACER = {"tracer": "callTracer", "tracerConfig": {"withLog": False}}


@dataclass(frozen=True, slots=True)
class Failure:
    """The innermost call that failed, and what it returned. error: the node's word for it."""

    target: bytes
    data: bytes
    error: str


class Explainer:
    """Remembers whether the node traces, so that a missing method is asked for once. deadline_s: of the node."""

    def __init__(
        self, rpc: Rpc, account: bytes, journal: Journal, clock: Callable[[], float], deadline_s: float
    ) -> None:
        self._rpc = rpc
        self._deadline_s = deadline_s
        self._account = "0x" + account.hex()
        self._journal = journal
        self._clock = clock
        self._traces = True

    async def explain(self, failed: Sequence[Intent], venues: Mapping[str, Venue]) -> Sequence[Intent]:
        """Journal the reason of each for which the node knows it, and give these back.

        Never an error, and asked for once: a reason that is not told now stays unknown.

        In its own time, when everything else of a block is done: a trace can take a node long.
        """
        if not failed:
            return ()
        asked = [request for intent in failed for request in self._ask(intent)]
        size = len(asked) // len(failed)
        try:
            async with asyncio.timeout(self._deadline_s):
                answers = await self._rpc.batch(asked)
        except (TimeoutError, KeeperError) as error:
            log.warning("failures_not_explained", count=len(failed), error=str(error) or "the node did not answer")
            return ()
        explained = []
        for index, before in enumerate(failed):
            intent = self._journal.get(before.id) or before
            if intent.tx_hash != before.tx_hash:
                continue  # taken back meanwhile
            *traces, earlier, later = answers[size * index : size * (index + 1)]
            failure = self._traced(traces[0]) if traces else None
            reason = _reason(intent, failure, earlier, later, venues.get(intent.protocol))
            if reason is not None:
                facts = {
                    "raced": is_lost_race(failure, earlier, later),
                    "succeeded_before": _succeeded(verdict_of(earlier)),
                }
                log.info("transaction_failure_explained", intent=intent.id, cause=intent.cause, reason=reason)
                realized = {**intent.realized, **{fact: True for fact, holds in facts.items() if holds}}
                explained.append(replace(intent, reason=reason, realized=realized, updated_at=self._clock()))
        if explained:
            self._journal.record(explained)
        return explained

    def _ask(self, intent: Intent) -> list[Request]:
        number = intent.included_number or 0
        call = call_object(self._account, _call_of(intent))
        before, after = (self._at(height) for height in (max(number - 1, 0), number))
        asked: list[Request] = [("eth_call", (call, before)), ("eth_call", (call, after))]
        if self._traces:
            asked.insert(0, ("debug_traceTransaction", ("0x" + (intent.tx_hash or b"").hex(), _TRACER)))
        return asked

    def _at(self, number: int) -> object:
        known = self._journal.hash_of(number)
        return hex(number) if known is None else {"blockHash": "0x" + known.hex()}

    def _traced(self, trace: Any) -> Failure | None:
        if isinstance(trace, RpcRefused) and (trace.code == _METHOD_NOT_FOUND or "method" in str(trace).lower()):
            self._traces = False
            log.info("traces_unsupported", error=str(trace))
        return read_trace(trace)


def is_lost_race(failure: Failure | None, before: Any, after: Any) -> bool:
    """Whether a call that was mined and reverted succeeds on the state before its block, and no longer behind it:
    somebody, or a price, was faster, and nothing was wrong with the plan.

    before, after: what that call is answered on these states. What ran out of gas did so by our own doing.
    """
    exhausted = failure is not None and _ran_out(failure)
    return not exhausted and _succeeded(verdict_of(before)) and _revert_of(verdict_of(after)) is not None


def _succeeded(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.succeeded


def _revert_of(verdict: Verdict | None) -> bytes | None:
    return None if verdict is None or verdict.succeeded else verdict.revert


def _reason(intent: Intent, failure: Failure | None, before: Any, after: Any, venue: Venue | None) -> str | None:
    earlier = verdict_of(before)
    revert = _revert_of(earlier)
    if revert is None:
        revert = _revert_of(verdict_of(after))
    if failure is not None and (failure.data or revert is None):
        revert = failure.data
    if revert is None or venue is None:
        return None
    if failure is not None and _ran_out(failure):
        reason = f"reverted: {failure.error}"
    else:
        reason = f"reverted: {venue.adapter.explain_revert(revert)}"
    if failure is not None and failure.target != _call_of(intent).to:
        reason += f" (0x{failure.target.hex()})"
    if _succeeded(earlier):
        reason += ", since something earlier in its block"
    return reason


def _ran_out(failure: Failure) -> bool:
    return not failure.data and "gas" in failure.error


def read_trace(answer: Any) -> Failure | None:
    """The cause of a failed transaction in a callTracer's answer; None when there is none to be read.

    A call that failed and was not caught fails its caller, so the cause is at the end of the last calls.
    """
    if not isinstance(answer, Mapping) or "error" not in answer:
        return None
    frame: Mapping[str, Any] = answer
    try:
        while (calls := frame.get("calls")) and "error" in calls[-1] and _passed_on(calls[-1], frame):
            frame = calls[-1]
        output = str(frame.get("output") or "0x")
        return Failure(
            bytes.fromhex(str(frame.get("to") or "0x")[2:]), bytes.fromhex(output[2:]), str(frame["error"]).lower()
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _passed_on(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> bool:
    """Whether a call fails as its callee did: with the same data, or with none of its own."""
    said = str(outer.get("output") or "0x")
    return said in ("0x", str(inner.get("output") or "0x"))


def _call_of(intent: Intent) -> TxCall:
    mined = next(attempt for attempt in intent.attempts if attempt.tx_hash == intent.tx_hash)
    return decode_signed(mined.raw).call

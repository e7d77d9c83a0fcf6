"""Would these calls succeed, in this order, in the block they can land in?

`eth_simulateV1` runs them one after the other on the judged block's state, at the landing time, and tells the gas of
each: an approval counts for the liquidation behind it. Nodes without it get one `eth_call` per call, in one batch, and
those do not see each other.

Behind a price update that is not mined yet, they are run after its transaction; where that cannot be, because its
content is not known or the node runs no sequences, with code in the aggregator's place that answers as the update will.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.core.errors import KeeperError, RpcMalformed, RpcRefused
from keeper.core.types import BlockRef, RawLog, TxCall
from keeper.executor.ahead import Ahead
from keeper.executor.ports import Request, Rpc
from keeper.executor.shapes import data, quantity, simulated_log

log = structlog.get_logger(__name__)

_METHOD_NOT_FOUND, _INVALID_PARAMS = -32601, -32602
_REVERTED = 3
_LEAST_GAS, _MOST_GAS = 21_000, 1 << 50  # of a transaction, and what no block of any chain has room for


@dataclass(frozen=True, slots=True)
class Verdict:
    """gas_used: as the call would be charged, refunds deducted; None when the node did not tell.
    revert: the revert data of a call that failed. logs: what it would emit, where the node told. output: what a call
    that succeeded returned."""

    succeeded: bool
    gas_used: int | None = None
    revert: bytes = b""
    logs: tuple[RawLog, ...] = ()
    output: bytes = b""


class Simulator:
    """Remembers what the node can do, so that a missing method costs one round trip once."""

    def __init__(self, rpc: Rpc, account: bytes) -> None:
        self._rpc = rpc
        self._account = "0x" + account.hex()
        self._in_sequence = True
        self._overrides = True

    @property
    def in_sequence(self) -> bool:
        """Whether calls see the effects of the calls before them."""
        return self._in_sequence

    async def run(
        self,
        calls: Sequence[TxCall],
        block: BlockRef,
        landing_at: int,
        extra: Sequence[Request] = (),
        ahead: Ahead | None = None,
    ) -> tuple[list[Verdict | None], list[Any]]:
        """A verdict for each call (None: the node could not say), and the answers to `extra`, in one round trip.

        landing_at: unix seconds at which the calls are judged. ahead: an update after which they are run; where it
        would itself fail, nobody can say anything about them.
        """
        if self._in_sequence:
            first, *answers = await self._rpc.batch([self._sequence(calls, block, landing_at, ahead), *extra])
            if not isinstance(first, KeeperError):
                before = int(_runs(ahead))
                verdicts = self._read_sequence(first, before + len(calls))
                if before and (verdicts[0] is None or not verdicts[0].succeeded):
                    return [None] * len(calls), answers
                return verdicts[before:], answers
            if not isinstance(first, RpcRefused):
                log.warning("simulation_unanswered", block=block.number, error=str(first))
                return [None] * len(calls), answers
            if first.code in (_METHOD_NOT_FOUND, _INVALID_PARAMS):
                self._in_sequence = False
                log.info("simulation_in_sequence_unsupported", error=str(first))
        verdicts, answers = await self._one_by_one(calls, block, landing_at, extra, ahead)
        return verdicts, answers

    # --- in sequence

    def sequence(self, calls: Sequence[TxCall], block: BlockRef, landing_at: int) -> Request:
        """A request of its own, for another order of things; its answer is for `read`."""
        return self._sequence(calls, block, landing_at)

    def read(self, answer: Any, count: int) -> list[Verdict | None]:
        """Verdicts from the answer to a `sequence` of so many calls; None where there are none."""
        if answer is None or isinstance(answer, KeeperError):
            return [None] * count
        try:
            return self._read_sequence(answer, count)
        except RpcMalformed as error:
            log.warning("simulation_failed", calls=count, error=str(error))
            return [None] * count

    def _sequence(
        self, calls: Sequence[TxCall], block: BlockRef, landing_at: int, ahead: Ahead | None = None
    ) -> Request:
        sent = [self._call(call) for call in calls]
        state: dict[str, Any] = {"blockOverrides": _landing(block, landing_at), "calls": sent}
        if ahead is not None and ahead.call is not None:
            update = call_object("0x" + ahead.sender.hex(), ahead.call)
            sent.insert(0, {**update, "gas": hex(ahead.gas_limit)})
        elif ahead is not None:
            state["stateOverrides"] = _overrides(ahead)
        options = {"blockStateCalls": [state], "validation": False, "traceTransfers": False}
        return "eth_simulateV1", (options, _at(block))

    def _read_sequence(self, answer: Any, count: int) -> list[Verdict | None]:
        """Raises RpcMalformed when the answer does not have a result for each call."""
        try:
            results = answer[0]["calls"]
            verdicts: list[Verdict | None] = [_ended(result) for result in results]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RpcMalformed(f"eth_simulateV1 answered in an unknown shape: {error!r:.200}") from error
        if len(verdicts) != count:
            raise RpcMalformed(f"eth_simulateV1 answered {len(verdicts)} results for {count} calls")
        return verdicts

    # --- one by one

    async def _one_by_one(
        self,
        calls: Sequence[TxCall],
        block: BlockRef,
        landing_at: int,
        extra: Sequence[Request],
        ahead: Ahead | None = None,
    ) -> tuple[list[Verdict | None], list[Any]]:
        if ahead is not None and not ahead.stand_ins:
            return [None] * len(calls), list(await self._rpc.batch(extra) if extra else ())

        async def ask() -> Sequence[Any]:
            return await self._rpc.batch([*(self._single(call, block, landing_at, ahead) for call in calls), *extra])

        results = await ask()
        if self._overrides and any(_is_unsupported(result) for result in results[: len(calls)]):
            self._overrides = False
            log.info("simulation_at_landing_time_unsupported", block=block.number)
            results = await ask()
        return [verdict_of(result) for result in results[: len(calls)]], list(results[len(calls) :])

    def _single(self, call: TxCall, block: BlockRef, landing_at: int, ahead: Ahead | None) -> Request:
        overrides = {} if ahead is None else _overrides(ahead)
        if self._overrides:
            return "eth_call", (self._call(call), _at(block), overrides, _landing(block, landing_at))
        return "eth_call", (self._call(call), _at(block), *([overrides] if overrides else ()))

    def _call(self, call: TxCall) -> Mapping[str, str]:
        return call_object(self._account, call)


def _landing(block: BlockRef, landing_at: int) -> Mapping[str, str]:
    """The block that the calls can land in. Some protocols count interest by its number, and nodes differ in what
    number they give a block that is only simulated."""
    return {"number": hex(block.number + 1), "time": hex(landing_at)}


def call_object(account: str, call: TxCall) -> Mapping[str, str]:
    return {"from": account, "to": "0x" + call.to.hex(), "input": "0x" + call.data.hex(), "value": hex(call.value_wei)}


def _ended(result: Mapping[str, Any]) -> Verdict:
    """How one call of a sequence ended. Nodes tell the data of a revert in one of two places.

    Raises ValueError, KeyError or TypeError for what no call can end in, such as less gas than any transaction takes.
    """
    succeeded = quantity(result["status"], most=1) == 1
    returned, error = _maybe(result.get("returnData")), result.get("error")
    told = _maybe(error.get("data")) if isinstance(error, Mapping) else b""
    return Verdict(
        succeeded=succeeded,
        gas_used=quantity(result["gasUsed"], least=_LEAST_GAS if succeeded else 0, most=_MOST_GAS),
        revert=b"" if succeeded else told or returned,
        logs=tuple(map(simulated_log, result.get("logs") or ())),
        output=returned if succeeded else b"",
    )


def _runs(ahead: Ahead | None) -> bool:
    """Whether an update's own transaction is run, and not only its effect put in place."""
    return ahead is not None and ahead.call is not None


def _overrides(ahead: Ahead) -> dict[str, Any]:
    return {"0x" + aggregator.hex(): {"code": "0x" + code.hex()} for aggregator, code in ahead.stand_ins.items()}


def verdict_of(answer: Any) -> Verdict | None:
    """Of an `eth_call`; None where the node did not say, or said what no call returns."""
    if isinstance(answer, KeeperError):
        is_verdict = isinstance(answer, RpcRefused) and _is_revert(answer)
        return Verdict(succeeded=False, revert=getattr(answer, "data", None) or b"") if is_verdict else None
    try:
        return Verdict(succeeded=True, output=data(answer))
    except ValueError as error:
        log.warning("simulation_failed", error=str(error))
        return None


def _is_revert(refusal: RpcRefused) -> bool:
    return refusal.code == _REVERTED or refusal.data is not None or "revert" in str(refusal).lower()


def _is_unsupported(answer: Any) -> bool:
    return isinstance(answer, RpcRefused) and answer.code == _INVALID_PARAMS and not _is_revert(answer)


def _at(block: BlockRef) -> Mapping[str, str]:
    return {"blockHash": "0x" + block.hash.hex()}


def _maybe(said: Any) -> bytes:
    """Bytes that a node may leave out."""
    return b"" if said is None else data(said)

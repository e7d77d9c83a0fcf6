"""Handing signed transactions to the network, and noting what it answered.

A slow network holds the next block up no longer than the deadline: the answer is then noted with a later block. Only
whole, journalled attempts come here; nothing is ever sent twice by this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from keeper.core.errors import KeeperError, RpcRefused
from keeper.core.records import Attempt, Intent
from keeper.executor.journal import Journal
from keeper.executor.lifecycle import sent
from keeper.executor.ports import AtOnce, RawSender
from keeper.executor.refusals import classify

log = structlog.get_logger(__name__)


Outcomes = Sequence[KeeperError | None]


@dataclass(frozen=True, slots=True)
class _Sending:
    task: asyncio.Future[Outcomes]
    attempts: Sequence[Attempt]


class Dispatch:
    def __init__(
        self,
        sender: RawSender,
        journal: Journal,
        clock: Callable[[], float],
        deadline_s: float,
        awaited: Callable[[], Callable[[], None]] = lambda: lambda: None,
    ) -> None:
        """awaited: asked with each submission for what to call as soon as the network took something of it."""
        self._awaited = awaited
        self._sender = sender
        self._at_once = sender if isinstance(sender, AtOnce) else None
        self._journal = journal
        self._clock = clock
        self._deadline_s = deadline_s
        self._sending: list[_Sending] = []

    def busy(self) -> frozenset[str]:
        """Intents with an attempt whose submission has not been answered yet."""
        return frozenset(attempt.intent_id for sending in self._sending for attempt in sending.attempts)

    async def send(self, attempts: Sequence[Attempt], sender: RawSender | None = None) -> None:
        """One submission of all, in this order. Returns when it is answered, or at the deadline; where it is cancelled
        before, the submission goes on. sender: another one than usual."""
        task = self.launch(attempts, sender)
        await asyncio.wait({task}, timeout=self._deadline_s)
        self.collect()

    def launch(self, attempts: Sequence[Attempt], sender: RawSender | None = None) -> asyncio.Future[Outcomes]:
        """The same without waiting: it leaves at once where that can be, else with the event loop's next turn, and its
        answer is for `collect`."""
        raws = [attempt.raw for attempt in attempts]
        task = self._at_once.begin(raws) if sender is None and self._at_once is not None else None
        if task is None:
            task = asyncio.ensure_future((sender or self._sender).submit_many(raws))
        task.add_done_callback(partial(_heard, self._awaited()))
        self._sending.append(_Sending(task, attempts))
        return task

    @property
    def leaving(self) -> list[asyncio.Future[Outcomes]]:
        """What was launched, and was not collected yet."""
        return [sending.task for sending in self._sending]

    async def leave(self, patience_s: float) -> None:
        """Let what was launched go, and wait this long for each answer; they are recorded by `collect`."""
        count = sum(len(sending.attempts) for sending in self._sending)
        await asyncio.wait({sending.task for sending in self._sending}, timeout=patience_s * count)

    async def settle(self) -> None:
        """Wait for the answers to all that was launched, at most until the deadline, and record them."""
        if self._sending:
            await asyncio.wait({sending.task for sending in self._sending}, timeout=self._deadline_s)
            self.collect()

    def collect(self) -> None:
        """Record the answers there are. An error that is not ours to expect is raised."""
        answered = [sending for sending in self._sending if sending.task.done()]
        self._sending = [sending for sending in self._sending if not sending.task.done()]
        for sending in answered:
            self._record(sending.attempts, _outcomes(sending))

    async def close(self) -> None:
        """Wait for what is being sent, as long as the deadline; what is not answered by then is asked of the chain
        after the next start."""
        if self._sending:
            await asyncio.wait({sending.task for sending in self._sending}, timeout=self._deadline_s)
        self.collect()
        left = [sending.task for sending in self._sending]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._sending = []

    def _record(self, attempts: Sequence[Attempt], outcomes: Outcomes) -> None:
        now = self._clock()
        changed: dict[str, Intent] = {}
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            before = changed.get(attempt.intent_id) or self._journal.get(attempt.intent_id)
            if before is None:
                continue  # final by now: the answer came later than everything it could tell
            refused = isinstance(outcome, RpcRefused)
            error = None if outcome is None else str(outcome)
            intent = sent(before, attempt.tx_hash, error=error, refused=refused, now=now)
            changed[attempt.intent_id] = intent
            level, event = (log.info, "transaction_broadcast")
            if refused:
                level, event = (log.warning, "transaction_refused")
            elif error is not None:
                level, event = (log.warning, "transaction_unanswered")
            level(
                event,
                intent=intent.id,
                cause=intent.cause,
                nonce=attempt.nonce,
                tx_hash="0x" + attempt.tx_hash.hex(),
                purpose=attempt.purpose,
                max_fee_wei=attempt.max_fee_wei,
                error=error,
                refusal=classify(str(outcome)).value if refused else None,
            )
        self._journal.record(changed.values())


def _heard(accepted: Callable[[], None], task: asyncio.Future[Outcomes]) -> None:
    if not task.cancelled() and task.exception() is None and None in task.result():
        accepted()


def _outcomes(sending: _Sending) -> Outcomes:
    try:
        return sending.task.result()
    except KeeperError as error:
        return [error] * len(sending.attempts)

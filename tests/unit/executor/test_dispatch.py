"""Whoever hands transactions over may be interrupted; the handing over is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from keeper.core.errors import KeeperError, RpcRefused
from keeper.core.records import IntentStatus
from keeper.executor.dispatch import Dispatch
from keeper.executor.journal import Journal
from tests.support.model_pipeline import IntentStore
from tests.unit.executor.test_lifecycle import intent


class Slow:
    """A way that answers when it is let."""

    def __init__(self, outcome: KeeperError | None = None) -> None:
        self.may_answer = asyncio.Event()
        self.taken: list[bytes] = []
        self.outcome = outcome

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        self.taken += raws
        await self.may_answer.wait()
        return [self.outcome] * len(raws)


async def test_an_interrupted_sender_does_not_take_back_what_it_sent() -> None:
    """A block that comes meanwhile ends the waiting; the answer is noted with it."""
    store = IntentStore()
    journal = Journal(cast(Any, store))
    planned = intent(IntentStatus.PLANNED)
    journal.record([planned])
    usual, other = Slow(), Slow()
    dispatch = Dispatch(usual, journal, lambda: 1.0, 5.0)
    sending = asyncio.create_task(dispatch.send(planned.attempts, other))
    await asyncio.sleep(0)
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    await asyncio.sleep(0)
    assert (usual.taken, other.taken) == ([], [planned.attempts[0].raw])
    assert dispatch.busy() == {planned.id}
    other.may_answer.set()
    await asyncio.sleep(0.01)
    dispatch.collect()
    assert store.journal[planned.id].status is IntentStatus.BROADCAST
    assert dispatch.busy() == frozenset()


async def test_a_refusal_of_another_way_is_noted_like_any() -> None:
    store = IntentStore()
    journal = Journal(cast(Any, store))
    planned = intent(IntentStatus.PLANNED)
    journal.record([planned])
    other = Slow(RpcRefused("fails in the bundle"))
    other.may_answer.set()
    await Dispatch(Slow(), journal, lambda: 1.0, 5.0).send(planned.attempts, other)
    [attempt] = store.journal[planned.id].attempts
    assert (attempt.status, attempt.error) == ("refused", "fails in the bundle")

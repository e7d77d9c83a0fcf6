"""The one place where work that failed is begun again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential, wait_random

from keeper.core.errors import DecodeError, RetryableError

R = TypeVar("R")

log = structlog.get_logger(__name__)

WAIT = wait_exponential(multiplier=0.25, max=2) + wait_random(0, 0.25)
"""No pause is longer than a block takes on most chains: whatever answers again is asked at once. Endpoints that ask for
more rest get it from the client."""

DECODE_ATTEMPTS = 5
"""Bytes that do not decode may be one node's mistake; after this many they are the contract's, or ours."""


class Patience:
    """Repeats what failed for a reason that can pass, with growing pauses, until it succeeds or is told to stop.

    attempts: how many in a row may fail before the last error is raised; None for as long as it takes.
    """

    def __init__(self, stop: asyncio.Event, attempts: int | None = None) -> None:
        self._stop = stop
        self._attempts = attempts
        self._failed = 0

    def progressed(self) -> None:
        """Count failures from here."""
        self._failed = 0

    async def __call__(self, what: str, attempt: Callable[[], Awaitable[R]]) -> R | None:
        """The result; None when stopped before. Raises what cannot pass, and the last error when out of attempts."""
        self._failed = 0
        failure: BaseException | None
        try:  # the machinery below takes 0.2 ms to set up, which a block need not wait for
            return await attempt()
        except (RetryableError, DecodeError) as error:
            failure = error

        async def again() -> R:
            """The attempt, whose first outcome is known."""
            nonlocal failure
            if failure is not None:
                known, failure = failure, None
                raise known
            return await attempt()

        retrying = AsyncRetrying(
            retry=retry_if_exception(_can_pass),
            stop=self._enough,
            wait=WAIT,
            before_sleep=lambda state: _report(what, state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(again)
        except (RetryableError, DecodeError):
            if self._stop.is_set():
                return None
            raise

    def _enough(self, state: RetryCallState) -> bool:
        self._failed += 1
        limits = [self._attempts, DECODE_ATTEMPTS if isinstance(_error(state), DecodeError) else None]
        return self._stop.is_set() or any(limit is not None and self._failed >= limit for limit in limits)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


def _can_pass(error: BaseException) -> bool:
    return isinstance(error, RetryableError | DecodeError)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _report(what: str, state: RetryCallState) -> None:
    pause = state.next_action.sleep if state.next_action else 0.0
    error = _error(state)
    log.warning(
        "retrying",
        what=what,
        attempt=state.attempt_number,
        pause_s=round(pause, 2),
        kind=type(error).__name__,
        error=str(error),
    )

"""What is begun again after a failure, and what ends it."""

from __future__ import annotations

import asyncio

import pytest
from tenacity import wait_none

from keeper import patience
from keeper.core.errors import DecodeError, KeeperError, RpcUnavailable, WrongChain
from keeper.patience import DECODE_ATTEMPTS, Patience


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAIT", wait_none())


class Work:
    """Fails with these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_what_can_pass_is_tried_until_it_passes():
    """However often; the daemon outlives any outage of its node."""
    work = Work(*[RpcUnavailable("down")] * 100)
    assert await Patience(asyncio.Event())("follow", work) == "done"
    assert work.tries == 101


async def test_what_cannot_pass_is_raised_at_once():
    work = Work(WrongChain("1 instead of 10"))
    with pytest.raises(WrongChain):
        await Patience(asyncio.Event())("follow", work)
    assert work.tries == 1


async def test_undecodable_bytes_are_asked_for_again_a_few_times():
    """One node's mistake passes; a contract that speaks otherwise does not, and ends the daemon loudly."""
    assert await Patience(asyncio.Event())("follow", Work(*[DecodeError("x")] * (DECODE_ATTEMPTS - 1))) == "done"
    with pytest.raises(DecodeError):
        await Patience(asyncio.Event())("follow", Work(*[DecodeError("x")] * DECODE_ATTEMPTS))


async def test_limited_attempts_end_with_the_last_error():
    with pytest.raises(RpcUnavailable, match="third"):
        await Patience(asyncio.Event(), 3)("index", Work(*map(RpcUnavailable, ("first", "second", "third"))))


async def test_progress_counts_failures_anew():
    work, limited = Work(*[RpcUnavailable("flaky")] * 10), Patience(asyncio.Event(), 3)

    async def progressing() -> str:
        limited.progressed()
        return await work()

    assert await limited("index", progressing) == "done"


async def test_stop_ends_it_without_an_error():
    """Also when the cause has not passed, and while it waits for the next attempt."""
    stop = asyncio.Event()

    async def stopping() -> None:
        stop.set()
        raise RpcUnavailable("down")

    assert await Patience(stop)("follow", stopping) is None


async def test_stop_ends_a_pause(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patience, "WAIT", lambda state: 3600)
    stop = asyncio.Event()
    running = asyncio.create_task(Patience(stop)("follow", Work(*[RpcUnavailable("down")] * 9)))
    await asyncio.sleep(0)
    stop.set()
    assert await asyncio.wait_for(running, 5) is None


async def test_unknown_errors_are_not_expected_ones():
    """A defect ends the daemon: its supervisor starts it again, into a consistent store."""
    with pytest.raises(ZeroDivisionError):
        await Patience(asyncio.Event())("follow", Work(ZeroDivisionError()))
    assert not issubclass(ZeroDivisionError, KeeperError)

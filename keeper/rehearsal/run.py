"""All positions, one after the other, on as many forks as it takes.

Nodes forget the state of old blocks (after some twenty-five minutes on Ethereum), and a fork stands on one block. When
a position cannot be read any more, the rest is rehearsed on a new fork of the newest block; a finding names its own.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keeper.core.stress import Lever
from keeper.devnet.anvil import Anvil
from keeper.rehearsal.cast import Cast
from keeper.rehearsal.findings import Finding
from keeper.rehearsal.fork import Fork
from keeper.rehearsal.relay import Relay
from keeper.rehearsal.stage import NOT_REHEARSED, Stage
from keeper.wire import House

log = structlog.get_logger(__name__)

_LOG_EVERY = 25


@dataclass(frozen=True, slots=True)
class Run:
    """block: to fork at; None for the newest, as often as needed. found: hears of every finding as it is made."""

    house: House
    cast: Cast
    lever: Lever
    block: int | None
    found: Callable[[Finding], None]
    say: Callable[[str], None]

    def complete(self) -> bool:
        """False when it was interrupted. Raises when there can be no fork, or the one there is ended."""
        remaining = deque(self.cast.keys)
        with Relay(self.house) as relay, _progress(len(remaining)) as advance:
            while remaining:
                self.say("starting a fork of the configured chain")
                with Anvil.start(fork_url=relay.url, fork_block=self.block) as anvil:
                    stopped = asyncio.run(self._on_one_fork(anvil, remaining, advance))
                    anvil.check_alive()
                if stopped:
                    return False
                if remaining:
                    self.say(f"the forked block cannot be read any more; {len(remaining)} positions go to a new fork")
        return True

    async def _on_one_fork(
        self, anvil: Anvil, remaining: deque[tuple[str, bytes]], advance: Callable[[], None]
    ) -> bool:
        """Takes what it rehearsed off what remains; whether it was interrupted. After a first SIGINT or SIGTERM the
        position in hand is the last; a second ends it."""
        with _interruptible() as stop:
            fork = await Fork.connect(anvil.ws_url, self.house.config.chain.id)
            try:
                stage = await Stage.set_up(self.house, fork, self.lever, self.cast.markets)
                fresh = True
                while remaining and not stop.is_set():
                    finding = await stage.rehearse(*remaining[0])
                    unread = finding.reason is not None and finding.reason.code == NOT_REHEARSED
                    if unread and not fresh and self.block is None:
                        return False
                    fresh = False
                    remaining.popleft()
                    self.found(finding)
                    advance()
            except asyncio.CancelledError:
                return True
            finally:
                await fork.close()
        return bool(remaining)


@contextmanager
def _interruptible() -> Iterator[asyncio.Event]:
    """Set by a first signal; a second cancels the task that is in here."""
    stop, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a log line now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            if done % _LOG_EVERY == 0 or done == total:
                log.info("rehearsal_progressed", done=done, of=total)

        yield count
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("positions rehearsed", total=total)
        yield lambda: bars.advance(task)

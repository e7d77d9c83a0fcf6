"""Killing a daemon at chosen and at random instants, and starting it again at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tests.support.daemon import PATIENCE_S, Keeper
from tests.support.inbox import Inbox


class Moment(Protocol):
    """An instant after an action. `arm` comes before the action, `wait` after it, `release` once the daemon is dead."""

    def arm(self) -> None: ...
    def wait(self) -> None: ...
    def release(self) -> None: ...


class After:
    """So many seconds later."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def arm(self) -> None: ...

    def wait(self) -> None:
        time.sleep(self._delay_s)

    def release(self) -> None: ...


class Once:
    """As soon as something is seen from outside."""

    def __init__(self, what: str, condition: Callable[[], object]) -> None:
        self._what = what
        self._condition = condition

    def arm(self) -> None: ...

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._condition():
            assert time.monotonic() < deadline, f"there was no moment to kill at: {self._what}"
            time.sleep(0.001)

    def release(self) -> None: ...


class WhileTelling:
    """While a notice of this event has arrived but is not answered, so its sender cannot know."""

    def __init__(self, inbox: Inbox, event: str) -> None:
        self._inbox = inbox
        self._event = event
        self._arrived = threading.Event()
        self._dead = threading.Event()

    def arm(self) -> None:
        self._inbox.before_answer = self._hold

    def wait(self) -> None:
        assert self._arrived.wait(PATIENCE_S), f"no notice {self._event!r} to kill at"

    def release(self) -> None:
        self._inbox.before_answer = None
        self._dead.set()

    def _hold(self, notice: dict[str, Any]) -> None:
        if notice["event"] == self._event:
            self._arrived.set()
            assert self._dead.wait(PATIENCE_S)


class Undisturbed:
    """The daemon is left alone."""

    kills = 0

    def during(self, action: Callable[[], object], *moments: Moment) -> None:
        """Do something to the chain, killing the daemon at each of these moments after it."""
        action()

    def at_random(self, action: Callable[[], object]) -> None:
        """The same, at moments nobody chose."""
        action()


class Interrupted:
    """The daemon is killed with SIGKILL. random: of the moments; spare: how many kills to spread over `at_random`."""

    def __init__(self, keeper: Keeper, source: random.Random, rounds: Sequence[int]) -> None:
        """rounds: how often to kill in each call of `at_random`, in their order; once where it ends."""
        self._keeper = keeper
        self._random = source
        self._rounds = iter(rounds)
        self.kills = 0

    def during(self, action: Callable[[], object], *moments: Moment) -> None:
        first, *others = moments
        first.arm()
        action()
        self._strike(first)
        for moment in others:
            moment.arm()
            self._strike(moment)

    def at_random(self, action: Callable[[], object]) -> None:
        # A block takes some ten milliseconds: most kills should hit the daemon at work, some between blocks.
        moments = [After(self._random.choice((0.02, 0.1, 0.4)) * self._random.random())]
        moments += [After(0.3 * self._random.random()) for _ in range(next(self._rounds, 1) - 1)]
        self.during(action, *moments)

    def _strike(self, moment: Moment) -> None:
        moment.wait()
        self._keeper.kill()
        self.kills += 1
        moment.release()
        self._keeper.start()

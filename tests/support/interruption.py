"""Killing a daemon at chosen and at random instants, and starting it again at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
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
    """As soon as something is seen from outside, or so many seconds later."""

    def __init__(self, what: str, condition: Callable[[], object], delay_s: float = 0.0) -> None:
        self._what = what
        self._condition = condition
        self._delay_s = delay_s

    def arm(self) -> None: ...

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._condition():
            assert time.monotonic() < deadline, f"there was no moment to kill at: {self._what}"
            time.sleep(0.001)
        time.sleep(self._delay_s)

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

    def during(self, action: Callable[[], object], moment: Moment) -> None:
        """Do something to the chain, and kill the daemon at this moment after it."""
        action()

    def at_random(self, action: Callable[[], object]) -> None:
        """The same, at a moment nobody chose."""
        action()


class Interrupted(Undisturbed):
    """The daemon is killed with SIGKILL and started again."""

    def __init__(self, keeper: Keeper, source: random.Random) -> None:
        self._keeper = keeper
        self._random = source
        self.kills = 0

    def during(self, action: Callable[[], object], moment: Moment) -> None:
        moment.arm()
        action()
        moment.wait()
        self._keeper.kill()
        self.kills += 1
        moment.release()
        self._keeper.start()

    def at_random(self, action: Callable[[], object]) -> None:
        """Most kills hit the daemon at work, which for one block lasts some ten milliseconds; some between blocks."""
        if self._random.random() < 0.5:
            moment: Moment = After(self._delay(0.01, 0.03, 0.3))
        else:
            moment = Once("the block in the store", self._keeper.is_synced, self._delay(0, 0.01, 0.3))
        self.during(action, moment)

    def _delay(self, *within_s: float) -> float:
        return self._random.choice(within_s) * self._random.random()

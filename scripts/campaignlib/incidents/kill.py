"""SIGKILL, at random and at chosen instants."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scripts.campaignlib import faults
from scripts.campaignlib.incidents.base import Incident
from scripts.campaignlib.proxy import SEND

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene

RECEIPT = "eth_getTransactionReceipt"
_FALLS_EVERY = 8


class KillAtRandom(Incident):
    group = "kill"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("killed at random", 2)
        self._delay_s = chance.choice((0.01, 0.03, 0.1, 0.5, 1.0)) * chance.random()

    def begin(self, scene: Scene) -> None:
        self.did = int(scene.keeper.kill())

    def step(self, scene: Scene) -> None:
        """Right after a block, when it is at work; and in the middle of its start."""
        threading.Timer(self._delay_s, scene.keeper.kill).start()


class KillAt(Incident):
    """Killed in the middle of a request: nobody can know what it knew."""

    group = "kill"
    _MOMENTS: Mapping[str, tuple[bool, Callable[[str, Any], bool]]] = {
        "killed as a price fell": (True, lambda method, _: method == "eth_call"),
        "killed with its intent journalled": (True, lambda method, _: method == SEND),
        "killed as its transaction arrived": (False, lambda method, _: method == SEND),
        "killed as it was included": (False, lambda method, result: method == RECEIPT and isinstance(result, dict)),
        "killed while simulating": (True, lambda method, _: method == "eth_simulateV1"),
    }
    KINDS = tuple(_MOMENTS)

    def __init__(self, kind: str) -> None:
        super().__init__(kind, 8)
        self._traps: list[faults.Trap] = []
        self._sprung = False
        self._passed = 0

    def begin(self, scene: Scene) -> None:
        before, when = self._MOMENTS[self.kind]

        def spring() -> None:
            if not self._sprung:
                self._sprung = scene.keeper.kill()

        for proxy in scene.proxies:
            trap = faults.Trap(self.kind, spring, before, when)
            self._traps.append(trap)
            proxy.put(trap)
        scene.world.fall()

    def step(self, scene: Scene) -> None:
        self._passed += 1
        if not self._sprung and self._passed % _FALLS_EVERY == 0:
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        for proxy, trap in zip(scene.proxies, self._traps, strict=True):
            proxy.take(trap)

    @property
    def hits(self) -> int:
        return int(self._sprung)

    @property
    def over(self) -> bool:
        return self._sprung


class KillWhileTelling(Incident):
    """Killed once a notice has arrived and is not answered."""

    group = "kill"

    def __init__(self) -> None:
        super().__init__("killed with a notice in flight", 8)
        self._struck = threading.Event()
        self._passed = 0

    def begin(self, scene: Scene) -> None:
        def strike(_: Mapping[str, Any]) -> None:
            if not self._struck.is_set():
                self._struck.set()
                scene.keeper.kill()

        scene.inbox.before_answer = strike
        scene.world.fall()

    def step(self, scene: Scene) -> None:
        self._passed += 1
        if not self._struck.is_set() and self._passed % _FALLS_EVERY == 0:
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        scene.inbox.before_answer = None

    @property
    def hits(self) -> int:
        return int(self._struck.is_set())

    @property
    def over(self) -> bool:
        return self._struck.is_set()

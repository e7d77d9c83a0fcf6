"""Receivers of notices as bad as receivers are."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from scripts.campaignlib.incidents.base import Incident

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene

_FALLS_EVERY = 8


class BadReceiver(Incident):
    group = "receiver"
    heard = False

    def __init__(self, trouble: str, chance: random.Random) -> None:
        super().__init__(f"receiver {trouble}", chance.randrange(4, 10))
        self._trouble = trouble
        self._before = 0
        self._hits = 0
        self._passed = 0

    def begin(self, scene: Scene) -> None:
        self._before = scene.inbox.hits
        scene.inbox.trouble = self._trouble
        scene.world.fall()

    def step(self, scene: Scene) -> None:
        """Somebody has to be told something."""
        self._hits = scene.inbox.hits - self._before
        self._passed += 1
        if not self._hits and self._passed % _FALLS_EVERY == 0:
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        scene.inbox.trouble = None
        self._hits = scene.inbox.hits - self._before

    @property
    def hits(self) -> int:
        return self._hits

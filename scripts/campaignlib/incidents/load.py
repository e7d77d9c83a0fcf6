"""More at once than usual."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from scripts.campaignlib.incidents.base import Incident

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene


class FastBlocks(Incident):
    """Blocks every 250 ms."""

    group = "load"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("blocks every 250 ms", chance.randrange(40, 80))

    def begin(self, scene: Scene) -> None:
        scene.interval_s = min(0.25, scene.interval_s)
        self.did = 1

    def end(self, scene: Scene) -> None:
        scene.interval_s = scene.usual_interval_s


class Storm(Incident):
    """Thousands of events of the protocol in one block, none of which matters."""

    group = "load"
    EVENTS = 5_000

    def __init__(self) -> None:
        super().__init__(f"storm of {self.EVENTS} events in a block", 3)
        self._events = 0

    def begin(self, scene: Scene) -> None:
        self._events = scene.world.storm(self.EVENTS)
        scene.world.fall()

    @property
    def hits(self) -> int:
        return int(self._events >= self.EVENTS)

"""What happens on the chain itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from scripts.campaignlib.incidents.base import Incident

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene


class Reorganization(Incident):
    group = "chain"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("reorganization", 1)
        self._depth = chance.choice((1, 1, 2, 2, 3, 5, 8))

    def begin(self, scene: Scene) -> None:
        scene.world.reorganize(self._depth)
        self.did = 1


class Rival(Incident):
    group = "chain"

    def __init__(self) -> None:
        super().__init__("a rival liquidates first", 3)
        self._before = 0

    def begin(self, scene: Scene) -> None:
        self._before = scene.world.happened["rival attempts"]
        scene.world.compete()
        scene.world.fall()

    def step(self, scene: Scene) -> None:
        self.did = scene.world.happened["rival attempts"] - self._before

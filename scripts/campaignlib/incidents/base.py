"""What every incident is: it begins, lasts some blocks, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.campaignlib.keeper import Keeper
    from scripts.campaignlib.scene import Scene


class Incident:
    """fair: whether Keeper can act all the same, since its machine is whole and one endpoint honest. heard: whether the
    receiver of notices is well. blocks: how long it lasts, and longer while it has met nothing. hits: how often
    something happened because of it; `did` says so of one that meets nobody, once it is done."""

    group = ""
    fair = True
    heard = True

    def __init__(self, kind: str, blocks: int) -> None:
        self.kind = kind
        self.blocks = blocks
        self.did = 0

    def impossible(self, scene: Scene) -> str | None:
        """Why it is left out here; None: it is not."""
        return None

    def begin(self, scene: Scene) -> None: ...
    def step(self, scene: Scene) -> None:
        """With every block while it lasts: also to bring about what it is waiting for."""

    def end(self, scene: Scene) -> None: ...

    @property
    def hits(self) -> int:
        return self.did

    @property
    def over(self) -> bool:
        """Whether it ended by itself."""
        return False


@contextmanager
def between_lives(keeper: Keeper) -> Iterator[None]:
    """It is killed, and starts again afterwards."""
    with keeper.held():
        keeper.kill()
        assert keeper.process is not None
        keeper.process.wait(30)
        yield

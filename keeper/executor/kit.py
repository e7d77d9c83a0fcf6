"""What every way of acting works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keeper.core.latency import Latency
from keeper.core.ports import Store
from keeper.executor.dispatch import Dispatch
from keeper.executor.doubts import Doubts
from keeper.executor.foreign import Foreign
from keeper.executor.guard import Guard
from keeper.executor.journal import Journal
from keeper.executor.ports import SecondOpinion, Settings
from keeper.executor.simulate import Simulator
from keeper.executor.watch import Watch


@dataclass(frozen=True, slots=True)
class Kit:
    """account: the wallet; empty when there is none. guard: the breakers. second: who confirms positions about to be
    acted on. doubts: for how long what is not confirmed is held. foreign: notices whoever else sends with our key."""

    store: Store
    account: bytes
    settings: Settings
    clock: Callable[[], float]
    journal: Journal
    watch: Watch
    simulator: Simulator
    dispatch: Dispatch
    latency: Latency
    foreign: Foreign
    guard: Guard | None
    second: SecondOpinion | None
    doubts: Doubts

"""From the first block to the last: what happens when, and what is written down meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.endurancelib.look import Lag, Looking, Sample
from scripts.endurancelib.scene import Scene, Size, open_scene
from scripts.endurancelib.world import Opened

BLOCK_S = 0.25
SLOW_SYNC_S = 0.1
_SAMPLE_S = 1.0
_ARRIVE_S = 180.0
_CALM_S = 180.0
_SAY_S = 20.0

PLAN = (
    (0.02, "storm"),
    (0.12, "call"),
    (0.22, "storm"),
    (0.42, "slow disk"),
    (0.56, "disk as usual"),
    (0.62, "cure"),
    (0.72, "storm"),
    (0.86, "slow disk"),
    (0.94, "disk as usual"),
)
"""Of each cycle, in shares of it."""


@dataclass
class Outcome:
    """notice_delays_s: of calls of loans, from the block that called for it until the prompt receiver had it.
    crowd_told_s: from the block that called the whole crowd until the last of it was told there."""

    size: Size
    minutes: float
    cycle_s: float
    blocks: int = 0
    seconds: float = 0.0
    lags: list[Lag] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    storms: list[int] = field(default_factory=list)
    crowds_called: int = 0
    crowd_told_s: list[float] = field(default_factory=list)
    delivered: dict[str, int] = field(default_factory=dict)
    liquidated: int = 0
    slow_syncs: int | None = None
    exits: list[dict[str, Any]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


Say = Callable[[str], None]


def run(folder: Path, minutes: float, size: Size, say: Say, *, seed: int = 1, cycle_s: float = 240.0) -> Outcome:
    """cycle_s: how long it is until the same happens again."""
    outcome = Outcome(size, minutes, cycle_s)
    with open_scene(folder, size, seed, say) as scene:
        say("the daemon starts")
        scene.keeper.start(_ARRIVE_S)
        with closing(Looking(scene)) as looking:
            _arrive(scene, looking)
            say("the load begins")
            _Course(scene, looking, outcome, say).run(minutes * 60)
    return outcome


def _arrive(scene: Scene, looking: Looking) -> None:
    """Until the daemon follows the chain."""
    tip, deadline = scene.world.beat(calm=True), time.monotonic() + _ARRIVE_S
    while looking.stored() < tip:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the daemon is at block {looking.stored()} after {_ARRIVE_S:.0f} s, not {tip}")
        time.sleep(0.05)


class _Course:
    def __init__(self, scene: Scene, looking: Looking, outcome: Outcome, say: Say) -> None:
        self._scene = scene
        self._looking = looking
        self._outcome = outcome
        self._say = say
        self._began = self._sampled = self._said = time.monotonic()

    def run(self, seconds: float) -> None:
        scene, outcome = self._scene, self._outcome
        plan, due = self._plan(), self._began
        at, what = next(plan)
        while (now := time.monotonic()) - self._began < seconds:
            while now - self._began >= at:
                self._begin(what)
                at, what = next(plan)
            self._block(due, calm=False)
            due = max(due + BLOCK_S, time.monotonic())
        outcome.seconds = time.monotonic() - self._began
        outcome.blocks = len(outcome.lags)
        self._begin("disk as usual")
        if scene.world.crowd_is_called:
            self._begin("cure")
        self._calm_down()
        self._conclude()

    def _plan(self) -> Iterator[tuple[float, str]]:
        cycle = 0
        while True:
            for share, what in PLAN:
                yield (cycle + share) * self._outcome.cycle_s, what
            cycle += 1

    def _begin(self, what: str) -> None:
        world, syncs = self._scene.world, self._scene.syncs
        if what == "storm":
            world.storm()
        elif what == "call":
            world.call_crowd()
        elif what == "cure":
            world.cure_crowd()
        elif syncs is not None:
            syncs.delay_s = SLOW_SYNC_S if what == "slow disk" else 0.0
            world.trouble = "slow disk" if syncs.delay_s else ""

    def _block(self, due: float, *, calm: bool) -> None:
        """Wait until a block is due, look, and mine it."""
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)
        world, now = self._scene.world, time.monotonic()
        tip = max(world.mined_at)
        if not calm:
            blocks, seconds = self._looking.behind(tip, now)
            self._outcome.lags.append(Lag(round(now - self._began, 2), blocks, round(seconds, 3), world.trouble))
        if now - self._sampled >= _SAMPLE_S:
            self._sampled = now
            self._outcome.samples.append(self._looking.sample(now - self._began, tip, now))
            if now - self._said >= _SAY_S:
                self._said = now
                self._progress(self._outcome.samples[-1])
        world.beat(calm=calm)

    def _progress(self, sample: Sample) -> None:
        waiting = ", ".join(f"{count:,} {channel}" for channel, count in sorted(sample.waiting.items())) or "none"
        self._say(
            f"block {sample.block:,}: {sample.behind_blocks} behind, {sample.resident / 2**20:.0f} MiB, "
            f"{sample.open_calls:,} open calls, waiting {waiting}, {self._looking.confirmed()} liquidations"
            + (f", {sample.trouble}" if sample.trouble else "")
        )

    def _calm_down(self) -> None:
        """No more falls; until the daemon is at the tip, everything is settled and the prompt receiver was told all."""
        scene, deadline = self._scene, time.monotonic() + _CALM_S
        while time.monotonic() < deadline:
            self._block(time.monotonic() + BLOCK_S, calm=True)
            behind, _ = self._looking.behind(max(scene.world.mined_at), time.monotonic())
            unsettled = [one for one in scene.world.opened if one.until is None]
            if behind <= 1 and not unsettled and not self._looking.waiting().get("prompt", 0):
                return
        waiting = self._looking.waiting()
        self._outcome.findings.append(f"not quiet {_CALM_S:.0f} s after the load ended: {waiting} wait")

    def _conclude(self) -> None:
        scene, outcome, world = self._scene, self._outcome, self._scene.world
        outcome.liquidated = self._looking.confirmed()
        outcome.opened, outcome.storms = world.opened, world.storms
        outcome.crowds_called = len(world.called_at)
        outcome.delivered = {name: len(inbox.arrivals) for name, inbox in scene.inboxes.items()}
        outcome.slow_syncs = None if scene.syncs is None else scene.syncs.seen
        outcome.crowd_told_s = self._crowd_told()
        code = scene.keeper.stop()
        if code != 0:
            outcome.findings.append(f"SIGTERM ended with {code}")
        outcome.exits = scene.keeper.exits
        for name, inbox in scene.inboxes.items():
            outcome.findings += [f"{name}: {problem}" for problem in inbox.problems[:5]]

    def _crowd_told(self) -> list[float]:
        """Until the last of the crowd was called, each time that it fell; and whether all were."""
        scene, crowd, took = self._scene, set(self._scene.world.crowd), list[float]()
        arrivals = [one for one in scene.inboxes["prompt"].arrivals if one.notice["position"] in crowd]
        opened = [one for one in arrivals if one.notice["event"] == "opened"]
        ends = [began for _, began in scene.world.called_at[1:]] + [float("inf")]
        for (_, began), end in zip(scene.world.called_at, ends, strict=True):
            of_this = [one for one in opened if began <= one.at < end]
            told = {one.notice["position"] for one in of_this}
            if told != crowd:
                self._outcome.findings.append(f"{len(crowd - told)} of {len(crowd)} of the crowd were not called")
            took.append(round(max((one.at for one in of_this), default=began) - began, 1))
        return took

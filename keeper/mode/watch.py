"""Looks at the daemon now and then, says which mode it is in, and tells whoever has to hear of a transition.

Each transition is a log line and an entry of the audit trail under `mode`. Notices go to operators: that Keeper is
blind (`HeadWatch`; owners too, when it lasts), that nothing is sent although blocks are taken, and that catching up
takes long.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.evaluator import wording as words
from keeper.evaluator.house import Trouble
from keeper.executor.halt import Halt
from keeper.mode.machine import Mode, Sight, State, judge
from keeper.upkeep.conditions import Conditions
from keeper.upkeep.headwatch import HeadWatch

if TYPE_CHECKING:
    from keeper.executor.guard import Guard
    from keeper.indexer.rpc.endpoint import EndpointStatus

log = structlog.get_logger(__name__)

SUBJECT = "mode"
DEGRADED, CATCHING_UP = "degraded", "catching_up"
_TOLD_ALREADY = ("paused", "breakers")  # by whoever did it, and by the breakers themselves


class ModeWatch:
    """halt: what other parts find, and this one about endpoints and the clock. ahead_limit_s: how far a block's time
    may be ahead of our clock; None: anything. clock: unix seconds. steady: seconds that only ever grow."""

    def __init__(
        self,
        heads: HeadWatch,
        store: Store,
        conditions: Conditions,
        halt: Halt,
        *,
        ahead_limit_s: float | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._heads = heads
        self._store = store
        self._conditions = conditions
        self._halt = halt
        self._ahead_limit_s = ahead_limit_s
        self._clock = clock
        self._steady = steady
        self._endpoints: Callable[[], list[EndpointStatus]] = list
        self._guard: Guard | None = None
        self._taken: Block | None = None
        self._announced: int | None = None
        self.state = State(Mode.CATCHING_UP, {"start": "no block was taken yet"})
        self._since = clock()
        self._since_steady = steady()

    def connect(self, endpoints: Callable[[], list[EndpointStatus]], guard: Guard | None) -> None:
        """Once there are any: what the endpoints are like, and the breakers."""
        self._endpoints = endpoints
        self._guard = guard

    # --- what the daemon says

    def announced(self, block: Block) -> None:
        """A node told of a head."""
        self._announced = block.number

    def saw_block(self, block: Block) -> None:
        """A block was taken."""
        self._heads.saw_block()
        self._taken = block
        self._look_at_clock(block)
        if self.state.mode is not Mode.FOLLOWING:
            self.look()

    def progressed(self) -> None:
        """What was missed came nearer."""
        self._heads.progressed()

    # --- looking

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._heads.period_s)

    def look(self) -> None:
        self._heads.look()
        self._look_at_endpoints()
        sight = Sight(
            self._heads.silent_s,
            self._heads.limit_s,
            None if self._taken is None else self._taken.number,
            self._announced,
            {**self._halt.reasons, **self._held()},
        )
        before, self.state = self.state, judge(sight)
        if self.state.mode is not before.mode:
            self._enter(before)
        self._tell()

    def _held(self) -> Mapping[str, str]:
        """What people and breakers hold back."""
        if self._guard is None:
            return {}
        held = {}
        if self._guard.paused:
            held["paused"] = "somebody paused it"
        if self._guard.trips:
            held["breakers"] = "tripped: " + ", ".join(trip.name for trip in self._guard.trips)
        return held

    def _enter(self, before: State) -> None:
        mode, now = self.state.mode, self._clock()
        self._since, self._since_steady = now, self._steady()
        evidence = {"reasons": dict(self.state.reasons), "block": None if self._taken is None else self._taken.number}
        with self._store.transaction() as tx:
            tx.set_meta(SUBJECT, json.dumps({"mode": mode.value, "since": now}))
            tx.audit(SUBJECT, mode.value, evidence, at=now, before=before.mode.value)
        level = log.info if mode in (Mode.FOLLOWING, Mode.CATCHING_UP) else log.warning
        level("mode_changed", mode=mode.value, before=before.mode.value, **evidence)

    def _tell(self) -> None:
        """What is due is the difference between what readers were told and what is true: harmless to repeat."""
        reasons = {name: said for name, said in self.state.reasons.items() if name not in _TOLD_ALREADY}
        if self.state.mode is Mode.DEGRADED and reasons:
            trouble = Trouble(
                DEGRADED,
                "nothing new is sent",
                (*(f"{said[:1].upper()}{said[1:]}." for said in reasons.values()), "Margin calls are told as ever."),
                "Nobody need resume it: it goes on by itself once the reason is gone.",
            )
            self._conditions.begin(trouble)
        elif self.state.mode is Mode.FOLLOWING or (self.state.mode is Mode.DEGRADED and not reasons):
            self._conditions.end(DEGRADED, "transactions are sent again")
        lasting_s = self._steady() - self._since_steady
        if self.state.mode is Mode.CATCHING_UP and lasting_s > self._heads.limit_s and self._taken is not None:
            self._conditions.begin(
                Trouble(
                    CATCHING_UP,
                    f"catching up for {words.duration(lasting_s)}",
                    (*(f"{said[:1].upper()}{said[1:]}." for said in self.state.reasons.values()),),
                    "What was missed is gone through; what is due is told as it is when the present is reached.",
                )
            )
        elif self.state.mode.watches:
            self._conditions.end(CATCHING_UP, "the present is reached")

    # --- what it finds by itself

    def _look_at_endpoints(self) -> None:
        """Tell of endpoints that lied; where all of several did, nobody is left to be believed."""
        endpoints = self._endpoints()
        for number, endpoint in enumerate(endpoints):
            about = f"endpoint:{number}"
            if endpoint.quarantined is None:
                self._conditions.end(about, f"rpc endpoint {endpoint.url} is believed again")
                continue
            trouble = Trouble(
                about,
                f"rpc endpoint {endpoint.url} was caught lying",
                (
                    f"{endpoint.quarantined}.",
                    "Until it has proved itself it is asked nothing, unless there is no other.",
                ),
                "Check it, or replace it in chain.rpc.",
            )
            self._conditions.begin(trouble)
        usable = [endpoint for endpoint in endpoints if not endpoint.excluded]
        all_lied = len(usable) > 1 and all(one.quarantined is not None and not one.paroled for one in usable)
        self._halt.set("endpoints", f"all {len(usable)} rpc endpoints were caught lying" if all_lied else None)

    def _look_at_clock(self, block: Block) -> None:
        """A block from the future: its interest is not due yet, or our clock is wrong; nothing is traded on either."""
        ahead_s = block.timestamp - self._clock()
        limit_s = self._ahead_limit_s
        if limit_s is None or ahead_s <= limit_s:
            self._halt.set("clock", None)
        else:
            said = f"block {block.number} is {ahead_s:.0f} s ahead of this machine's clock; {limit_s:g} s are allowed"
            self._halt.set("clock", f"{said}: check the clock (NTP) and the node")

    # --- what it tells of itself

    def read(self) -> dict[str, Any]:
        """For the pulse. since: unix seconds. behind_blocks: announced and not taken; None before the first block."""
        taken = None if self._taken is None else self._taken.number
        sight = Sight(self._heads.silent_s, self._heads.limit_s, taken, self._announced)
        return {
            "mode": self.state.mode.value,
            "since": self._since,
            "reasons": dict(self.state.reasons),
            "silent_s": round(sight.silent_s, 3),
            "blind_after_s": sight.limit_s,
            "behind_blocks": sight.behind_blocks,
        }

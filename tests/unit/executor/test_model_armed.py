"""Transactions made ready before their block, against every kind of chain: whatever becomes of them, and whenever the
daemon dies, the account's books stay right."""

from __future__ import annotations

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.support.model_armed import NEAR, ArmedPipeline
from tests.support.model_pipeline import Crash
from tests.unit.executor.test_model import POSITIONS, Chaos, _silent


class ChaosArmed(Chaos):
    """The same, with something ready before most blocks."""

    pipeline: ArmedPipeline

    @initialize(in_sequence=st.just(True))
    def begin(self, in_sequence: bool) -> None:
        structlog.configure(processors=[_silent])
        self.pipeline = ArmedPipeline()
        self.begun = set()
        self.pipeline.chain.mine(opened=[1])  # whose approval all others need
        self._live()
        self.pipeline.chain.mine()
        self._live()

    @rule(near=st.lists(st.sampled_from(list(NEAR)), unique=True))
    def arm(self, near: list[int]) -> None:
        try:
            self.pipeline.arm(near)
        except Crash:
            self.pipeline.restart()
            self.pipeline.follow()

    @rule(changed=POSITIONS, opened=POSITIONS)
    def block_that_touches(self, changed: set[int], opened: set[int]) -> None:
        self.pipeline.changed = {number.to_bytes(20, "big") for number in changed}
        self.block(opened=opened, closed=set(), at_most=6)
        self.pipeline.changed = set()

    @rule(opened=POSITIONS, requeue=st.booleans(), rearm=st.booleans(), at_most=st.integers(0, 3))
    def block_that_is_acted_on_and_never_taken(
        self, opened: set[int], requeue: bool, rearm: bool, at_most: int
    ) -> None:
        """What was ready leaves as its head comes; then the node has another block in its place."""
        chain = self.pipeline.chain
        chain.mine(opened=sorted(opened), at_most=0)
        try:
            self.pipeline.answer()
        except Crash:
            self.pipeline.restart()
        chain.reorg(1, requeue=requeue)
        if rearm:
            self.arm(list(NEAR))
        chain.mine(at_most=at_most)
        self._live()


TestChaosArmed = ChaosArmed.TestCase
TestChaosArmed.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)

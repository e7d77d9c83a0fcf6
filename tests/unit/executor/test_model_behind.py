"""Following price updates against every kind of chain: whatever becomes of them, the account's books stay right."""

from __future__ import annotations

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from keeper.core.records import IntentStatus
from keeper.executor.ahead import Ahead, update_of
from tests.support.model_pipeline import Crash
from tests.support.model_updates import BehindPipeline
from tests.unit.executor.test_model import POSITIONS, Chaos, _silent


class ChaosAhead(Chaos):
    """The same, and updates that are mined with ours, without ours, or never; in the open and in private."""

    pipeline: BehindPipeline

    @initialize(in_sequence=st.just(True))
    def begin(self, in_sequence: bool) -> None:
        structlog.configure(processors=[_silent])
        self.pipeline = BehindPipeline()
        self.begun = set()
        self.waiting: list[Ahead] = []
        self._live()

    @rule(opens=POSITIONS.filter(bool), public=st.booleans())
    def update_seen(self, opens: set[int], public: bool) -> None:
        ahead = self.pipeline.update(sorted(opens), public=public)
        self.waiting.append(ahead)
        self._foresee(ahead)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def update_seen_again(self, data: st.DataObject) -> None:
        self._foresee(data.draw(st.sampled_from(self.waiting)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), with_ours=st.booleans())
    def update_mined(self, data: st.DataObject, with_ours: bool) -> None:
        ahead = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ahead)
        self.pipeline.updated.mine_update(ahead, with_ours=with_ours)
        self._live()

    @rule(opens=POSITIONS.filter(bool), public=st.booleans())
    def update_won(self, opens: set[int], public: bool) -> None:
        """Seen, and mined with ours in the next block."""
        ahead = self.pipeline.update(sorted(opens), public=public)
        self._foresee(ahead)
        self.pipeline.updated.mine_update(ahead, with_ours=True)
        self._live()

    @rule(opens=POSITIONS.filter(bool), public=st.booleans(), at_most=st.integers(0, 3))
    def update_won_and_orphaned(self, opens: set[int], public: bool, at_most: int) -> None:
        """The update is gone with its block, but what was mined with it is known to everybody now."""
        self.update_won(opens, public)
        self.reorg(depth=1, longer=0, requeue=True, at_most=at_most)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def update_dropped(self, data: st.DataObject) -> None:
        ahead = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ahead)
        self.pipeline.updated.updates.pop(ahead.tx_hash, None)

    @invariant()
    def a_transaction_belongs_to_one_intent(self) -> None:
        hashes = [a.tx_hash for i in self.pipeline.store.journal.values() for a in i.attempts]
        assert len(set(hashes)) == len(hashes)

    def _foresee(self, ahead: Ahead) -> None:
        try:
            self.pipeline.foresee(ahead)
        except Crash:
            self.pipeline.restart()
            self.pipeline.follow()

    def _settle(self) -> None:
        self.pipeline.updated.updates.clear()
        super()._settle()
        for intent in self.pipeline.store.journal.values():
            in_private = update_of(intent) is not None and intent.plan["behind"]["for_block"] is not None
            assert not (in_private and intent.status is IntentStatus.FAILED)
            if in_private and intent.status is IntentStatus.ABANDONED:
                assert intent.gas_cost_wei is None


TestChaosAhead = ChaosAhead.TestCase
TestChaosAhead.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)

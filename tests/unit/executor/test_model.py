"""The executor against every kind of chain: whatever the network does, the account's books stay right."""

from __future__ import annotations

from typing import Any

import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keeper.core.records import IntentStatus
from keeper.executor.lifecycle import is_cancelling, is_spent, nonce_of
from tests.support.model_chain import GWEI, MadeUp
from tests.support.model_pipeline import Crash, Pipeline

POSITIONS = st.sets(st.integers(1, 6), max_size=4)
MADE_UP = st.builds(MadeUp, succeeded=st.booleans(), below=st.booleans())
FAULTS = st.sampled_from(["honest", "swallowed", "unanswered", "unanswered but taken", "refused but taken", "refused"])


class Chaos(RuleBasedStateMachine):
    """Random inclusion, fees, reorgs, lies, competitors and crashes."""

    @initialize(in_sequence=st.booleans())
    def begin(self, in_sequence: bool) -> None:
        structlog.configure(processors=[_silent])
        self.pipeline = Pipeline()
        self.pipeline.chain.in_sequence = in_sequence
        self.begun: set[str] = set()

    @rule(opened=POSITIONS, closed=POSITIONS, at_most=st.integers(0, 6))
    def block(self, opened: set[int], closed: set[int], at_most: int) -> None:
        self.pipeline.chain.mine(at_most=at_most, opened=sorted(opened), closed=sorted(closed))
        self._live()

    @rule(count=st.integers(2, 3))
    def blocks_at_once(self, count: int) -> None:
        for _ in range(count):
            self.pipeline.chain.mine()
        self._live()

    @rule(opened=POSITIONS)
    def foreign_transaction(self, opened: set[int]) -> None:
        self.pipeline.chain.mine(opened=sorted(opened), at_most=0, foreign=True)
        self._live()

    @rule(depth=st.integers(1, 6), longer=st.integers(0, 2), requeue=st.booleans(), at_most=st.integers(0, 4))
    def reorg(self, depth: int, longer: int, requeue: bool, at_most: int) -> None:
        chain = self.pipeline.chain
        depth = min(depth, len(chain.blocks) - 1, self.pipeline.finality - 1)
        chain.reorg(depth, requeue=requeue)
        for _ in range(depth + longer):
            chain.mine(at_most=at_most)
        self._live()

    @rule(made_up=MADE_UP, miscounted=st.sampled_from([0, None]), opened=POSITIONS, at_most=st.integers(0, 2))
    def lying_block(self, made_up: MadeUp, miscounted: int | None, opened: set[int], at_most: int) -> None:
        """Receipts of what waits, whether our nonce is told or not; and an honest block behind it."""
        chain = self.pipeline.chain
        chain.mine(opened=sorted(opened), at_most=at_most)
        chain.made_up, chain.miscounted = made_up, miscounted
        self._live()
        chain.made_up, chain.miscounted = None, 0
        chain.mine(at_most=at_most)
        self._live()

    @rule(gwei=st.sampled_from([1, 10, 40, 200, 600]))
    def base_fee(self, gwei: int) -> None:
        self.pipeline.chain.base_fee_wei = gwei * GWEI

    @rule(faults=st.lists(FAULTS, min_size=1, max_size=5))
    def faults(self, faults: list[str]) -> None:
        self.pipeline.chain.faults = faults

    @rule(step=st.sampled_from(["after commit", "before submission", "after submission"]), after=st.integers(0, 2))
    def crash_soon(self, step: str, after: int) -> None:
        self.pipeline.crash_at, self.pipeline.crash_in = step, after

    @rule()
    def restart(self) -> None:
        self.pipeline.restart()

    def _live(self) -> None:
        try:
            self.pipeline.follow()
        except Crash:
            self.pipeline.restart()
            self.pipeline.follow()

    @invariant()
    def nothing_was_sent_that_is_not_journalled(self) -> None:
        assert self.pipeline.unjournalled == []

    @invariant()
    def what_waits_has_a_nonce_of_its_own(self) -> None:
        waiting = [nonce_of(i) for i in self.pipeline.store.journal.values() if not is_spent(i)]
        assert len(set(waiting)) == len(waiting)

    @invariant()
    def nothing_is_begun_for_a_cause_that_has_something_waiting(self) -> None:
        """An approval that is being cancelled is no approval; a liquidation that is may yet be mined."""
        journal = self.pipeline.store.journal
        for intent in (journal[i] for i in journal.keys() - self.begun):
            rivals = [i for i in journal.values() if i.cause == intent.cause and not is_spent(i) and i is not intent]
            if intent.kind == "approval":
                rivals = [i for i in rivals if not is_cancelling(i)]
            assert is_spent(intent) or rivals == []
        self.begun = set(journal)

    def teardown(self) -> None:
        """On a chain that calms down everything settles, and the journal tells exactly what the chain did."""
        try:
            self._settle()
        finally:
            structlog.reset_defaults()

    def _settle(self) -> None:
        pipeline, chain = self.pipeline, self.pipeline.chain
        chain.faults, chain.base_fee_wei, pipeline.crash_at = [], 10 * GWEI, None
        for _ in range(40):
            chain.mine()
            pipeline.follow()
        pipeline.close()
        journal = pipeline.store.journal.values()
        assert all(intent.status.settled for intent in journal), [(i.cause, i.status, i.reason) for i in journal]
        assert chain.pool == {}
        assert chain.tip.after.open == set()
        mined = {m.tx_hash: (b.block, m) for b in chain.blocks for m in b.mined}
        for intent in journal:
            ours = [mined[a.tx_hash] for a in intent.attempts if a.tx_hash in mined]
            assert len(ours) <= 1
            if not ours:
                assert (intent.tx_hash, intent.status) == (None, IntentStatus.ABANDONED)
                continue
            block, transaction = ours[0]
            assert (intent.tx_hash, intent.included_hash) == (transaction.tx_hash, block.hash)
            purpose = next(a.purpose for a in intent.attempts if a.tx_hash == transaction.tx_hash)
            expected = IntentStatus.ABANDONED if purpose == "cancel" else IntentStatus.CONFIRMED
            assert intent.status is (expected if transaction.succeeded else IntentStatus.FAILED)
            if intent.kind == "liquidation" and intent.status is IntentStatus.CONFIRMED:
                assert intent.repaid_assets == 10
                assert intent.profit_realized is not None
        assert set(mined) <= {a.tx_hash for i in journal for a in i.attempts}


def _silent(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)

"""Whatever is committed, reverted, finalized and told, a store answers what folding the canonical history answers."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from keeper.core.errors import KeeperError
from keeper.core.records import DeliveryStatus, Fact, IntentStatus, Notice, NoticeEvent
from tests.contract.conftest import Databases
from tests.support.store_model import ModelStore
from tests.support.store_work import CHANNELS, KEYS, KINDS, PROTOCOLS, Step, committed, intent, notice, view

FACTS = st.lists(
    st.builds(
        Fact,
        protocol=st.sampled_from(PROTOCOLS),
        kind=st.sampled_from(KINDS),
        key=st.sampled_from(KEYS),
        payload=st.none() | st.binary(max_size=3),
    ),
    max_size=4,
    unique_by=lambda fact: (fact.protocol, fact.kind, fact.key),
)
TIMES = st.floats(0, 1e9)


class Twins(RuleBasedStateMachine):
    """The same transactions on a database and on the model."""

    databases: Databases

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelStore()
        self.branches = 0
        self.notices: dict[str, Notice] = {}
        self.exits = contextlib.ExitStack()
        self.opener = self.exits.enter_context(self.databases())
        self.store = self.opener()

    def teardown(self) -> None:
        self.store.close()
        self.exits.close()

    def both(self, step: Step) -> None:
        """Both do it and return the same, or both refuse it."""
        outcomes = []
        for store in (self.store, self.model):
            try:
                with store.transaction() as transaction:
                    outcomes.append(step(transaction))
            except KeeperError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]

    def child(self, facts: list[Fact], above: int = 1):
        """The next block, of a branch of its own."""
        self.branches += 1
        tip = self.model.cursor()
        number = (tip.number if tip else 0) + above
        return committed(number, *facts, branch=str(self.branches), parent=tip)

    # --- rules

    @rule(facts=FACTS)
    def commit(self, facts):
        new = self.child(facts)
        self.both(lambda transaction: transaction.commit_block(new))

    @rule(facts=FACTS, gap=st.integers(-1, 20))
    def advance(self, facts, gap):
        new = self.child(facts, above=1 + gap)
        self.both(lambda transaction: transaction.advance(new))

    @precondition(lambda self: self.model.history)
    @rule(draw=st.data(), facts=FACTS)
    def amend(self, draw, facts):
        """The block at the cursor, or one that is not."""
        amended = replace(draw.draw(st.sampled_from(self.model.history[-2:])), facts=tuple(facts))
        self.both(lambda transaction: transaction.amend(amended))

    @precondition(lambda self: self.model.history)
    @rule(draw=st.data(), facts=FACTS, then_fails=st.booleans())
    def reorg(self, draw, facts, then_fails):
        """To any block of the history, also of one too deep; at times the transaction fails after it."""
        ancestor = draw.draw(st.sampled_from(self.model.history)).block.ref
        self.branches += 1
        new = committed(ancestor.number + 1, *facts, branch=str(self.branches), parent=ancestor)

        def step(transaction):
            changed = transaction.revert_to(ancestor)
            transaction.commit_block(new)
            if then_fails:
                raise KeeperError("after the revert")
            return changed

        self.both(step)

    @precondition(lambda self: self.model.history)
    @rule(draw=st.data())
    def revert(self, draw):
        ancestor = draw.draw(st.sampled_from(self.model.history)).block.ref
        self.both(lambda transaction: transaction.revert_to(ancestor))

    @rule(back=st.integers(-1, 12))
    def finalize(self, back):
        tip = self.model.cursor()
        self.both(lambda transaction: transaction.finalize((tip.number if tip else 0) - back))

    @rule(protocol=st.sampled_from(PROTOCOLS), keys=st.lists(st.sampled_from(KEYS)), to=st.integers(0, 30))
    def scan(self, protocol, keys, to):
        self.both(lambda transaction: transaction.add_touches(protocol, keys, to))

    @rule(protocol=st.sampled_from(PROTOCOLS))
    def clear(self, protocol):
        self.both(lambda transaction: transaction.clear_touches(protocol))

    @rule(
        name=st.sampled_from("abcdef"),
        event=st.sampled_from(NoticeEvent),
        channels=st.lists(st.sampled_from(CHANNELS), unique=True),
        back=st.integers(0, 3),
        due_at=TIMES,
    )
    def tell(self, name, event, channels, back, due_at):
        """A name drawn again is the same notice, as an id must be."""
        tip = self.model.cursor()
        new = notice(name, (tip.number if tip else 0) - back, event, of=f"aave:{ord(name) % 2}")
        new = self.notices.setdefault(name, new)
        self.both(lambda transaction: transaction.add_notice(new, channels, due_at))

    @rule(name=st.sampled_from("abcdef"), channel=st.sampled_from(CHANNELS))
    def claim(self, name, channel):
        self.both(lambda transaction: transaction.claim(name, channel))

    @rule(
        name=st.sampled_from("abcdef"),
        channel=st.sampled_from(CHANNELS),
        status=st.sampled_from([s for s in DeliveryStatus if s.value not in ("dropped", "unwanted")]),
        at=TIMES,
        due_at=TIMES,
    )
    def settle(self, name, channel, status, at, due_at):
        self.both(
            lambda transaction: transaction.settle(name, channel, status, at=at, due_at=due_at, error="none or some")
        )

    @rule(
        name=st.sampled_from("ij"),
        status=st.sampled_from(IntentStatus),
        ours=st.integers(0, 3),
        created_at=TIMES,
        at=TIMES,
    )
    def act(self, name, status, ours, created_at, at):
        new = intent(name, status, attempts=ours, created_at=created_at, updated_at=at)
        self.both(lambda transaction: transaction.put_intent(new))

    @rule()
    def restart(self):
        self.store.close()
        self.store = self.opener()

    # --- what must hold

    @invariant()
    def answers_are_the_same(self):
        assert view(self.store) == view(self.model)


@pytest.mark.timeout(600)
def test_a_store_equals_refolding_the_canonical_history(fresh_database):
    """Random blocks, gaps, reorgs, finality, tellings, intents, failures, restarts: all answers are the model's."""
    twins = type("Twins", (Twins,), {"databases": staticmethod(fresh_database)})
    run_state_machine_as_test(
        twins,
        settings=settings(
            max_examples=settings.default.max_examples // 2,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
            deadline=None,
        ),
    )

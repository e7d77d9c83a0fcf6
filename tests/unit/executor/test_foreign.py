"""Somebody else uses our key: it is noticed, its nonces are left alone, and we stand by for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from keeper.core.records import IntentStatus
from keeper.core.types import BlockRef
from keeper.executor.breakers import Limits
from keeper.executor.foreign import Foreign
from keeper.executor.halt import Halt
from keeper.executor.lifecycle import Sight
from keeper.executor.nonces import allocate, gaps
from tests.support.model_chain import ModelChain, key_of
from tests.support.model_pipeline import IntentStore, Pipeline
from tests.support.store_work import intent


@dataclass
class Scene:
    store: IntentStore = field(default_factory=IntentStore)
    halt: Halt = field(default_factory=Halt)
    now: float = 1_000.0
    resumed_at: float | None = None
    block: int = 0
    finalized: int = 0
    believed: bool = True

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.halt = Halt()
        self.foreign = Foreign(
            cast(Any, self.store),
            self.halt,
            lambda: self.now,
            yield_s=600,
            resumed_at=lambda: self.resumed_at,
        )
        self.foreign.load()

    def look(self, nonce: int, pending: int | None = None, known: Sequence[bytes] = ()) -> bool:
        """Whether transactions are held back after a block with this nonce."""
        intents = list(self.store.journal.values())
        hashes = [attempt.tx_hash for one in intents for attempt in one.attempts]
        self.block += 1
        sight = Sight(BlockRef(self.block, b"1" * 32), nonce, {}, {h: h in known for h in hashes}, pending)
        self.believed = self.foreign.look(sight, intents, self.block, self.finalized)
        return bool(self.halt)

    def own(self, nonce: int, status: IntentStatus, *, mined: bool) -> bytes:
        one = intent(f"i{nonce}", status)
        attempt = replace(one.attempts[0], nonce=nonce, tx_hash=bytes([nonce]) * 32)
        one = replace(one, attempts=(attempt,), tx_hash=attempt.tx_hash if mined else None)
        self.store.journal[one.id] = one
        return attempt.tx_hash


@pytest.fixture
def scene() -> Iterator[Scene]:
    yield Scene()


def test_the_first_look_learns_and_accuses_nobody(scene: Scene):
    """A wallet that was used before Keeper had it."""
    assert not scene.look(7)


def test_a_nonce_that_none_of_ours_used_holds_transactions_back_for_a_while(scene: Scene):
    scene.look(7)
    assert scene.look(8)
    assert "something else sends transactions with our key" in scene.halt.reasons["foreign"]
    assert scene.store.trail == [("mined", {"nonces": [7], "block": 2})]
    scene.now += 599
    assert scene.look(8)
    scene.now += 1
    assert not scene.look(8)


def test_a_nonce_of_ours_accuses_nobody(scene: Scene):
    scene.look(7)
    scene.own(7, IntentStatus.INCLUDED, mined=True)
    assert not scene.look(8)


def test_one_of_ours_without_a_receipt_yet_is_waited_for(scene: Scene):
    """Its nonce is used, by what is not known yet; once it is given up it was somebody else."""
    scene.look(7)
    scene.own(7, IntentStatus.BROADCAST, mined=False)
    assert not scene.look(8)
    assert not scene.look(8)
    scene.own(7, IntentStatus.ABANDONED, mined=False)
    assert scene.look(8)


def test_what_turns_out_to_be_ours_ends_the_standing_by_at_once(scene: Scene):
    """A node hid the receipt for some blocks, so that it had been given up; also after a restart. All of them have to
    be found."""
    scene.look(7)
    for nonce in (7, 8):
        scene.own(nonce, IntentStatus.ABANDONED, mined=False)
    assert scene.look(9)
    scene.own(7, IntentStatus.INCLUDED, mined=True)
    assert scene.look(9)
    scene.restart()
    scene.own(8, IntentStatus.INCLUDED, mined=True)
    assert not scene.look(9)
    assert [event for event, _ in scene.store.trail] == ["mined", "withdrawn"]
    assert scene.look(10)


def test_a_restart_forgets_nothing(scene: Scene):
    scene.look(7)
    scene.look(8)
    scene.restart()
    assert scene.look(8)
    scene.now += 600
    assert not scene.look(8)


def test_what_happened_while_we_were_down_is_found(scene: Scene):
    """Above the newest nonce that the journal says we used."""
    scene.own(7, IntentStatus.CONFIRMED, mined=True)
    scene.restart()
    assert not scene.look(8)
    scene.restart()
    assert scene.look(9)


def test_ours_that_were_mined_and_final_meanwhile_accuse_nobody(scene: Scene):
    """Those that the executor no longer holds in memory are in the store."""
    scene.look(7)
    scene.own(7, IntentStatus.CONFIRMED, mined=True)
    sight = Sight(BlockRef(1, b"1" * 32), 8, {}, {})
    scene.foreign.look(sight, [], 1)
    assert not scene.halt


def test_what_a_stranger_has_waiting_is_left_to_it(scene: Scene):
    scene.look(7)
    assert scene.look(7, pending=9)
    assert scene.foreign.waiting == {7, 8}
    assert "nonce 7, 8 waits to be mined" in scene.halt.reasons["foreign"]


def test_ours_that_the_node_has_waiting_are_not_strangers(scene: Scene):
    scene.look(7)
    known = scene.own(7, IntentStatus.BROADCAST, mined=False)
    assert not scene.look(7, pending=8, known=[known])
    assert scene.foreign.waiting == frozenset()


def test_a_nonce_of_ours_that_something_else_holds_is_not_bid_for_and_accuses_nobody(scene: Scene):
    """It may be a node that does not find what it has."""
    scene.look(7)
    scene.own(7, IntentStatus.BROADCAST, mined=False)
    assert not scene.look(7, pending=8)
    assert scene.foreign.waiting == {7}


def test_a_node_that_counts_too_far_costs_little(scene: Scene):
    scene.look(7)
    scene.look(7, pending=2**60)
    assert len(scene.foreign.waiting) == 1_024


@pytest.mark.parametrize("lie", [0, 2**62])
def test_one_block_that_counts_far_off_accuses_nobody(scene: Scene, lie: int):
    """What comes after it is counted from where it was before."""
    scene.look(5_000)
    assert not scene.look(lie)
    assert not scene.believed
    assert not scene.look(5_000)
    assert scene.believed
    assert scene.look(5_001)
    assert scene.store.trail == [("mined", {"nonces": [5_000], "block": 4})]


def test_one_block_that_counts_a_little_low_does_not_accuse_what_was_before_us(scene: Scene):
    scene.look(500)
    assert not scene.look(0)
    assert not scene.believed
    assert not scene.look(500)
    assert scene.believed


def test_what_all_blocks_up_to_finality_say_is_believed_and_told_in_bounds(scene: Scene):
    """Somebody used the key a lot while we were down. Two blocks that agree may both be wrong."""
    scene.look(7)
    assert not scene.look(10**6)
    assert not scene.believed
    for count in (10**6, 10**6 + 1):
        scene.look(count)
        assert not scene.believed
        assert "since block 2 our account is said to have sent" in scene.halt.reasons["count"], "operators hear of it"
    scene.finalized = 2  # the block that said it first
    assert scene.look(10**6 + 1)
    assert scene.believed and "count" not in scene.halt.reasons
    [(_, told)] = scene.store.trail
    assert told["nonces"] == list(range(10**6 + 1 - 1_024, 10**6 + 1))
    scene.now += 600
    assert not scene.look(10**6 + 1)


@pytest.mark.parametrize("lie", [0, 2**62])
def test_two_blocks_that_agree_on_what_cannot_be_are_not_believed(scene: Scene, lie: int):
    """Also where all is final at once: the block that said it first confirms nothing."""
    scene.look(5_000)
    scene.look(lie)
    assert not scene.believed
    scene.look(lie)
    assert not scene.believed
    assert not scene.look(5_000), "it is over at once"
    assert scene.believed and scene.store.trail == []
    assert scene.foreign.is_far(5_000 + 1_025) and not scene.foreign.is_far(5_000 + 1_024)


def test_a_person_may_ask_to_believe_it_before(scene: Scene):
    scene.look(5_000)
    scene.look(0)
    scene.resumed_at = scene.now + 1
    scene.look(0)
    assert scene.believed


def test_the_same_block_twice_confirms_nothing(scene: Scene):
    scene.look(7)
    scene.look(2**62)
    scene.block -= 1
    scene.finalized = 2
    assert not scene.look(2**62)
    assert not scene.believed


def test_what_a_lie_accused_a_stranger_of_is_taken_back_by_two_blocks(scene: Scene):
    """A count that is a little too high is believed, and holds transactions; not for as long as a stranger does."""
    scene.look(7)
    assert scene.look(9)
    assert scene.look(7) and not scene.believed
    assert not scene.look(7)
    assert scene.believed
    assert scene.store.trail == [("mined", {"nonces": [7, 8], "block": 2}), ("withdrawn", {"nonces": [7, 8]})]
    assert scene.look(8), "what comes then is told again"


def test_one_block_that_denies_a_stranger_ends_no_standing_by(scene: Scene):
    scene.look(7)
    assert scene.look(9)
    assert scene.look(7)
    assert scene.look(9) and scene.believed
    scene.now += 599
    assert scene.look(9)
    assert [event for event, _ in scene.store.trail] == ["mined"]


def test_a_nonce_of_ours_that_a_reorg_gave_to_somebody_else_is_noticed(scene: Scene):
    scene.look(7)
    scene.own(7, IntentStatus.INCLUDED, mined=True)
    assert not scene.look(8)
    scene.own(7, IntentStatus.REORGED, mined=False)
    assert not scene.look(7)
    scene.own(7, IntentStatus.ABANDONED, mined=False)
    assert scene.look(8)


def test_a_clock_that_is_set_back_neither_prolongs_the_standing_by_nor_hides_a_request(scene: Scene):
    """A stranger was noticed while the clock was an hour fast."""
    scene.look(7)
    scene.now += 3_600
    assert scene.look(8)
    scene.now -= 3_600
    assert scene.look(8)
    scene.now += 599
    assert scene.look(8)
    scene.now += 1
    assert not scene.look(8)
    scene.now += 3_600
    assert scene.look(9)
    scene.now -= 3_600
    scene.resumed_at = scene.now - 1
    assert not scene.look(9)


def test_a_person_may_ask_to_believe_a_count_of_before_the_clock_was_set_back(scene: Scene):
    scene.look(5_000)
    scene.now += 3_600
    scene.look(0)
    scene.now -= 3_600
    scene.resumed_at = scene.now - 1
    scene.look(0)
    assert scene.believed


def test_somebody_may_ask_to_go_on(scene: Scene):
    scene.look(7)
    assert scene.look(8)
    scene.resumed_at = scene.now + 1
    assert not scene.look(8)
    scene.resumed_at = None  # the request was honoured
    assert not scene.look(8)
    scene.restart()
    assert not scene.look(8)
    scene.now += 2
    assert scene.look(9), "what comes after the request counts"


def test_nonces_of_others_are_neither_taken_nor_filled():
    assert allocate(5, [6], 3, foreign=[5, 7]) == [8, 9, 10]
    assert gaps(5, [8], foreign=[5, 7]) == [6]


def test_gaps_are_found_as_far_as_they_are_asked_for():
    """Whatever the account's nonce was said to be."""
    assert gaps(0, [3, 2**62], most=4) == [0, 1, 2, 4]


# --- on the model chain


def test_two_with_one_key_the_one_that_sent_first_goes_on() -> None:
    """The other stands by, takes over no nonce, and bids for none."""
    pipeline = Pipeline(limits=Limits(), yield_s=60)
    pipeline.chain.mine()
    pipeline.follow()
    pipeline.chain.mine(foreign=True)
    pipeline.follow()
    for _ in range(3):
        pipeline.chain.mine(opened=[1])
        pipeline.follow()
    assert pipeline.chain.submitted == []
    pipeline.clock += 60
    pipeline.chain.mine()
    pipeline.follow()
    assert pipeline.chain.submitted
    assert {intent.cause for intent in pipeline.store.journal.values()} >= {"liquidate:model:1"}
    assert key_of(1) in pipeline.venue(pipeline.chain.tip.block).book.positions
    pipeline.close()


@pytest.mark.parametrize("lie", [0, 2**62])
def test_a_block_whose_count_is_not_believed_is_not_acted_on(lie: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No nonce is taken that others' do not reach, and no thousands of fillers are sent; the next block is acted on."""
    pipeline = Pipeline()
    pipeline.chain.tip.after.nonce = 5_000
    pipeline.chain.mine()
    pipeline.follow()
    honest = pipeline.chain._answer
    with monkeypatch.context() as patch:
        patch.setattr(
            pipeline.chain,
            "_answer",
            lambda method, params: hex(lie) if method == "eth_getTransactionCount" else honest(method, params),
        )
        pipeline.chain.mine(opened=[1])
        pipeline.follow()
    assert pipeline.chain.submitted == []
    pipeline.chain.mine()
    pipeline.follow()
    assert [one.attempts[0].nonce for one in pipeline.store.journal.values()] == [5_000, 5_001]
    pipeline.close()


@pytest.mark.parametrize("above", [1, 2, 2**40])
def test_two_blocks_that_count_too_high_give_up_nothing_that_waits(monkeypatch: pytest.MonkeyPatch, above: int) -> None:
    """The node still has both transactions. When it counts right again the position is liquidated once, and nothing is
    sent in vain; at worst what waited behind an approval that seems to be used was cancelled, and follows it later."""
    pipeline = Pipeline(limits=Limits())
    honest, wrong = ModelChain._answer, [0]

    def answer(chain: ModelChain, method: str, params: Sequence[Any]) -> Any:
        said = honest(chain, method, params)
        is_count = method == "eth_getTransactionCount" and params[1] != "pending"
        return hex(int(said, 16) + wrong[0]) if is_count else said

    monkeypatch.setattr(ModelChain, "_answer", answer)
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    sent = list(pipeline.store.journal)
    assert len(sent) == 2
    wrong[0] = above
    for _ in range(2):
        pipeline.chain.mine(at_most=0)
        pipeline.follow()
        assert not any(one.status.settled for one in pipeline.store.journal.values())
    wrong[0] = 0
    for _ in range(4):
        pipeline.chain.mine()
        pipeline.follow()
    became = [(one.kind, one.status) for one in pipeline.store.journal.values()]
    assert became.count(("approval", IntentStatus.CONFIRMED)) == 1
    assert became.count(("liquidation", IntentStatus.CONFIRMED)) == 1
    assert len(became) == (3 if above == 1 else 2) and IntentStatus.FAILED not in dict(became).values()
    pipeline.close()


def test_a_count_that_is_far_off_gives_nothing_up_though_the_node_has_lost_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = Pipeline(limits=Limits())
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    honest = ModelChain._answer

    def answer(chain: ModelChain, method: str, params: Sequence[Any]) -> Any:
        return hex(2**40) if method == "eth_getTransactionCount" else honest(chain, method, params)

    monkeypatch.setattr(ModelChain, "_answer", answer)
    pipeline.chain.pool.clear()
    for _ in range(3):
        pipeline.chain.mine()
        pipeline.follow()
    assert {one.status for one in pipeline.store.journal.values()} == {IntentStatus.BROADCAST}
    pipeline.close()


def test_only_as_many_gaps_are_filled_at_once_as_may_wait() -> None:
    """Beneath one of ours that waits far above the account's nonce."""
    pipeline = Pipeline()
    pipeline.chain.tip.after.nonce = 900
    pipeline.chain.mine()
    pipeline.follow()
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    assert pipeline.chain.submitted
    pipeline.chain.tip.after.nonce = 0
    for _ in range(pipeline.finality + 2):  # it is believed once final
        pipeline.chain.mine(at_most=0)
        pipeline.follow()
    fillers = [one for one in pipeline.store.journal.values() if one.kind == "filler"]
    assert 0 < len(fillers) <= 2 * pipeline.settings.max_pending
    pipeline.close()

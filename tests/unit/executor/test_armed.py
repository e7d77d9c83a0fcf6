"""What is ready before its block: sent at once where it is right, else left; never lost, never sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from keeper.core.errors import RpcRefused, StoreInUse
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.executor.armed import load
from keeper.executor.armory import META
from keeper.executor.breakers import Limits
from keeper.executor.lifecycle import is_spent, nonce_of
from keeper.executor.ports import Mode
from tests.support.model_armed import ARMING, NEAR, ArmedPipeline
from tests.support.model_chain import CHARGE, GWEI, key_of
from tests.support.model_pipeline import CHAIN_ID, SIGNER, Crash, Pipeline


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def ready(pipeline: ArmedPipeline) -> ArmedPipeline:
    """With the wallet's allowance in place, and the four nearest positions armed."""
    for opened in ((6,), (), ()):
        pipeline.chain.mine(opened=opened)
        pipeline.follow()
    assert pipeline.executor.armed == {"model"}
    return pipeline


@pytest.fixture
def pipeline() -> Iterator[ArmedPipeline]:
    made = ready(ArmedPipeline())
    yield made
    made.close()


def of(pipeline: ArmedPipeline, position: int) -> list[Intent]:
    return [i for i in pipeline.store.journal.values() if i.position == f"model:{position}"]


def opens(pipeline: ArmedPipeline, *positions: int, act: bool = False) -> None:
    pipeline.chain.mine(opened=positions)
    pipeline.follow(act=act)


def test_what_is_ready_leaves_before_anything_is_simulated_or_written(pipeline: ArmedPipeline) -> None:
    """The very bytes that were durable before the block, judged at it."""
    stored = pipeline.store.kept[META]
    opens(pipeline, 1)
    [intent] = of(pipeline, 1)
    tip = pipeline.chain.tip.block
    assert (intent.judged_number, intent.judged_hash) == (tip.number, tip.hash)
    assert intent.id in stored
    assert pipeline.chain.submitted[-1] == intent.attempts[0].tx_hash
    assert pipeline.store.kept[META] == ""
    pipeline.chain.mine()
    pipeline.follow()
    [intent] = of(pipeline, 1)
    assert (intent.status, intent.repaid_assets) == (IntentStatus.INCLUDED, 10)


def test_several_leave_in_the_order_in_which_they_are_near(pipeline: ArmedPipeline) -> None:
    opens(pipeline, 1, 2, 3)
    assert pipeline.fired == [pipeline.chain.tip.block.number]
    nonces = [nonce_of(of(pipeline, n)[0]) for n in (1, 2, 3)]
    assert nonces == list(range(nonces[0], nonces[0] + 3))
    pipeline.chain.mine()
    pipeline.follow()
    assert pipeline.chain.tip.after.open == set()


def test_one_behind_another_that_stays_is_signed_again_and_journalled_first(pipeline: ArmedPipeline) -> None:
    """Its own nonce would leave a gap, behind which nothing is mined."""
    stored = pipeline.store.kept[META]
    opens(pipeline, 2)
    [intent] = of(pipeline, 2)
    assert intent.id not in stored
    assert pipeline.unjournalled == []
    assert nonce_of(intent) == pipeline.chain.tip.after.nonce
    pipeline.chain.mine()
    pipeline.follow()
    assert of(pipeline, 2)[0].status is IntentStatus.INCLUDED


def test_those_nearest_of_which_nothing_can_be_made_ready_do_not_take_the_places_of_others() -> None:
    """Anybody can put as many positions at the edge as are kept ready."""
    pipeline = ArmedPipeline()
    pipeline.chain.tip.after.frozen = frozenset(NEAR[: ARMING.armed])
    ready(pipeline)
    opens(pipeline, 5)
    assert pipeline.fired == [pipeline.chain.tip.block.number]
    assert len(of(pipeline, 5)) == 1
    pipeline.close()


def test_what_does_not_open_is_not_sent(pipeline: ArmedPipeline) -> None:
    before = list(pipeline.chain.submitted)
    opens(pipeline)
    assert (pipeline.chain.submitted, pipeline.fired) == (before, [])


def test_a_position_that_the_block_touched_is_planned_anew(pipeline: ArmedPipeline) -> None:
    pipeline.changed = {key_of(1)}
    opens(pipeline, 1)
    assert (of(pipeline, 1), pipeline.fired) == ([], [])
    pipeline.chain.mine()
    pipeline.follow()
    assert len(of(pipeline, 1)) == 1


def test_fees_that_no_longer_suffice_keep_it_back(pipeline: ArmedPipeline) -> None:
    pipeline.chain.base_fee_wei = 100 * GWEI
    opens(pipeline, 1)
    assert (of(pipeline, 1), pipeline.fired) == ([], [])


def test_tokens_that_something_else_takes_meanwhile_keep_it_back(pipeline: ArmedPipeline) -> None:
    """The next head came before anything was armed anew: what was is older than what was sent since."""
    pipeline.chain.tip.after.tokens = CHARGE
    pipeline.chain.mine(opened=(5,))
    Pipeline.follow(pipeline)
    assert [intent.status for intent in of(pipeline, 5)] == [IntentStatus.BROADCAST]
    assert pipeline.executor.armed == {"model"}
    pipeline.chain.mine(at_most=0, opened=(1,))
    pipeline.follow(act=False)
    assert (of(pipeline, 1), pipeline.fired) == ([], [])


@pytest.mark.parametrize("spent", [{"tokens": CHARGE - 1}, {"native_wei": 10**15}, {"allowance": CHARGE - 1}])
def test_a_wallet_that_pays_no_longer_keeps_it_back(pipeline: ArmedPipeline, spent: dict[str, int]) -> None:
    pipeline.chain.mine()
    for name, left in spent.items():
        setattr(pipeline.chain.tip.after, name, left)
    Pipeline.follow(pipeline)
    opens(pipeline, 1)
    assert (of(pipeline, 1), pipeline.fired) == ([], [])


def test_of_several_only_those_leave_that_the_wallet_pays_for(pipeline: ArmedPipeline) -> None:
    pipeline.chain.mine()
    pipeline.chain.tip.after.tokens = 2 * CHARGE
    Pipeline.follow(pipeline)
    opens(pipeline, 1, 2, 3)
    assert [n for n in (1, 2, 3) if of(pipeline, n)] == [1, 2]


@pytest.mark.parametrize("armed_anew", [False, True])
def test_several_take_no_more_than_is_allowed_in_all(pipeline: ArmedPipeline, armed_anew: bool) -> None:
    """Each alone would be within its allowance; the third would revert."""
    pipeline.chain.mine()
    pipeline.chain.tip.after.allowance = 3 * CHARGE - 1
    Pipeline.follow(pipeline)
    if armed_anew:
        pipeline.arm()
        assert len(load(pipeline.store.kept[META], SIGNER.address)) == 2
    opens(pipeline, 1, 2, 3)
    assert [n for n in (1, 2, 3) if of(pipeline, n)] == [1, 2]


@pytest.mark.parametrize("armed_anew", [False, True])
def test_a_nonce_for_which_a_stranger_has_something_waiting_is_left_to_it(
    pipeline: ArmedPipeline, armed_anew: bool
) -> None:
    """Whether it is noticed before anything is armed anew, or after."""
    nonce = pipeline.chain.tip.after.nonce
    stranger = UnsignedTransaction(CHAIN_ID, nonce, GWEI, 1_000 * GWEI, 21_000, TxCall(b"\x99" * 20, b""))
    pipeline.chain.pool[b"stranger"] = stranger
    pipeline.chain.mine(at_most=0)
    Pipeline.follow(pipeline)
    if armed_anew:
        pipeline.arm()
        stored = load(pipeline.store.kept[META], SIGNER.address)
        assert [nonce_of(intent) for intent in stored] == [nonce + n for n in (1, 2, 3, 4)]
    pipeline.chain.mine(at_most=0, opened=(1, 2))
    pipeline.follow(act=False)
    assert [nonce_of(of(pipeline, n)[0]) for n in (1, 2)] == [nonce + 1, nonce + 2]
    assert b"stranger" in pipeline.chain.pool


def test_gas_that_eats_the_profit_keeps_it_back() -> None:
    """$1,001 less 200,000 gas; the least profit is what is left of it at ten gwei, and not at fifteen."""
    made = ready(ArmedPipeline(replace(ARMING, min_profit=ARMING.min_profit * 995)))
    made.chain.base_fee_wei = 15 * GWEI
    opens(made, 1)
    assert made.fired == []
    made.close()


def test_another_parent_than_the_one_it_was_made_on_is_not_answered(pipeline: ArmedPipeline) -> None:
    """After a reorg nonce and wallet are those of another branch; the block that follows is answered as ever."""
    pipeline.chain.reorg(1, requeue=True)
    pipeline.chain.mine(opened=(1,))
    pipeline.follow(act=False)
    assert pipeline.fired == []


def test_a_pause_holds_what_is_ready() -> None:
    made = ready(ArmedPipeline(limits=Limits()))
    made.switch.paused = True
    opens(made, 1)
    assert (of(made, 1), made.fired) == ([], [])
    made.close()


def test_spend_limits_count_what_is_ready() -> None:
    made = ready(ArmedPipeline(limits=Limits(gas_per_day_wei=5 * 10**16)))
    opens(made, 1, 2, 3, 4)
    sent = [n for n in (1, 2, 3, 4) if of(made, n)]
    assert 0 < len(sent) < 4
    made.close()


def test_a_daemon_that_dies_after_sending_finds_out_that_it_did(pipeline: ArmedPipeline) -> None:
    """The block was never stored, so nothing but what was armed tells of the transaction."""
    pipeline.crash_at = "after submission"
    pipeline.chain.mine(opened=(1,))
    with pytest.raises(Crash):
        pipeline.follow()
    assert of(pipeline, 1) == []
    pipeline.restart()
    pipeline.follow()
    [intent] = of(pipeline, 1)
    assert intent.status is IntentStatus.BROADCAST
    assert pipeline.chain.submitted.count(intent.attempts[0].tx_hash) == 1
    pipeline.chain.mine()
    pipeline.follow()
    assert of(pipeline, 1)[0].status is IntentStatus.INCLUDED


@pytest.mark.parametrize("changed", [{"armed": 0}, {"mode": Mode.DRY_RUN}, {"liquidates": False}])
def test_a_daemon_that_keeps_nothing_ready_finds_out_what_the_one_before_it_sent(
    pipeline: ArmedPipeline, changed: dict[str, Any]
) -> None:
    pipeline.crash_at = "after submission"
    pipeline.chain.mine(opened=(1,))
    with pytest.raises(Crash):
        pipeline.follow()
    pipeline.settings = replace(pipeline.settings, **changed)
    pipeline.restart()
    pipeline.follow()
    [intent] = of(pipeline, 1)
    assert (intent.status, pipeline.executor.pending) == (IntentStatus.BROADCAST, 1)
    pipeline.chain.mine()
    pipeline.follow()
    assert of(pipeline, 1)[0].status is IntentStatus.INCLUDED
    assert pipeline.store.kept[META] == ""


def test_a_daemon_that_dies_before_sending_finds_out_that_it_did_not(pipeline: ArmedPipeline) -> None:
    """No transaction is spent on giving up what never left, and its nonce is used by what comes next."""
    pipeline.crash_at = "before submission"
    pipeline.chain.mine(opened=(1,))
    with pytest.raises(Crash):
        pipeline.follow()
    pipeline.restart()
    pipeline.chain.mine(closed=(1,))
    pipeline.follow()
    before = [i for i in pipeline.store.journal.values() if i.status is IntentStatus.ABANDONED]
    assert {i.position for i in before} == {f"model:{n}" for n in (1, 2, 3, 4)}
    assert all("never left" in (i.reason or "") and len(i.attempts) == 1 for i in before)
    assert pipeline.chain.pool == {}
    opens(pipeline, 5)
    pipeline.follow()
    pipeline.chain.mine()
    pipeline.follow()
    assert of(pipeline, 5)[0].status is IntentStatus.INCLUDED


@pytest.mark.parametrize("restarted", [False, True])
def test_what_never_left_is_not_signed_again_to_the_byte_however_long_ago(
    pipeline: ArmedPipeline, restarted: bool
) -> None:
    """Signatures are deterministic, and a transaction belongs to one intent for good: past finality as before it."""
    pipeline.crash_at = "before submission"
    pipeline.chain.mine(opened=(1,))
    with pytest.raises(Crash):
        pipeline.follow()
    pipeline.restart()
    pipeline.chain.mine(closed=(1,))
    pipeline.follow()
    given_up = {i.id for i in pipeline.store.journal.values() if i.status is IntentStatus.ABANDONED}
    assert len(given_up) == 4
    for _ in range(pipeline.finality + 2):
        pipeline.chain.mine()
        pipeline.follow()
    assert not given_up & {intent.id for intent in pipeline.executor.intents}
    pipeline.arm([])
    if restarted:
        pipeline.restart()
        opens(pipeline, act=True)
        pipeline.arm([])
    pipeline.arm()
    opens(pipeline, 1, act=True)
    pipeline.chain.mine()
    pipeline.follow()
    assert pipeline.fired
    [_, intent] = of(pipeline, 1)
    assert intent.status is IntentStatus.INCLUDED


def test_a_transaction_that_the_journal_knows_is_not_recovered_as_another(pipeline: ArmedPipeline) -> None:
    """Or no start would ever get past it."""
    stored = pipeline.store.kept[META]
    pipeline.restart()
    opens(pipeline, act=True)
    count = len(pipeline.store.journal)
    given_up = [i for i in pipeline.store.journal.values() if i.status is IntentStatus.ABANDONED]
    assert len(given_up) == 4
    for intent in given_up:
        stored = stored.replace(intent.id, intent.id[::-1])
    pipeline.store.kept[META] = stored
    pipeline.restart()
    assert (len(pipeline.store.journal), pipeline.store.kept[META]) == (count, "")


@pytest.mark.parametrize("still_open", [False, True])
def test_a_node_that_does_not_say_whether_it_left_holds_no_nonce_up_for_good(
    pipeline: ArmedPipeline, monkeypatch: pytest.MonkeyPatch, still_open: bool
) -> None:
    """After some blocks it is sent again, or given up, on its own nonce: what comes behind it is mined."""
    honest = pipeline.chain._answer
    monkeypatch.setattr(
        pipeline.chain,
        "_answer",
        lambda method, params: (
            RpcRefused("transaction indexing is in progress", -32000)
            if method == "eth_getTransactionByHash"
            else honest(method, params)
        ),
    )
    pipeline.crash_at = "before submission"
    pipeline.chain.mine(opened=(1,))
    with pytest.raises(Crash):
        pipeline.follow()
    pipeline.restart()
    if not still_open:
        pipeline.chain.mine(closed=(1,))
    before = list(pipeline.chain.submitted)
    for _ in range(pipeline.settings.replace_after_blocks):
        assert pipeline.chain.submitted == before
        pipeline.follow()
        pipeline.chain.mine()
    opens(pipeline, 5, act=True)
    for _ in range(3):
        pipeline.chain.mine()
        pipeline.follow()
    assert all(is_spent(intent) for intent in pipeline.store.journal.values())
    assert of(pipeline, 1)[0].status is (IntentStatus.CONFIRMED if still_open else IntentStatus.ABANDONED)
    assert of(pipeline, 5)[0].status in (IntentStatus.INCLUDED, IntentStatus.CONFIRMED)


def test_a_daemon_that_ends_well_leaves_nothing_in_doubt(pipeline: ArmedPipeline) -> None:
    pipeline.loop.run_until_complete(pipeline.executor.close())
    count = len(pipeline.store.journal)
    pipeline.restart()
    assert len(pipeline.store.journal) == count


def test_a_daemon_that_skipped_blocks_knows_that_nothing_left(pipeline: ArmedPipeline) -> None:
    count = len(pipeline.store.journal)
    pipeline.executor.adopt([pipeline.chain.tip.block], 0)
    assert (len(pipeline.store.journal), pipeline.executor.armed) == (count, frozenset())
    assert load(pipeline.store.kept[META], SIGNER.address) == []
    opens(pipeline, 1)
    pipeline.follow()
    pipeline.chain.mine()
    pipeline.follow()
    assert [intent.status for intent in of(pipeline, 1)] == [IntentStatus.INCLUDED]


def test_a_daemon_that_was_taken_over_from_sends_nothing(pipeline: ArmedPipeline) -> None:
    """Whoever took over has recovered what was armed, and uses its nonces; no lease is asked before it would leave."""
    before = list(pipeline.chain.submitted)
    pipeline.store.kept[META] = ""
    with pytest.raises(StoreInUse, match="another daemon took over"):
        opens(pipeline, 1)
    assert (pipeline.chain.submitted, pipeline.executor.armed) == (before, frozenset())


def test_what_was_made_before_the_next_head_came_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks come faster than everything near can be simulated, it is armed over several of them."""
    made = ArmedPipeline()
    for opened in ((6,), ()):  # its approval is what all others need
        made.chain.mine(opened=opened)
        Pipeline.follow(made)
    simulated: list[bytes] = []
    batch, heads = made.chain.batch, [3, 5]

    async def interrupted(requests: Sequence[Any]) -> list[Any]:
        for method, params in requests:
            if method == "eth_simulateV1":
                [state] = params[0]["blockStateCalls"]
                simulated.extend(bytes.fromhex(code["code"][2:]) for code in state["stateOverrides"].values())
        if heads and len(simulated) == heads[0]:
            heads.pop(0)
            raise asyncio.CancelledError
        return await batch(requests)

    monkeypatch.setattr(made.chain, "batch", interrupted)
    for _ in (3, 5):
        with pytest.raises(asyncio.CancelledError):
            made.arm()
        assert made.executor.armed == frozenset()
    made.arm()
    assert simulated == [b"\x01", b"\x02", b"\x03", b"\x03", b"\x04", b"\x04"]
    stored = load(made.store.kept[META], SIGNER.address)
    assert [intent.position for intent in stored] == [f"model:{n}" for n in (1, 2, 3, 4)]
    made.close()


def test_nothing_is_written_while_nothing_changes(pipeline: ArmedPipeline) -> None:
    """What is ready stays so: a block that moves nothing costs neither a signature nor a sync."""
    opens(pipeline)
    pipeline.follow()
    kept = pipeline.store.kept[META]
    for _ in range(3):
        pipeline.chain.mine()
        pipeline.follow()
        assert pipeline.store.kept[META] is kept


def test_what_left_for_a_block_that_was_never_taken_is_journalled_with_the_next(pipeline: ArmedPipeline) -> None:
    """Acted on as its head came, and replaced before it was read: sent once, and told of the block it was sent for."""
    lost = pipeline.chain.mine(opened=[1], at_most=0)
    assert pipeline.answer()
    assert not pipeline.answer()
    assert of(pipeline, 1) == []
    pipeline.arm()  # too early: what left is in memory alone
    assert pipeline.store.kept[META] != ""
    pipeline.chain.reorg(1, requeue=True)
    pipeline.chain.mine(opened=[1], at_most=0)
    pipeline.follow()
    [intent] = of(pipeline, 1)
    assert (intent.judged_number, intent.judged_hash) == (lost.number, lost.hash)
    assert pipeline.chain.submitted.count(intent.attempts[0].tx_hash) == 1
    pipeline.chain.mine()
    pipeline.follow()
    assert of(pipeline, 1)[0].status is IntentStatus.INCLUDED


def test_who_dies_after_acting_on_a_head_finds_what_left(pipeline: ArmedPipeline) -> None:
    pipeline.chain.mine(opened=[1], at_most=0)
    assert pipeline.answer()
    pipeline.restart()
    pipeline.chain.mine()
    pipeline.follow()
    [intent] = of(pipeline, 1)
    assert intent.status is IntentStatus.INCLUDED


def test_a_gap_is_skipped_with_what_left_before_it(pipeline: ArmedPipeline) -> None:
    """Whoever stores a block without having observed it stores what was sent as well."""
    pipeline.chain.mine(opened=[1], at_most=0)
    assert pipeline.answer()
    with pipeline.store.transaction() as transaction:
        pipeline.executor.firing.fired(transaction)
    [intent] = of(pipeline, 1)
    assert (intent.status, pipeline.store.kept[META]) == (IntentStatus.PLANNED, "")


def test_what_changes_between_the_question_and_its_answer_counts(pipeline: ArmedPipeline) -> None:
    """What is looked at beforehand is looked at again where the journal is another one since."""
    block = pipeline.chain.mine(opened=[1, 2])
    pipeline.executor.firing.survey(block)
    first, second, *_ = load(pipeline.store.kept[META], SIGNER.address)
    pipeline.executor._journal.record([first])  # its cause, and its nonce, are taken now
    before = len(pipeline.chain.submitted)
    assert pipeline.answer()
    assert pipeline.chain.submitted[before:] == [second.attempts[0].tx_hash]

"""What a channel asks to be said on chain: when it is sent, for how much, and what its asker hears."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from keeper.core.errors import NoticeDelayed, NoticeObsolete, RpcRefused, RpcUnavailable
from keeper.core.ports import Store
from keeper.core.records import Attempt, Intent, IntentStatus, Notice, NoticeEvent
from keeper.core.types import Block, BlockRef, Posting, TxCall
from keeper.executor import postings as module
from keeper.executor.fees import Fees
from keeper.executor.journal import Journal
from keeper.executor.ports import Mode, Settings
from keeper.executor.postings import Postings
from keeper.notifier.board import ALREADY_POSTED
from keeper.store import open_store
from tests.support.notices import notice

FEES = Fees(max_fee_wei=10, tip_wei=1)
GAS = 400_000
MOST = GAS * FEES.max_fee_wei
"""What one posting may cost."""

SETTINGS = Settings(chain_id=1, mode=Mode.LIVE, liquidates=False, posts_per_hour=3, post_spend_wei_per_day=10 * MOST)


def refused(reason: str) -> RpcRefused:
    """A revert with a reason, as nodes give it."""
    text = reason.encode()
    data = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(64, b"\0")
    return RpcRefused("execution reverted", 3, data)


@dataclass
class Node:
    """Answers every question in the same way."""

    answer: Any = "0x"
    asked: list[Any] = field(default_factory=list)

    async def batch(self, requests: Sequence[Any]) -> Sequence[Any]:
        self.asked += requests
        return [self.answer for _ in requests]


@dataclass
class Desk:
    store: Store
    node: Node
    journal: Journal
    postings: Postings
    now: float = 1_000_000.0
    made: int = 0

    def tell(self, told: Notice, channel: str = "board") -> Posting:
        """A notice in the outbox, as the posting that its channel asks for."""
        with self.store.transaction() as tx:
            tx.add_notice(told, (channel,), self.now)
            tx.claim(told.id, channel)
        cause = f"notice:{channel}:{told.id}"
        return Posting(cause, TxCall(b"\xbb" * 20, b"data"), GAS, told.position, told.account, ALREADY_POSTED)

    def blocks(self, *hashes: bytes) -> None:
        """The chain as it is: headers from number 1 on."""
        headers = [Block(BlockRef(number, one), b"", 0) for number, one in enumerate(hashes, 1)]
        self.journal.load(headers, 0, self.now)

    def intent(self, posting: Posting, status: IntentStatus, **more: Any) -> Intent:
        """Of a posting, in the journal."""
        self.made += 1
        attempt = Attempt(
            bytes([self.made]) * 32, f"i{self.made}", self.made, b"", 10, 1, GAS, "act", "signed", self.now
        )
        made = Intent(
            f"i{self.made}", "notice", posting.cause, "", posting.position, posting.account, status, 1, b"", self.now,
            self.now, {}, attempts=(attempt,),
        )  # fmt: skip
        made = replace(made, **more)
        self.journal.record([made])
        return made

    async def asking(self, posting: Posting) -> asyncio.Task[None]:
        """Somebody who waits for it."""
        task = asyncio.create_task(self.postings.post(posting))
        for _ in range(5):
            await asyncio.sleep(0)
        return task


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        journal, node = Journal(store), Node()
        desk = Desk(store, node, journal, Postings(store, journal, node, b"\x01" * 20, SETTINGS, lambda: desk.now))
        desk.postings.adopt()
        for number in (1, 2):
            desk.postings.begin(number)
        yield desk


async def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_a_posting_is_simulated_then_sent_with_the_next_block_and_done_when_confirmed(desk: Desk) -> None:
    posting = desk.tell(notice(1))
    task = await desk.asking(posting)
    ((method, (call, at)),) = desk.node.asked
    assert (method, call["gas"], at) == ("eth_call", hex(GAS), "latest")
    (draft,) = desk.postings.due(FEES)
    assert (draft.kind, draft.cause, draft.gas_limit) == ("notice", posting.cause, GAS)
    made = desk.intent(posting, IntentStatus.BROADCAST)
    assert desk.postings.due(FEES) == []
    for status in (IntentStatus.INCLUDED, IntentStatus.CONFIRMED):
        assert not task.done()
        desk.journal.record([replace(made, status=status, included_number=3)])
        desk.postings.learned()
        for _ in range(5):
            await asyncio.sleep(0)
    await task


async def test_what_the_contract_has_already_is_done(desk: Desk) -> None:
    """By an earlier life of ours, or by another Keeper."""
    desk.node.answer = refused(ALREADY_POSTED)
    await desk.postings.post(desk.tell(notice(1)))
    assert desk.postings.due(FEES) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [(refused("not a poster"), "not a poster"), (RpcUnavailable("no endpoint answers"), "no endpoint")],
)
async def test_what_would_fail_is_not_sent_and_nobody_can_have_seen_it(desk: Desk, answer: Any, said: str) -> None:
    desk.node.answer = answer
    with pytest.raises(NoticeDelayed, match=said) as delayed:
        await desk.postings.post(desk.tell(notice(1)))
    assert not delayed.value.perhaps_seen
    assert desk.postings.due(FEES) == []


async def test_patience_ends_and_says_whether_anything_is_on_its_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is sent for somebody who no longer waits, and what was sent is found again by its cause."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    posting = desk.tell(notice(1))
    with pytest.raises(NoticeDelayed, match="waits for the next block") as delayed:
        await desk.postings.post(posting)
    assert not delayed.value.perhaps_seen
    assert desk.postings.due(FEES) == []
    desk.intent(posting, IntentStatus.BROADCAST)
    with pytest.raises(NoticeDelayed, match="not confirmed yet") as delayed:
        await desk.postings.post(posting)
    assert delayed.value.perhaps_seen


async def test_a_posting_that_failed_is_tried_anew_when_it_is_asked_for_again(desk: Desk) -> None:
    """Its asker hears why; the next asking simulates and sends once more."""
    posting = desk.tell(notice(1))
    task = await desk.asking(posting)
    made = desk.intent(posting, IntentStatus.BROADCAST)
    desk.journal.record([replace(made, status=IntentStatus.FAILED, included_number=3, reason="reverted: out of gas")])
    desk.postings.learned()
    with pytest.raises(NoticeDelayed, match="out of gas"):
        await task
    again = await desk.asking(posting)
    assert [draft.cause for draft in desk.postings.due(FEES)] == [posting.cause]
    await stop(again)


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_no_more_is_sent_in_an_hour_than_is_allowed(desk: Desk) -> None:
    tasks = [await desk.asking(desk.tell(notice(number, position=f"aave:{number}"))) for number in range(5)]
    assert len(desk.postings.due(FEES)) == 3
    for number in range(3):
        desk.intent(desk.tell(notice(number, position=f"aave:{number}")), IntentStatus.BROADCAST)
    assert desk.postings.due(FEES) == []
    desk.now += 3_601
    assert len(desk.postings.due(FEES)) == 2
    await stop(*tasks)


async def test_no_more_is_spent_in_a_day_than_is_allowed(desk: Desk) -> None:
    """What is about to be sent counts at its most, what is mined at what it cost; a restart remembers, for a day."""
    other = desk.tell(notice(7, position="aave:7"))
    desk.intent(other, IntentStatus.CONFIRMED, included_number=1, gas_cost_wei=9 * MOST, created_at=desk.now - 7_200)
    desk.postings.adopt()
    tasks = [await desk.asking(desk.tell(notice(number, position=f"aave:{number}"))) for number in range(2)]
    assert len(desk.postings.due(FEES)) == 1
    assert desk.postings.due(Fees(max_fee_wei=11, tip_wei=1)) == []
    assert desk.postings.due(None) == []
    desk.now += 80_000
    assert len(desk.postings.due(FEES)) == 2
    await stop(*tasks)


async def test_nothing_is_sent_that_the_wallet_cannot_pay_for(desk: Desk) -> None:
    """It would hold up all that comes after its nonce; what is on its way, and liquidations, come first."""
    tasks = [await desk.asking(desk.tell(notice(number, position=f"aave:{number}"))) for number in range(2)]
    said = desk.postings.due(FEES)
    assert len(desk.postings.payable(said, (), FEES, 2 * MOST)) == 2
    assert len(desk.postings.payable(said, (), FEES, 2 * MOST - 1)) == 1
    assert len(desk.postings.payable(said, said[:1], FEES, 2 * MOST)) == 1
    desk.intent(desk.tell(notice(9, position="aave:9")), IntentStatus.BROADCAST)
    assert len(desk.postings.payable(said, (), FEES, 2 * MOST)) == 1
    assert desk.postings.payable(said, (), FEES, None) == []
    assert desk.postings.payable(said, (), None, 2 * MOST) == []
    await stop(*tasks)


# --- truth ------------------------------------------------------------------------------------------------------------


async def test_after_a_reorg_the_first_block_waits_and_the_second_decides(desk: Desk) -> None:
    """Readers are told of the new branch between the two; until then nobody knows what is true."""
    true, untrue = notice(2, position="aave:kept"), notice(2, position="aave:lost")
    kept, lost = desk.tell(replace(true, id="kept")), desk.tell(replace(untrue, id="lost"))
    waiting = [desk.intent(posting, IntentStatus.REORGED) for posting in (kept, lost)]
    desk.blocks(b"a" * 32, b"another branch".ljust(32))
    desk.postings.reverted()
    desk.postings.begin(12)
    assert {one.wanted for one in desk.postings.judge(waiting).values()} == {None}
    withdrawn = notice(3, position="aave:lost", event=NoticeEvent.WITHDRAWN)
    with desk.store.transaction() as tx:
        tx.add_notice(withdrawn, ("board",), desk.now)
    desk.postings.begin(13)
    judged = desk.postings.judge(waiting)
    assert [judged[one.id].wanted for one in waiting] == [True, False]
    assert judged[waiting[1].id].reason == "a reorg took away its reason"


async def test_what_stands_in_a_block_of_the_chain_is_true_whatever_came_after(desk: Desk) -> None:
    """A call that was cured since is posted all the same, before its cure: both happened."""
    told = notice(2)
    posting = desk.tell(told)
    waiting = desk.intent(posting, IntentStatus.REORGED)
    desk.blocks(b"a" * 32, told.block_hash)
    with desk.store.transaction() as tx:
        tx.add_notice(notice(3, event=NoticeEvent.CURED), ("board",), desk.now)
    assert desk.postings.judge([waiting])[waiting.id].wanted is True


async def test_what_became_untrue_before_it_was_sent_is_never_sent(desk: Desk) -> None:
    """Its asker is told that it is obsolete."""
    posting = desk.tell(notice(2))
    task = await desk.asking(posting)
    desk.blocks(b"a" * 32, b"another branch".ljust(32))
    with desk.store.transaction() as tx:
        tx.add_notice(notice(3, event=NoticeEvent.WITHDRAWN), ("board",), desk.now)
    desk.postings.reverted()
    desk.postings.begin(12)
    assert desk.postings.due(FEES) == []
    desk.postings.begin(13)
    assert desk.postings.due(FEES) == []
    desk.postings.learned()
    with pytest.raises(NoticeObsolete, match="a reorg took away its reason"):
        await task


async def test_a_posting_whose_nonce_was_freed_is_obsolete(desk: Desk) -> None:
    posting = desk.tell(notice(2))
    task = await desk.asking(posting)
    made = desk.intent(posting, IntentStatus.BROADCAST)
    cancel = replace(made.attempts[0], tx_hash=b"c" * 32, purpose="cancel")
    desk.journal.record(
        [
            replace(
                made,
                status=IntentStatus.ABANDONED,
                included_number=3,
                reason="given up",
                attempts=(*made.attempts, cancel),
            )
        ]
    )
    desk.postings.learned()
    with pytest.raises(NoticeObsolete, match="given up"):
        await task

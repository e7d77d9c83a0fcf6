"""The pipeline over random histories: reorgs, crashes and missed heads leave no trace but the notices already sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keeper.core.errors import StoreError
from keeper.core.ports import Store
from keeper.core.records import DeliveryStatus, NoticeEvent
from keeper.core.types import Band, Block, Book, Liquidated, Update
from keeper.evaluator.bands import BandRules
from keeper.evaluator.directory import Directory
from keeper.evaluator.episode_json import load_episode
from keeper.evaluator.episodes import EpisodeStatus
from keeper.evaluator.judge import Judge
from keeper.executor.executor import Executor
from keeper.executor.ports import Settings
from keeper.executor.submitters.public import PublicMempool
from keeper.indexer.follow import steps_to
from keeper.notifier.routing import Route, Router
from keeper.pipeline import Pipeline
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from keeper.telling import Teller
from keeper.track import Track
from tests.support.linear_market import Holdings, Market, asset, prices_of
from tests.support.toy_chain import ToyNode, ToyProtocol

WAD = 10**18
RULES = BandRules(125 * WAD // 100, 110 * WAD // 100, 103 * WAD // 100, 2 * WAD // 100, 125 * WAD // 100)
ACCOUNTS = [bytes([n]) * 20 for n in (1, 2, 3)]
EVERYBODY = (Route(channel="everybody"),)
BEGINNINGS = (Route(channel="phone", events=frozenset({NoticeEvent.OPENED, NoticeEvent.ESCALATED})),)


class NoNode:
    """The executor is off: it asks nothing and sends nothing."""

    async def batch(self, requests: Any) -> Any:
        raise AssertionError(f"asked {requests}")

    async def submit_many(self, raws: Any) -> Any:
        raise AssertionError("sent a transaction")


class Daemon:
    """A store, a pipeline and a reader, following a toy node."""

    def __init__(self, store: Store, node: ToyNode, at_once: int, routes: Sequence[Route]) -> None:
        self.store = store
        self.at_once = at_once
        self.routes = routes
        self.node = node
        self.believed: dict[str, str] = {}
        self.heard: list[tuple[str, str]] = []
        self.pipeline = self._start()

    def _start(self) -> Pipeline:
        judge: Judge[Market, Holdings] = Judge(ToyProtocol(), RULES, acts=False)
        track = Track(judge.adapter, Book(), judge, Teller(judge, Router.of(self.routes), Directory(checksummed)))
        executor = Executor(self.store, NoNode(), PublicMempool(NoNode()), Settings(chain_id=1), lambda: 0.0)
        pipeline = Pipeline(
            self.node,
            self.store,
            [track],
            executor,
            finality=1_000,
            clock=lambda: 0.0,
            wake=lambda: None,
            at_once=self.at_once,
        )
        pipeline.load()
        return pipeline

    def begin(self, first: Block) -> None:
        self.pipeline.skip_to(first, [Update(Market(), prices_of(20 * WAD, WAD), {})], present=True)

    async def follow(self) -> None:
        for step in await steps_to(self.pipeline.window, self.node.head.block, self.node):
            await self.pipeline.apply(step)

    def tell_all(self) -> None:
        for _ in range(1_000):
            if not self.pipeline.has_more_to_tell:
                return
            self.pipeline.tell_more()
        raise AssertionError("telling does not come to an end")

    def restart(self) -> None:
        """As after SIGKILL: only the store remains."""
        self.pipeline = self._start()

    def deliver_all(self) -> None:
        while self.store.outbox(0.0):
            self.deliver(1_000)

    def deliver(self, most: int) -> None:
        for delivery in self.store.outbox(0.0, most):
            notice = delivery.notice
            with self.store.transaction() as tx:
                assert tx.claim(notice.id, delivery.channel)
                tx.settle(notice.id, delivery.channel, DeliveryStatus.SENT, at=0.0)
            self.heard.append((notice.position, notice.event.value))
            if notice.event.closes:
                believed = self.believed.pop(notice.position, None)
                about_a_loss = NoticeEvent.LIQUIDATED in (notice.event, self.last_word(notice.position, before=1))
                assert believed is not None or about_a_loss, "something was closed that nobody believed open"
            else:
                self.believed[notice.position] = notice.band

    def arrive_all(self) -> None:
        """What waits arrives, whoever reads it."""
        while waiting := self.store.outbox(0.0):
            with self.store.transaction() as tx:
                for delivery in waiting:
                    tx.settle(delivery.notice.id, delivery.channel, DeliveryStatus.SENT, at=0.0)

    def last_word(self, position: str, before: int = 0) -> str | None:
        """What was last heard of a position; before: so many words earlier."""
        words = [event for of, event in self.heard if of == position]
        return words[-1 - before] if len(words) > before else None

    def words(self) -> list[str]:
        return [event for _, event in self.heard]

    def believed_open(self) -> set[str]:
        return {position for position, one in self.store.told().items() if not one.event.closes}

    def facts(self) -> dict[str, Any]:
        episodes = [load_episode(payload) for _, payload in self.store.facts("toy", "episode")]
        return {
            "cursor": self.store.cursor(),
            "positions": dict(self.store.facts("toy", "position")),
            "prices": self.store.fact("toy", "prices", b""),
            "episodes": {one.id: one for one in episodes if one.status.value != "withdrawn"},
        }


@contextmanager
def daemon(node: ToyNode, at_once: int = 50, routes: Sequence[Route] = EVERYBODY) -> Iterator[Daemon]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield Daemon(store, node, at_once, routes)


prices = st.integers(10, 30).map(lambda dollars: dollars * WAD)
amounts = st.tuples(st.integers(0, 3).map(lambda n: n * WAD), st.integers(0, 40).map(lambda n: n * WAD))
blocks = st.tuples(
    st.just("mine"),
    prices,
    st.dictionaries(st.sampled_from(ACCOUNTS), amounts, max_size=2),
    st.lists(st.sampled_from(ACCOUNTS), max_size=1),
)
moves = st.lists(
    st.one_of(
        blocks,
        blocks,
        st.tuples(st.just("follow")),
        st.tuples(st.just("follow")),
        st.tuples(st.just("reorg"), st.integers(1, 5)),
        st.tuples(st.just("deliver"), st.integers(1, 3)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("tell")),
    ),
    max_size=30,
)


@pytest.mark.parametrize(("at_once", "routes"), [(50, EVERYBODY), (1, EVERYBODY), (1, BEGINNINGS)])
@settings(max_examples=60)
@example(  # liquidated and open again in one block: told in pieces, the loss was told after the new call, for ever
    history=[
        ("mine", 10 * WAD, {ACCOUNTS[0]: (0, 0), ACCOUNTS[1]: (WAD, 16 * WAD)}, [ACCOUNTS[1]]),
        ("mine", 21 * WAD, {ACCOUNTS[2]: (0, WAD)}, []),
        ("mine", 20 * WAD, {}, []),
        ("follow",),
    ]
)
@given(history=moves)
async def test_any_history_ends_as_if_only_the_canonical_chain_had_been(
    at_once: int, routes: Sequence[Route], history: list[tuple[Any, ...]]
) -> None:
    """Facts and episodes equal a fresh daemon's on the final chain; what readers believe equals what is true, and the
    last word of nobody is a loss that never was. Also where only one thing is told at a time: what was demanded is then
    as of the telling, and everything else, the prices of each mark included, as of its block. And where nobody wants to
    hear of endings: what counts as told is true all the same."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(ACCOUNTS, (WAD, 10 * WAD)))
    with daemon(node, at_once, routes) as one:
        one.begin(node.canonical[0].block)
        for move, *rest in [*history, ("mine", 20 * WAD, {}, []), ("follow",)]:
            if move == "mine":
                price, positions, liquidated = rest
                node.mine(price=price, positions=positions, liquidated=[a for a in liquidated if a in positions])
            elif move == "reorg":
                node.drop(rest[0])
                node.mine()
            elif move == "deliver":
                one.deliver(rest[0])
            elif move == "restart":
                one.restart()
            elif move == "tell":
                one.pipeline.tell_more()
            else:
                await one.follow()
        one.tell_all()
        one.deliver_all()
        with daemon(node) as fresh:
            fresh.begin(node.canonical[0].block)
            for mined in node.canonical[1:]:
                for step in await steps_to(fresh.pipeline.window, mined.block, node):
                    await fresh.pipeline.apply(step)
            assert undemanding(one.facts()) == undemanding(fresh.facts())
            assert at_once == 1 or one.facts() == fresh.facts()
        episodes = one.facts()["episodes"].values()
        present = {episode.position for episode in episodes if episode.is_open}
        assert one.believed_open() == present
        assert routes is not EVERYBODY or set(one.believed) == present
        assert set(one.believed) >= present
        lost = {episode.position for episode in episodes if episode.status is EpisodeStatus.LIQUIDATED}
        assert {position for position, _ in one.heard if one.last_word(position) == "liquidated"} <= lost


def undemanding(facts: dict[str, Any]) -> dict[str, Any]:
    episodes = {id_: replace(one, demands=(), breach_prices=()) for id_, one in facts["episodes"].items()}
    return {**facts, "episodes": episodes}


async def test_many_calls_of_one_block_are_told_in_pieces_the_deepest_first() -> None:
    """The block itself tells a few, so the next one need not wait; the rest follows between blocks, each with a record
    of the prices at which it was opened, also where a crash came in between."""
    node = ToyNode()
    owners = [bytes([n]) * 20 for n in range(1, 13)]
    node.mine(positions=dict.fromkeys(owners, (WAD, 8 * WAD)))
    with daemon(node, at_once=5) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(
            price=16 * WAD, positions={owner: (WAD, (12 if n < 10 else 13) * WAD) for n, owner in enumerate(owners)}
        )
        await one.follow()
        first = [delivery.notice.position for delivery in one.store.outbox(0.0)]
        assert len(first) == 5
        assert {f"toy:0x{owner.hex()}" for owner in owners[10:]} <= set(first)
        one.restart()
        node.mine(price=15 * WAD)
        await one.follow()
        one.tell_all()
        assert len(one.store.outbox(0.0)) == 12
        opened = [episode.opened for episode in one.facts()["episodes"].values()]
        assert {dict(mark.prices)[asset(0)].value for mark in opened} == {16 * WAD}


async def test_a_reorg_that_removes_the_reason_is_told_once_as_withdrawn() -> None:
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        node.drop(1)
        node.mine()
        node.mine()
        await one.follow()
        node.mine()
        await one.follow()
        one.deliver_all()
        assert [event for _, event in one.heard] == ["opened", "withdrawn"]


async def test_a_notice_of_an_orphaned_block_that_nobody_heard_is_never_sent() -> None:
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        node.drop(1)
        node.mine()
        await one.follow()
        one.deliver_all()
        assert one.heard == []


async def test_blocks_between_two_heads_are_told_as_the_present_only() -> None:
    """A price that fell and recovered between two heads is no news; a liquidation in between is."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(ACCOUNTS[:2], (WAD, 12 * WAD)))
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        node.mine(price=20 * WAD)
        await one.follow()
        one.deliver_all()
        assert one.heard == []
        node.mine(price=16 * WAD)
        await one.follow()
        node.mine(positions={ACCOUNTS[0]: (WAD // 2, 6 * WAD)}, liquidated=[ACCOUNTS[0]])
        node.mine()
        await one.follow()
        one.deliver_all()
        first = f"toy:0x{ACCOUNTS[0].hex()}"
        assert [event for position, event in one.heard if position == first] == ["opened", "liquidated", "opened"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("who", range(1, 5))
async def test_a_loss_is_told_although_the_next_call_was_cured_before_anybody_heard(who: int, restart: bool) -> None:
    """Whatever the hashes that calls are stored by, and whether or not the daemon was killed while it caught up."""
    account, node = bytes([who]) * 20, ToyNode()
    node.mine(positions={account: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        node.mine(positions={account: (WAD // 2, 4 * WAD)}, liquidated=[account])
        node.mine(price=10 * WAD)
        node.mine(price=30 * WAD)
        node.mine()
        for step in list(await steps_to(one.pipeline.window, node.head.block, node))[:-1]:
            await one.pipeline.apply(step)
        if restart:
            one.restart()
        await one.follow()
        one.deliver_all()
        assert one.words() == ["opened", "liquidated"]


@pytest.mark.parametrize("restart", [False, True])
async def test_two_liquidations_in_an_outage_are_both_told(restart: bool) -> None:
    """Each with what was taken by it, once."""
    account, node = ACCOUNTS[0], ToyNode()
    node.mine(positions={account: (WAD, 12 * WAD)})
    with daemon(node, at_once=1) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        first = node.mine(positions={account: (WAD // 2, 5 * WAD)}, liquidated=[account])
        node.mine(price=12 * WAD)
        second = node.mine(positions={account: (WAD // 4, WAD)}, liquidated=[account])
        node.mine()
        for step in list(await steps_to(one.pipeline.window, node.head.block, node))[:-1]:
            await one.pipeline.apply(step)
        if restart:
            one.restart()
        await one.follow()
        one.tell_all()
        one.restart()
        node.mine()
        await one.follow()
        one.deliver_all()
        assert one.words() == ["opened", "liquidated", "liquidated"]
        told = [delivery.notice.body["losses"] for delivery in one.store.deliveries()][1:]
        blocks = [[loss["block_number"] for loss in losses] for losses in told]
        assert blocks == [[first.block.number], [second.block.number]]


async def test_a_loss_in_a_gap_is_told_but_one_from_before_our_time_is_not() -> None:
    """Whoever was down while a price fell must hear what was lost meanwhile; history is no news."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(ACCOUNTS[:2], (WAD, 8 * WAD)))
    old, recent = (
        Liquidated(account, account, b"\x0b" * 20, b"\x01", WAD, b"\x00", WAD, b"\x0c" * 32, 0)
        for account in ACCOUNTS[:2]
    )
    with daemon(node) as one:
        holdings = dict(node.head.state.positions)
        held = {account: Holdings({0: owned}, {1: owed}) for account, (owned, owed) in holdings.items()}
        first: Update[Market, Holdings] = Update(Market(), prices_of(20 * WAD, WAD), {**held})
        one.pipeline.skip_to(node.head.block, [replace(first, liquidations=(old,))], present=True)
        one.deliver_all()
        assert one.heard == []
        for _ in range(3):
            node.mine()
        one.pipeline.skip_to(node.head.block, [replace(first, liquidations=(recent,))], present=True)
        one.deliver_all()
        assert one.heard == [(f"toy:0x{ACCOUNTS[1].hex()}", "liquidated")]


async def test_a_failing_store_leaves_memory_as_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a block is nowhere: after the failure the same block goes through as if nothing had happened."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD, positions={ACCOUNTS[1]: (WAD, WAD)})
        real = one.store.transaction

        @contextmanager
        def full() -> Iterator[Any]:
            with real() as tx:
                yield tx
                raise StoreError("disk full")

        monkeypatch.setattr(one.store, "transaction", full)
        with pytest.raises(StoreError):
            await one.follow()
        monkeypatch.setattr(one.store, "transaction", real)
        assert ACCOUNTS[1] not in one.pipeline.tracks[0].book.positions
        await one.follow()
        one.deliver_all()
        assert [event for _, event in one.heard] == ["opened"]


async def test_a_chain_that_returns_to_a_branch_it_had_left_is_told_again() -> None:
    """Opened on one branch, withdrawn on the other, and back: the second opening is no repetition of the first."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        fell = node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        node.drop(1)
        node.mine()
        await one.follow()
        one.deliver_all()
        node.drop(1)
        node.canonical.append(fell)
        await one.follow()
        one.deliver_all()
        assert [event for _, event in one.heard] == ["opened", "withdrawn", "opened"]


async def test_a_call_says_where_the_health_came_from_also_after_a_restart() -> None:
    """Judged from what the store keeps of earlier blocks: the position, its debt and the price as they were then."""
    told = []
    for restart in (False, True):
        node = ToyNode()
        node.mine(positions={ACCOUNTS[0]: (WAD, 10 * WAD)})
        with daemon(node) as one:
            first = Update(Market(), prices_of(20 * WAD, WAD), {ACCOUNTS[0]: Holdings({0: WAD}, {1: 10 * WAD})})
            one.pipeline.skip_to(node.canonical[0].block, [first], present=True)
            await one.follow()
            node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
            await one.follow()
            if restart:
                one.restart()
            node.mine(price=16 * WAD)
            await one.follow()
            (delivery,) = one.store.outbox(0.0)
            told.append(delivery.notice)
    assert told[0] == told[1]
    assert told[0].body["health_wad"][:3] == "106"
    earlier = told[0].body["earlier"]
    assert (earlier["health_wad"][:3], earlier["timestamp"]) == ("159", node.canonical[0].block.timestamp)
    assert "falling, from 1.59" in told[0].text


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("end", ["cured", "liquidated"])
async def test_how_a_call_ended_is_told_again_where_that_did_not_arrive(end: str, restart: bool) -> None:
    """A channel that was given up, or refused it: readers still believe in the call. It was no reorg that ended it, so
    nothing is withdrawn, and what is on record of it stays, the loss included."""
    account, node = ACCOUNTS[0], ToyNode()
    node.mine(positions={account: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        if end == "cured":
            node.mine(price=20 * WAD)
        else:
            node.mine(positions={account: (WAD // 2, 2 * WAD)}, liquidated=[account])
        await one.follow()
        on_record = one.facts()["episodes"]
        for number in range(2):
            (closing,) = one.store.outbox(0.0)
            assert (closing.notice.event.value, closing.notice.body["losses"] == []) == (end, end == "cured")
            with one.store.transaction() as tx:
                tx.settle(closing.notice.id, closing.channel, DeliveryStatus.DEAD, at=0.0, error="refused")
            if restart:
                one.restart()
            somebody = bytes([50 + number]) * 20
            node.mine(positions={somebody: (WAD, 15 * WAD if end == "cured" else 12 * WAD)})
            await one.follow()
            (call,) = [delivery for delivery in one.store.outbox(0.0) if delivery.notice.account == somebody]
            with one.store.transaction() as tx:
                tx.settle(call.notice.id, call.channel, DeliveryStatus.SENT, at=0.0)
        one.deliver_all()
        assert one.words() == ["opened", end]
        assert {id_: one.facts()["episodes"][id_] for id_ in on_record} == on_record


async def test_how_a_call_ended_is_told_once_the_position_can_be_judged_again() -> None:
    """It was liquidated in a block that was caught up with, and at the tip its price is not usable."""
    account, node = ACCOUNTS[0], ToyNode()
    node.mine(positions={account: (WAD, 12 * WAD)})
    with daemon(node) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        node.mine(positions={account: (WAD // 2, 2 * WAD)}, liquidated=[account])
        node.mine(price=0)
        await one.follow()
        one.deliver_all()
        assert one.words() == ["opened"]
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        assert one.words() == ["opened", "liquidated"]
        assert {episode.status for episode in one.facts()["episodes"].values()} == {EpisodeStatus.LIQUIDATED}


# --- what no channel wants --------------------------------------------------------------------------------------------

MINE, STRANGERS = b"\xee" * 20, [b"\x01" + bytes([n]) * 19 for n in range(60)]


async def test_calls_that_no_channel_wants_stand_before_none_that_one_wants() -> None:
    """Sixty strangers' calls are deeper than the one of the account that a channel is for."""
    node = ToyNode()
    node.mine(positions={**dict.fromkeys(STRANGERS, (WAD, 17 * WAD)), MINE: (WAD, 10 * WAD)})
    with daemon(node, at_once=5, routes=[Route(channel="mine", accounts=frozenset({MINE}))]) as one:
        one.begin(node.canonical[0].block)
        for price in (20, 13, 12):
            node.mine(price=price * WAD)
            await one.follow()
            one.tell_all()
        told = [(one.notice.account, one.notice.event.value, one.notice.band) for one in one.store.deliveries()]
        assert told == [(MINE, "opened", "call"), (MINE, "escalated", "liquidatable")]


async def test_what_nobody_wants_to_hear_is_not_told_again_and_again() -> None:
    """Without a channel, as where one only liquidates, telling ends with the block, writes no notice, and the record of
    each call has its prices all the same."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(STRANGERS, (WAD, 17 * WAD)))
    with daemon(node, at_once=5, routes=[]) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        one.tell_all()
        for _ in range(2):
            node.mine()
            await one.follow()
            assert not one.pipeline.has_more_to_tell
        assert dict(one.store.told()) == {}
        opened = [episode.opened for episode in one.facts()["episodes"].values()]
        assert {dict(mark.prices)[asset(0)].value for mark in opened} == {20 * WAD}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("wanted", "dollars", "heard"),
    [
        # health is 0.8/12 of the price: called at 16, cured at 20, urgent at 15.4, open to liquidation at 14
        ("opened escalated liquidated", [16, 20, 16, 20, 16], ["opened", "opened", "opened"]),
        ("opened cured", [16, 15.4, 20, 16, 14], ["opened", "cured", "opened"]),
        ("escalated liquidated", [16, 15.4, 14, 20, 16, 15.4], ["escalated", "escalated", "escalated"]),
        ("escalated liquidated", [15.4, 16, 14], ["escalated"]),
        ("cured", [16, 20, 16, 20], []),
    ],
)
async def test_who_hears_only_some_events_hears_these_of_every_call(
    restart: bool, wanted: str, dollars: list[float], heard: list[str]
) -> None:
    """An end that nobody wants to hear ends the call all the same: the next one is an opening. An opening that nobody
    wants is no reason not to tell that the call went deeper."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node, routes=[Route(channel="phone", events=frozenset(map(NoticeEvent, wanted.split())))]) as one:
        one.begin(node.canonical[0].block)
        for price in (20, *dollars):
            node.mine(price=int(price * 10) * WAD // 10)
            await one.follow()
            one.deliver_all()
            if restart:
                one.restart()
        assert one.words() == heard
        assert {delivery.channel for delivery in one.store.deliveries()} <= {"phone"}


async def test_the_first_that_is_heard_of_a_call_is_an_opening_however_deep_it_is() -> None:
    """A channel for urgent calls only, and one for escalations beside it."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    only = frozenset({NoticeEvent.ESCALATED})
    with daemon(node, routes=[Route(channel="pager", min_band=Band.URGENT), Route(channel="log", events=only)]) as one:
        one.begin(node.canonical[0].block)
        for price in (200, 160, 154, 140):
            node.mine(price=price * WAD // 10)
            await one.follow()
        assert [(one.channel, one.notice.event.value, one.notice.band) for one in one.store.deliveries()] == [
            ("pager", "opened", "urgent"),
            ("log", "escalated", "urgent"),
            ("pager", "escalated", "liquidatable"),
            ("log", "escalated", "liquidatable"),
        ]


async def test_an_end_that_nobody_wanted_to_hear_goes_with_its_block() -> None:
    """Cured in a block that a reorg removes, the call goes on: it is not opened a second time, and its deepening is
    told under the id that is known."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    with daemon(node, routes=BEGINNINGS) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        node.mine(price=20 * WAD)
        await one.follow()
        assert one.believed_open() == set()
        node.drop(1)
        node.mine(price=16 * WAD)
        await one.follow()
        assert len(one.believed_open()) == 1
        node.mine(price=154 * WAD // 10)
        await one.follow()
        one.deliver_all()
        assert one.words() == ["opened", "escalated"]
        assert len({delivery.notice.episode for delivery in one.store.deliveries()}) == 1


# --- a channel that is new --------------------------------------------------------------------------------------------


async def test_a_channel_that_is_new_hears_of_the_calls_that_are_open_and_of_their_end() -> None:
    """Once, as they are now; those that were there before hear nothing twice. Also where a reorg removed the block in
    which that was to be told."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(ACCOUNTS, (WAD, 12 * WAD)))
    chat, phone = Route(channel="chat"), Route(channel="phone", accounts=frozenset(ACCOUNTS[:2]))
    with daemon(node, at_once=1, routes=[chat]) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.tell_all()
        one.arrive_all()
        one.routes = [chat, phone]
        one.restart()
        for _ in range(2):
            node.mine(price=159 * WAD // 10)
            await one.follow()
            one.tell_all()
            node.drop(1)
            node.mine(price=158 * WAD // 10)
            await one.follow()
            one.tell_all()
            one.arrive_all()
            one.restart()
        node.mine(price=20 * WAD)
        await one.follow()
        one.tell_all()
        one.arrive_all()
        sent = [one for one in one.store.deliveries() if one.status is DeliveryStatus.SENT and one.channel == "phone"]
        assert sorted((one.notice.account, one.notice.event.value) for one in sent) == sorted(
            (account, event) for account in ACCOUNTS[:2] for event in ("opened", "cured")
        )
        assert {one.notice.body["health_wad"][:4] for one in sent if one.notice.event is NoticeEvent.OPENED} == {"1050"}
        calls = [delivery.notice for delivery in one.store.deliveries() if delivery.notice.event is NoticeEvent.OPENED]
        assert len({notice.episode for notice in calls}) == len(ACCOUNTS)
        assert Counter(delivery.channel for delivery in one.store.deliveries() if delivery.error is None) == {
            "chat": 6,
            "phone": 4,
        }


async def test_a_new_channel_that_escalates_hears_only_what_is_told_from_then_on() -> None:
    """What the other one told before may have been acknowledged. Where both are new, both are told."""
    node = ToyNode()
    node.mine(positions={ACCOUNTS[0]: (WAD, 12 * WAD)})
    chat, pager = Route(channel="chat"), Route(channel="pager", escalates="chat")
    with daemon(node, routes=[Route(channel="console")]) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.deliver_all()
        for routes in ([chat], [chat, pager], [chat, pager, replace(pager, channel="boss", escalates="pager")]):
            one.routes = routes
            one.restart()
            node.mine()
            await one.follow()
        assert [delivery.channel for delivery in one.store.deliveries()] == ["console", "chat"]
        one.routes = [replace(chat, channel="team"), replace(pager, channel="night", escalates="team")]
        one.restart()
        node.mine()
        await one.follow()
        assert [delivery.channel for delivery in one.store.deliveries()] == ["console", "chat", "team", "night"]


async def test_an_end_is_for_nobody_where_none_of_the_channels_heard_of_the_call() -> None:
    """The one that did is no longer there, and the one that is wants no openings: its rules would drop each end, which
    then would be due again, before everything else. Those calls are over."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(ACCOUNTS, (WAD, 12 * WAD)))
    ends = Route(channel="ends", events=frozenset({NoticeEvent.CURED}))
    with daemon(node, at_once=1, routes=[Route(channel="gone"), ends]) as one:
        one.begin(node.canonical[0].block)
        await one.follow()
        node.mine(price=16 * WAD)
        await one.follow()
        one.tell_all()
        one.arrive_all()
        one.routes = [ends]
        one.restart()
        node.mine(price=20 * WAD)
        await one.follow()
        one.tell_all()
        assert one.believed_open() == set()
        assert {(delivery.channel, delivery.notice.event.value) for delivery in one.store.deliveries()} == {
            ("gone", "opened")
        }

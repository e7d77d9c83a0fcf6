"""Watching by samples over random histories: whatever happens between two looks, what owners were told ends true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.ports import Reads, Store
from keeper.core.records import DeliveryStatus
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Liquidated, LogFilter
from keeper.evaluator.directory import Directory
from keeper.evaluator.episode_json import load_episode
from keeper.evaluator.judge import Judge
from keeper.executor.executor import Executor
from keeper.executor.ports import Settings
from keeper.executor.submitters.public import PublicMempool
from keeper.indexer.rpc.client import RpcClient
from keeper.notifier.routing import Route, Router
from keeper.pipeline import Pipeline
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from keeper.telling import Teller
from keeper.track import Track
from keeper.watch.desk import Desk
from keeper.watch.eyes import Eyes
from keeper.watch.watcher import Watcher
from tests.support.linear_market import Market
from tests.support.toy_chain import LIQUIDATED, ToyNode, ToyProtocol
from tests.unit.test_pipeline import RULES, NoNode

WAD = 10**18
OWNERS = [bytes([n]) * 20 for n in (1, 2)]


class WatchableToy(ToyProtocol):
    """Its native view is its raw state, so that every look is verified as with a real protocol."""

    def renew(self, market: Market) -> Reads[Market]:
        yield [Call(b"\x70" * 20, b"prices")]
        return market

    def positions_of(self, market: Market, account: bytes) -> Reads[Sequence[bytes]]:
        yield from ()
        return [account]

    def liquidation_filter(self, market: Market) -> LogFilter:
        return LogFilter(frozenset({b"\x70" * 20}), frozenset({LIQUIDATED}))


class ToyRpc:
    """The node as a watch asks it. final: so many blocks below the head."""

    def __init__(self, node: ToyNode, final: int) -> None:
        self.node = node
        self.final = final
        self.requests = 0
        self.announced = 0

    def reorg(self, depth: int) -> None:
        """Another branch, never from below what was said to be final."""
        self.node.drop(min(depth, self.node.head.block.number - self.announced))
        self.node.mine()

    async def block_by_number(self, number: int | str) -> Block | None:
        canonical = self.node.canonical
        if number == "latest":
            return canonical[-1].block
        if number == "finalized":
            said = canonical[max(0, len(canonical) - 1 - self.final)].block
            self.announced = max(self.announced, said.number)
            return said
        return await self.node.block_by_number(number)

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        return await self.node.block_by_hash(block_hash)

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        return await self.node.call_many(calls, block)


class ToyEyes(Eyes):
    async def liquidations(self, name: str, first: int, last: int) -> list[Liquidated]:
        node, adapter = cast(ToyRpc, self._rpc).node, self.adapters[name]
        logs = [log for mined in node.canonical if first <= mined.block.number <= last for log in mined.logs]
        return list(adapter.liquidations(self.sights[name].market, logs))


class Watch:
    """A store per owner and their readers."""

    def __init__(self, stores: Sequence[Store], node: ToyNode) -> None:
        self.stores = stores
        self.rpc = ToyRpc(node, final=8)
        self.heard: dict[str, list[str]] = {}
        self.restart()

    def restart(self) -> None:
        """As after SIGKILL: only the stores remain."""
        self.desks = [
            Desk(owner, store, self._pipeline(owner, store)) for owner, store in zip(OWNERS, self.stores, strict=True)
        ]
        rpc = cast(RpcClient, self.rpc)
        self.watcher = Watcher(rpc, ToyEyes(rpc, [WatchableToy()]), self.desks, "finalized")

    def _pipeline(self, owner: bytes, store: Store) -> Pipeline:
        judge: Judge[Any, Any] = Judge(WatchableToy(), RULES, [owner], acts=False)
        router = Router.of([Route(channel="everybody")])
        track = Track(judge.adapter, Book(), judge, Teller(judge, router, Directory(checksummed)))
        executor = Executor(store, NoNode(), PublicMempool(NoNode()), Settings(chain_id=1), lambda: 0.0)
        return Pipeline(
            self.rpc.node,
            store,
            [track],
            executor,
            finality="finalized",
            clock=lambda: 0.0,
            wake=lambda: None,
            samples=True,
        )

    def deliver(self, most: int = 1_000) -> None:
        for store in self.stores:
            for delivery in store.outbox(0.0, most):
                notice = delivery.notice
                with store.transaction() as tx:
                    assert tx.claim(notice.id, delivery.channel)
                    tx.settle(notice.id, delivery.channel, DeliveryStatus.SENT, at=0.0)
                self.heard.setdefault(notice.position, []).append(notice.event.value)

    def deliver_all(self) -> None:
        while any(store.outbox(0.0) for store in self.stores):
            self.deliver()

    def open_calls(self) -> set[str]:
        episodes = [load_episode(payload) for store in self.stores for _, _, payload, _ in store.episodes("toy")]
        return {episode.position for episode in episodes if episode.is_open}


@contextmanager
def watch(node: ToyNode) -> Iterator[Watch]:
    with closing(open_store("sqlite://", chain_id=1)) as one, closing(open_store("sqlite://", chain_id=1)) as other:
        yield Watch([one, other], node)


prices = st.integers(10, 30).map(lambda dollars: dollars * WAD)
amounts = st.tuples(st.integers(0, 3).map(lambda n: n * WAD), st.integers(0, 40).map(lambda n: n * WAD))
mining = st.tuples(
    st.just("mine"),
    prices,
    st.dictionaries(st.sampled_from(OWNERS), amounts, max_size=2),
    st.lists(st.sampled_from(OWNERS), max_size=1),
)
moves = st.lists(
    st.one_of(
        mining,
        mining,
        mining,
        st.tuples(st.just("look")),
        st.tuples(st.just("look")),
        st.tuples(st.just("reorg"), st.integers(1, 6)),
        st.tuples(st.just("deliver"), st.integers(1, 3)),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(history=moves)
async def test_what_owners_were_told_is_in_order_and_ends_true(history: list[tuple[Any, ...]]) -> None:
    """Reorgs, restarts and undelivered notices in between: every opening is closed once, and only what is open at the
    end was not closed; the book at the end is the chain's."""
    node = ToyNode()
    node.mine(positions=dict.fromkeys(OWNERS, (WAD, 10 * WAD)))
    with watch(node) as one:
        await one.watcher.look()
        for move, *rest in [*history, *[("mine", 20 * WAD, {}, [])] * 9, ("look",)]:
            if move == "mine":
                price, positions, liquidated = rest
                node.mine(price=price, positions=positions, liquidated=[a for a in liquidated if a in positions])
            elif move == "reorg":
                one.rpc.reorg(rest[0])
            elif move == "deliver":
                one.deliver(rest[0])
            elif move == "restart":
                one.restart()
            else:
                await one.watcher.look()
        one.deliver_all()
        believed = set()
        for position, events in one.heard.items():
            is_open = False
            for before, event in zip(["", *events], events, strict=False):
                about_a_loss = not is_open and "liquidated" in (before, event)
                assert (event == "opened") is not is_open or about_a_loss, events
                is_open = event in ("opened", "escalated")
            believed |= {position} if is_open else set()
        assert believed == one.open_calls()
        for desk in one.desks:
            held = desk.track("toy").book.positions.get(desk.account)
            collateral, debt = node.head.state.positions[desk.account]
            expected = (collateral, debt) if collateral or debt else None
            assert (None if held is None else (held.collateral.get(0, 0), held.debt.get(1, 0))) == expected


async def test_a_call_whose_block_was_orphaned_between_two_looks_is_withdrawn_once() -> None:
    node = ToyNode()
    node.mine(positions={OWNERS[0]: (WAD, 12 * WAD)})
    with watch(node) as one:
        await one.watcher.look()
        node.mine(price=16 * WAD)
        await one.watcher.look()
        one.deliver_all()
        node.drop(1)
        for _ in range(3):
            node.mine()
            await one.watcher.look()
        one.deliver_all()
        assert list(one.heard.values()) == [["opened", "withdrawn"]]


async def test_a_call_that_was_withdrawn_and_came_again_is_closed_once_it_is_cured() -> None:
    """What is still to be written of the withdrawn one does not take the place of the other."""
    node = ToyNode()
    node.mine(positions={OWNERS[0]: (WAD, 10 * WAD)})
    with watch(node) as one:
        await one.watcher.look()
        node.mine(price=10 * WAD)
        await one.watcher.look()
        one.deliver_all()
        one.rpc.reorg(1)
        await one.watcher.look()
        one.restart()
        for price in (10 * WAD, 20 * WAD):
            node.mine(price=price)
            await one.watcher.look()
        one.deliver_all()
        assert list(one.heard.values()) == [["opened", "withdrawn", "opened", "cured"]]
        assert one.open_calls() == set()


async def test_a_node_that_lags_is_no_reorg_until_it_stays_behind() -> None:
    """Free nodes are many behind one address, and not all at the same height."""
    node = ToyNode()
    node.mine(positions={OWNERS[0]: (WAD, 12 * WAD)})
    node.mine()
    node.mine(price=16 * WAD)
    with watch(node) as one:
        await one.watcher.look()
        ahead = node.canonical.pop()
        for _ in range(2):
            await one.watcher.look()
        assert one.open_calls()
        node.canonical.append(ahead)
        node.mine()
        await one.watcher.look()
        one.deliver_all()
        assert list(one.heard.values()) == [["opened"]]
        del node.canonical[-2:]  # for good
        for _ in range(3):
            await one.watcher.look()
        one.deliver_all()
        assert list(one.heard.values()) == [["opened", "withdrawn"]]


async def test_a_liquidation_between_two_looks_is_told_as_one() -> None:
    node = ToyNode()
    node.mine(positions={OWNERS[0]: (WAD, 12 * WAD)})
    with watch(node) as one:
        await one.watcher.look()
        node.mine(price=16 * WAD)
        await one.watcher.look()
        node.mine(positions={OWNERS[0]: (WAD // 2, WAD)}, liquidated=[OWNERS[0]])
        node.mine()
        await one.watcher.look()
        one.deliver_all()
        assert list(one.heard.values()) == [["opened", "liquidated"]]

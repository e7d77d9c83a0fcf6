"""Protocols that join, leave and come back: what is stored of each is as of the block that it was followed to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keeper.core.records import DeliveryStatus
from keeper.core.types import Block, Book
from keeper.daemon.catching_up import CatchUp
from keeper.evaluator.directory import Directory
from keeper.evaluator.judge import Judge
from keeper.executor.executor import Executor
from keeper.executor.ports import Settings
from keeper.executor.submitters.public import PublicMempool
from keeper.indexer.follow import steps_to
from keeper.notifier.routing import Route, Router
from keeper.patience import Patience
from keeper.pipeline import Pipeline
from keeper.protocols.addresses import checksummed
from keeper.pulse import HeadTally
from keeper.store import SqlStore
from keeper.store.salvage import forget_chain
from keeper.telling import Teller
from keeper.track import Track
from tests.support.toy_chain import ToyNode, ToyProtocol
from tests.unit.test_pipeline import RULES, NoNode

WAD = 10**18
ALICE, BOB, CAROL = (bytes([n]) * 20 for n in (0x0A, 0x0B, 0x0C))
CALM, URGENT = (WAD, 10 * WAD), (WAD, 19 * WAD)
BOTH = ("aave", "morpho")
FINALITY = 3


class Killed(BaseException):
    """As SIGKILL: nothing of the process is left, and all that was committed."""


class Node(ToyNode):
    """Remembers which blocks were scanned."""

    def __init__(self) -> None:
        super().__init__()
        self.scanned: list[tuple[int, int]] = []

    async def hold_against_others(self, head: Block, lead: int) -> None: ...

    def _logs(self, where: Any) -> list[dict[str, Any]]:
        self.scanned.append((int(where["fromBlock"], 16), int(where["toBlock"], 16)))
        return super()._logs(where)


class Daemon:
    """A store, and whatever of it is configured, arriving at a toy node's head as the daemon does."""

    def __init__(self, store: SqlStore, node: Node, names: Sequence[str] = BOTH) -> None:
        self.store, self.node = store, node
        self.start(names)

    def start(self, names: Sequence[str]) -> None:
        tracks = []
        for name in names:
            judge: Judge[Any, Any] = Judge(ToyProtocol(name), RULES, acts=False)
            teller = Teller(judge, Router.of([Route(channel="everybody")]), Directory(checksummed))
            tracks.append(Track(judge.adapter, Book(), judge, teller))
        executor = Executor(self.store, NoNode(), PublicMempool(NoNode()), Settings(chain_id=1), lambda: 0.0)
        self.pipeline = Pipeline(
            self.node, self.store, tracks, executor, finality=FINALITY, clock=lambda: 0.0, wake=lambda: None
        )
        protocols = [SimpleNamespace(settings={"start_block": 100}) for _ in names]
        config: Any = SimpleNamespace(chain=SimpleNamespace(finality=FINALITY), protocols=protocols)
        self.catch_up = CatchUp(
            config,
            cast("Any", self.node),
            cast("Any", None),
            self.store,
            self.pipeline,
            lambda _: None,
            Patience(asyncio.Event()),
            HeadTally(),
            None,
        )
        self.pipeline.load()

    async def arrive(self, *, far: bool = False) -> None:
        """far: over a gap that is scanned."""
        head = self.node.head.block
        if far or not len(self.pipeline.window) or self.pipeline.newcomers:
            await self.catch_up(head)
        for step in await steps_to(self.pipeline.window, head, self.node):
            await self.pipeline.apply(step)

    def held(self) -> dict[str, dict[bytes, tuple[int, int]]]:
        return {
            track.name: {key: (one.collateral[0], one.debt[1]) for key, one in track.book.positions.items()}
            for track in self.pipeline.tracks
        }

    def told(self) -> list[tuple[str, str]]:
        """Delivers, and says of which protocol and what."""
        heard = []
        while due := self.store.outbox(0.0):
            for delivery in due:
                with self.store.transaction() as tx:
                    assert tx.claim(delivery.notice.id, delivery.channel)
                    tx.settle(delivery.notice.id, delivery.channel, DeliveryStatus.SENT, at=0.0)
                heard.append((delivery.notice.protocol, delivery.notice.event.value))
        return heard


@pytest.fixture
def daemon(store: SqlStore) -> Daemon:
    node = Node()
    node.mine(positions={ALICE: CALM, CAROL: CALM})
    for _ in range(FINALITY):
        node.mine()
    return Daemon(store, node)


def both(positions: dict[bytes, tuple[int, int]]) -> dict[str, dict[bytes, tuple[int, int]]]:
    return dict.fromkeys(BOTH, positions)


async def leave(daemon: Daemon) -> None:
    """Both are followed; then morpho is not configured while Alice borrows more and Bob opens a position."""
    await daemon.arrive()
    daemon.start(["aave"])
    await miss(daemon)


async def miss(daemon: Daemon) -> None:
    daemon.node.mine(positions={ALICE: URGENT, BOB: URGENT})
    for _ in range(2 * FINALITY):
        daemon.node.mine()
    await daemon.arrive()


@pytest.mark.parametrize("far", [False, True])
async def test_a_protocol_that_is_put_back_has_what_it_missed(daemon: Daemon, far: bool) -> None:
    """Scanned from the block it was followed to, whether the others have a gap of their own to scan or none. What was
    not touched meanwhile is taken from the book as it was."""
    await leave(daemon)
    left_at = 104
    daemon.start(BOTH)
    assert [track.name for track in daemon.pipeline.newcomers] == ["morpho"]
    assert daemon.held()["morpho"] == {}, "what is held is of the tip, and this is not"
    for _ in range(2 * FINALITY if far else 1):
        daemon.node.mine()
    daemon.node.scanned.clear()
    await daemon.arrive(far=far)
    assert daemon.held() == both({ALICE: URGENT, BOB: URGENT, CAROL: CALM})
    assert min(daemon.node.scanned)[0] == left_at + 1
    assert {protocol for protocol, _ in daemon.told()} == set(BOTH)
    daemon.start(BOTH)
    assert daemon.pipeline.newcomers == []


async def test_what_happened_while_it_was_away_is_told_as_what_it_was(daemon: Daemon) -> None:
    """A position that was called for margin, and liquidated while nobody looked, was liquidated; not repaid."""
    daemon.node.mine(positions={ALICE: URGENT})
    for _ in range(FINALITY):
        daemon.node.mine()
    await daemon.arrive()
    await daemon.arrive(far=True)
    daemon.node.mine()
    await daemon.arrive()
    assert sorted(daemon.told()) == [("aave", "opened"), ("morpho", "opened")]
    daemon.start(["aave"])
    daemon.node.mine(positions={ALICE: (0, 0)}, liquidated=[ALICE])
    for _ in range(2 * FINALITY):
        daemon.node.mine()
    await daemon.arrive()
    assert daemon.told() == [("aave", "liquidated")]
    daemon.start(BOTH)
    daemon.node.mine()
    await daemon.arrive()
    assert daemon.told() == [("morpho", "liquidated")]


async def test_a_reorg_below_the_block_where_it_left_is_scanned_again(daemon: Daemon) -> None:
    await daemon.arrive()
    for _ in range(2):
        daemon.node.mine()
    await daemon.arrive()
    daemon.start(["aave"])
    daemon.node.mine()
    await daemon.arrive()
    left_at = daemon.store.scanned_to("morpho")
    assert left_at == 106
    daemon.node.drop(2)
    await miss(daemon)
    assert daemon.store.scanned_to("morpho") == 105
    daemon.start(BOTH)
    await daemon.arrive()
    assert daemon.held()["morpho"] == {ALICE: URGENT, BOB: URGENT, CAROL: CALM}


@pytest.mark.parametrize("commits", [1, 2, 3])
async def test_a_kill_between_any_two_commits_loses_nothing_of_it(daemon: Daemon, commits: int) -> None:
    """Leaving is written down with the first block without it, and coming back with what was found: also where no life
    of the daemon is longer than a few commits."""
    lives, stages = (
        0,
        (
            (BOTH, (), 0),
            (["aave"], (ALICE,), 2 * FINALITY),
            (BOTH, (CAROL,), 0),  # morpho has missed what aave has not
            (["morpho"], (BOB,), 2 * FINALITY),
            (BOTH, (), 2 * FINALITY),  # and both have missed something
        ),
    )
    with killed_after(daemon.store, commits) as begin:
        for names, touched, further in stages:
            if touched:
                daemon.node.mine(positions=dict.fromkeys(touched, URGENT))
            for _ in range(further):
                daemon.node.mine()
            for _ in range(100):
                lives += 1
                begin()
                try:
                    daemon.start(names)
                    await daemon.arrive()
                    break
                except Killed:
                    continue
            assert daemon.store.cursor() == daemon.node.head.block.ref
    assert daemon.held() == both(dict.fromkeys((ALICE, BOB, CAROL), URGENT))
    assert lives > len(stages)


@contextmanager
def killed_after(store: SqlStore, commits: int) -> Iterator[Callable[[], None]]:
    """Gives what begins a life; once so many transactions were committed in it, the next one is its end."""
    left, transaction = 0, store.transaction

    def begin() -> None:
        nonlocal left
        left = commits

    def mortal() -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return transaction()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "transaction", mortal)
        yield begin


async def test_a_store_that_never_said_who_is_followed_is_not_indexed_anew(daemon: Daemon) -> None:
    """As those of earlier versions: what they hold a market of was followed. From the next block on it is said."""
    await daemon.arrive()
    daemon.store.database.driver.cursor().execute("DELETE FROM meta WHERE key = 'followed'")
    daemon.start(BOTH)
    assert daemon.pipeline.newcomers == []
    daemon.node.mine()
    await daemon.arrive()
    assert daemon.store.meta("followed") == '["aave", "morpho"]'
    daemon.start([*BOTH, "third"])
    assert [track.name for track in daemon.pipeline.newcomers] == ["third"]


async def test_after_a_repair_everybody_is_indexed_anew(daemon: Daemon) -> None:
    """Also who was away then: nothing is left of what it was followed to."""
    await leave(daemon)
    forget_chain(daemon.store)
    daemon.start(["aave"])
    await daemon.arrive()
    daemon.start(BOTH)
    daemon.node.scanned.clear()
    await daemon.arrive()
    assert daemon.held() == both({ALICE: URGENT, BOB: URGENT, CAROL: CALM})
    assert min(daemon.node.scanned)[0] == 0

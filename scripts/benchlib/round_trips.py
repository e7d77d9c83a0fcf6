"""Messages to the node per block, counted where they leave, in the shipped pipeline on the real Aave.

Reading a block is counted apart from simulating and submitting what follows from it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

from keeper.config.load import load_config
from keeper.core.errors import KeeperError
from keeper.core.ports import Store
from keeper.core.records import Intent
from keeper.core.types import Block
from keeper.daemon import Daemon
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.indexer.follow import steps_to
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.mux import Exchange, Replies, Then
from keeper.indexer.rpc.transport import DuplexTransport, Transport
from keeper.indexer.rpc.wire import Request
from keeper.pipeline import Pipeline
from keeper.wire import House

from .row import Row, counted

_PURPOSES = {"eth_simulateV1": "simulate", "eth_sendRawTransaction": "submit"}
_GIFT = 10**15  # raw units of a supply token, enough to make an account known
_GIFTS_AT_ONCE = 50
FOUR = ("aave_v3", "morpho_blue", "venus", "perp_v2")


class Messages:
    """What leaves to the node, by purpose, and how often somebody waits for an answer before more of it leaves."""

    def __init__(self, rpc: RpcClient) -> None:
        self.sent: Counter[str] = Counter()
        self.round_trips = 0
        self._answered = 0
        for endpoint in rpc.endpoints:
            self._count(endpoint)

    def begin(self) -> None:
        """Forget what was counted so far."""
        self.sent.clear()
        self.round_trips = self._answered = 0

    def _count(self, endpoint: Endpoint) -> None:
        send, send_now = endpoint.send, endpoint.send_now

        async def counting(transport: Transport, requests: Sequence[Request], timeout_s: float) -> Replies:
            turn = self._answered + 1
            self.sent[_PURPOSES.get(requests[0][0], "read")] += 1
            self.round_trips = max(self.round_trips, turn)
            replies = await send(transport, requests, timeout_s)
            self._answered = max(self._answered, turn)
            return replies

        def counting_now(transport: DuplexTransport, requests: Sequence[Request], then: Then) -> Exchange:
            turn = self._answered + 1
            self.sent[_PURPOSES.get(requests[0][0], "read")] += 1
            self.round_trips = max(self.round_trips, turn)

            def answered(replies: Replies | KeeperError) -> None:
                self._answered = max(self._answered, turn)
                then(replies)

            return send_now(transport, requests, answered)

        endpoint.__dict__.update(send=counting, send_now=counting_now)


class Follower:
    """The shipped pipeline at the tip of a chain."""

    def __init__(self, chain: DevChain, rpc: RpcClient, store: Store, pipeline: Pipeline) -> None:
        self.chain = chain
        self._rpc = rpc
        self.store = store
        self._pipeline = pipeline
        self.messages = Messages(rpc)

    @property
    def positions(self) -> int:
        return sum(len(track.book.positions) for track in self._pipeline.tracks)

    async def take(self) -> Counter[str]:
        """Follow the chain to its tip, and count the messages of the last block by purpose: read, simulate, submit."""
        head = await self._head()
        for step in await steps_to(self._pipeline.window, head, self._rpc):
            self.messages.begin()
            await self._pipeline.apply(step)
        return Counter(self.messages.sent)

    def intents(self) -> Sequence[Intent]:
        return self.store.intents()

    async def arm(self) -> None:
        """As the daemon does between blocks."""
        await self._pipeline.arm()

    async def _head(self) -> Block:
        head = await self._rpc.block_by_number("latest")
        if head is None:
            raise RuntimeError("the chain has no latest block")
        return head


@asynccontextmanager
async def following(chain: DevChain, folder: Path, protocols: Sequence[str] = ("aave_v3",)) -> AsyncIterator[Follower]:
    """Live from the present tip of the chain. Needs KEEPER_PRIVATE_KEY in the environment."""
    config = write_config(folder / "keeper.toml", chain, mode="live", notifiers=[], protocols=protocols)
    house = House(config, load_config(config))
    rpc = await house.connect()
    try:
        with closing(house.open_store()) as store:
            pipeline = house.pipeline(rpc, store, (), lambda: None)
            await Daemon(house, rpc, store, pipeline, lambda _: None).index(chain.block_number)
            yield Follower(chain, rpc, store, pipeline)
            await pipeline.close()
    finally:
        await rpc.close()


class Crowd:
    """Accounts that hold a supply token, given by one rich supplier, many in a block."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain
        self._giver = chain.accounts[0]
        chain.aave.supply(self._giver, "WETH", Decimal(1_000))

    def touch(self, first: int, count: int) -> None:
        """One block in which accounts number `first` and on receive a gift; they need never have been seen before."""
        with self._chain.one_block():
            for number in range(first, first + count):
                self._chain.aave.transfer_a_token(self._giver, f"0x{0xACC0 << 140 | number:040x}", "WETH", _GIFT)

    def grow(self, count: int) -> None:
        for first in range(0, count, _GIFTS_AT_ONCE):
            self.touch(first, min(_GIFTS_AT_ONCE, count - first))


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, DevChain.start(manual_mining=True) as chain:
        os.environ["KEEPER_PRIVATE_KEY"] = chain.liquidator.private_key
        chain.fund_liquidator()
        crowd = Crowd(chain)
        rows = []
        async with following(chain, Path(folder)) as follower:
            for accounts, touches in ((10, (1, 10)), (500, (1, 50))):
                crowd.grow(accounts)
                await follower.take()
                chain.mine()
                rows.append(await _reading(follower, f"a block that touches none of {accounts} accounts", 1))
                for touched in touches:
                    crowd.touch(0, touched)
                    rows.append(await _reading(follower, f"a block that touches {touched} of {accounts} accounts", 2))
            rows.append(await _acting(follower))
            rows.append(await _answering(follower))
        return [*rows, *await four_protocols(Path(folder) / "four", chain)]


async def four_protocols(folder: Path, chain: DevChain) -> list[Row]:
    """Every protocol at once, with somebody in each."""
    aave, morpho, venus, perp = chain.aave, chain.morpho, chain.venus, chain.perp
    who, few = chain.accounts[2], Decimal(1)

    def everywhere() -> None:
        aave.supply(who, "WETH", few)
        morpho.supply_collateral(who, few)
        venus.supply(who, "WETH", few)
        perp.deposit(who, few)

    everywhere()  # approved, and known to all, before it is measured
    async with following(chain, folder, FOUR) as follower:
        await follower.take()
        chain.mine()
        none = await _reading(follower, f"a block that touches none of {len(FOUR)} protocols", 1)
        with chain.one_block():
            everywhere()
        return [none, await _reading(follower, f"a block that touches each of {len(FOUR)} protocols", 2)]


async def _reading(follower: Follower, what: str, target: int) -> Row:
    return counted(f"round trips to read {what}", (await follower.take())["read"], target)


async def _acting(follower: Follower) -> Row:
    """A price falls and one position is liquidated."""
    chain = follower.chain
    owner = chain.accounts[1]
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    await follower.take()
    chain.set_price("WETH", Decimal(1_700))
    sent = await follower.take()
    if not sent["submit"]:
        raise RuntimeError("nothing was sent although a position can be liquidated")
    chain.mine()
    await follower.take()
    remark = f"{sent['read']} to read, {sent['simulate']} to simulate, {sent['submit']} to submit"
    return counted("round trips of a block with a liquidation, from head to accepted", sent.total(), 3, remark)


async def _answering(follower: Follower) -> Row:
    """The same of a position whose transaction was ready."""
    chain = follower.chain
    chain.set_price("WETH", Decimal(2_000))
    owner = chain.accounts[2]
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    await follower.take()
    await follower.arm()
    chain.set_price("WETH", Decimal(1_700))
    sent = await follower.take()
    if not sent["submit"]:
        raise RuntimeError("nothing was sent although a transaction was ready")
    remark = f"{sent['read']} to read, {sent['submit']} to submit"
    return counted("round trips of a block that opens a position whose transaction is ready", sent.total(), 2, remark)

"""The whole house liquidating on the real Aave: sized, simulated, approved, sent, mined and accounted for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from eth_abi.abi import decode
from structlog.testing import capture_logs

from keeper.config.load import load_config
from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.daemon import Daemon
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.indexer.follow import steps_to
from keeper.indexer.rpc.client import RpcClient
from keeper.pipeline import Pipeline
from keeper.wire import House

LIQUIDATION_CALL = "0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        yield chain


class Running:
    """A daemon's insides, block by block."""

    def __init__(self, chain: DevChain, rpc: RpcClient, store: Store, pipeline: Pipeline) -> None:
        self.chain = chain
        self.rpc = rpc
        self.store = store
        self.pipeline = pipeline

    async def follow(self) -> None:
        head = await self.rpc.block_by_number("latest")
        assert head is not None
        for step in await steps_to(self.pipeline.window, head, self.rpc):
            await self.pipeline.apply(step)

    async def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.chain.mine()
            await self.follow()

    def liquidations(self) -> list[Intent]:
        return [intent for intent in self.store.intents() if intent.kind == "liquidation"]


@asynccontextmanager
async def running(
    chain: DevChain, path: Path, monkeypatch: pytest.MonkeyPatch, **executor: str
) -> AsyncIterator[Running]:
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
    mode = executor.pop("mode", "live")
    file = write_config(path / "keeper.toml", chain, mode=mode, notifiers=(), executor={"max_pending": 64, **executor})
    house = House(file, load_config(file))
    store, rpc = house.open_store(), await house.connect()
    pipeline = house.pipeline(rpc, store, [], lambda: None)
    try:
        await Daemon(house, rpc, store, pipeline, lambda step: None).index(chain.block_number)
        yield Running(chain, rpc, store, pipeline)
    finally:
        await pipeline.close()
        await rpc.close()
        store.close()


def open_positions(chain: DevChain, count: int, debt: str = "USDC") -> list[str]:
    """Accounts with 10 WETH at $2,000 against $15,500 and a little more each: healthy until the price falls by 7 %."""
    accounts = [chain.make_account(number, Decimal(5)) for number in range(count)]
    with chain.one_block():
        for account in accounts:
            chain.aave.supply(account, "WETH", Decimal(10))
    with chain.one_block():
        for number, account in enumerate(accounts):
            chain.aave.borrow(account, debt, Decimal(15_500) + number)
    return accounts


def seen_liquidations(chain: DevChain) -> dict[bytes, tuple[int, int]]:
    """Repaid and seized by account, as the Pool's own events tell."""
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [LIQUIDATION_CALL]})
    events = {}
    for log in logs:
        repaid, seized, _, _ = decode(["uint256", "uint256", "address", "bool"], bytes.fromhex(log["data"][2:]))
        account = bytes.fromhex(log["topics"][3][-40:])
        assert account not in events
        events[account] = (repaid, seized)
    return events


async def test_fifty_accounts_that_fall_in_one_block_are_liquidated_in_the_next(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One approval and fifty liquidations with consecutive nonces, none twice; every amount is the event's, and what
    each brings is what was expected."""
    accounts = open_positions(chain, 50)
    chain.fund_liquidator(Decimal(5_000_000))
    chain.mine()
    before = chain.balance(chain.liquidator.address, "USDC"), chain.balance(chain.liquidator.address, "WETH")
    async with running(chain, tmp_path, monkeypatch) as keeper:
        chain.set_price("WETH", Decimal(1_780))
        await keeper.follow()
        waiting = keeper.store.intents()
        assert sorted(i.attempts[0].nonce for i in waiting) == list(range(51))
        assert [i.kind for i in sorted(waiting, key=lambda i: i.attempts[0].nonce)][:2] == ["approval", "liquidation"]
        chain.rpc("evm_setNextBlockTimestamp", max(i.plan["judged_at"] for i in keeper.liquidations()))
        await keeper.mine(4)
        intents = keeper.liquidations()
        assert {i.status for i in intents} == {IntentStatus.CONFIRMED}
        events = seen_liquidations(chain)
        assert set(events) == {bytes.fromhex(account[2:]) for account in accounts}
        assert {i.account: (i.repaid_assets, i.seized_assets) for i in intents} == events
        assert len({i.included_number for i in intents}) == 1
        paid = before[0] - chain.balance(chain.liquidator.address, "USDC")
        gained = chain.balance(chain.liquidator.address, "WETH") - before[1]
        assert paid == sum(repaid for repaid, _ in events.values())
        assert gained == sum(seized for _, seized in events.values())
        for intent in intents:  # at the planned second, and with the simulated gas: to the last unit
            assert intent.realized["statement"] == intent.plan["expected"]
            assert intent.profit_realized == intent.profit_expected == int(intent.plan["expected"]["profit"])


async def test_a_liquidation_lost_to_a_reorg_is_mined_again_and_counted_once(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_positions(chain, 2)
    chain.fund_liquidator()
    chain.mine()
    async with running(chain, tmp_path, monkeypatch) as keeper:
        chain.set_price("WETH", Decimal(1_780))
        await keeper.follow()
        await keeper.mine()
        assert {i.status for i in keeper.liquidations()} == {IntentStatus.INCLUDED}
        chain.reorg(1)
        assert seen_liquidations(chain) == {}
        await keeper.follow()
        assert {i.status for i in keeper.liquidations()} == {IntentStatus.BROADCAST}
        await keeper.mine(4)
        assert {i.status for i in keeper.liquidations()} == {IntentStatus.CONFIRMED}
        assert len(seen_liquidations(chain)) == 2
        trail = [entry.event for entry in keeper.store.audit(keeper.liquidations()[0].id)]
        assert [e for e in trail if e in set(IntentStatus)] == [
            "planned", "broadcast", "included", "reorged", "broadcast", "included", "confirmed",
        ]  # fmt: skip


async def test_a_price_that_a_reorg_takes_back_leaves_no_transaction_and_no_gap(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fall itself is orphaned: nobody is liquidatable any more, so ours are cancelled before they can fail."""
    open_positions(chain, 2)
    chain.fund_liquidator()
    chain.mine()
    async with running(chain, tmp_path, monkeypatch) as keeper:
        chain.set_price("WETH", Decimal(1_780))
        await keeper.follow()
        chain.reorg(1)
        await keeper.follow()
        await keeper.mine(4)
        assert {i.status for i in keeper.liquidations()} == {IntentStatus.ABANDONED}
        assert all("HealthFactorNotBelowThreshold" in str(i.reason) for i in keeper.liquidations())
        assert seen_liquidations(chain) == {}
        statuses = {i.kind: i.status for i in keeper.store.intents()}
        assert statuses["approval"] is IntentStatus.CONFIRMED
        chain.set_price("WETH", Decimal(1_780))
        await keeper.follow()
        await keeper.mine(4)
        assert len(seen_liquidations(chain)) == 2


async def test_interest_alone_tips_a_position_and_it_is_liquidated_in_the_block_where_it_does(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged for the next block's timestamp: at the present one the position is still healthy."""
    [account] = open_positions(chain, 1)
    chain.fund_liquidator()
    low, high = 1_800 * 10**8, 1_900 * 10**8  # feed units
    while high - low > 1:
        middle = (low + high) // 2
        chain.set_price("WETH", middle)
        low, high = (middle, high) if chain.aave.health(account) < 10**18 else (low, middle)
    chain.set_price("WETH", high + 200)
    async with running(chain, tmp_path, monkeypatch) as keeper:
        for _ in range(200):
            assert chain.aave.health(account) >= 10**18
            chain.warp(3_600)
            await keeper.follow()
            if keeper.liquidations():
                break
        assert chain.aave.health(account) >= 10**18
        chain.warp(3_600)
        await keeper.mine(4)
        assert [i.status for i in keeper.liquidations()] == [IntentStatus.CONFIRMED]


async def test_a_dry_run_simulates_and_sends_nothing(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_positions(chain, 2)
    chain.fund_liquidator()
    chain.mine()
    async with running(chain, tmp_path, monkeypatch, mode="dry_run") as keeper:
        chain.set_price("WETH", Decimal(1_780))
        with capture_logs() as logs:
            await keeper.follow()
            await keeper.mine(2)
        assert [entry["event"] for entry in logs].count("liquidation_simulated") == 2
        assert keeper.store.intents() == []
        assert chain.rpc("eth_getTransactionCount", chain.liquidator.address, "pending") == "0x0"

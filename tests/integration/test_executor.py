"""Our transactions on a real node: stuck, orphaned, swallowed, falsely refused, interrupted. Each is mined once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.errors import KeeperError, RpcRefused, RpcUnavailable
from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import LIQUIDATOR
from keeper.executor.executor import Executor
from keeper.executor.fees import next_base_fee
from keeper.executor.ports import Mode, RawSender, Settings
from keeper.executor.signer import LocalSigner
from keeper.executor.submitters.public import PublicMempool
from keeper.indexer.rpc.client import RpcClient
from keeper.store import open_store
from tests.support.gate import NATIVE, Follower, close_gates, install, is_open, open_gates

CHAIN_ID = 31337
SETTINGS = Settings(
    chain_id=CHAIN_ID,
    mode=Mode.LIVE,
    min_profit=Decimal(1),
    native_asset=NATIVE,
    confirmations=3,
    max_pending=64,
    replace_after_blocks=2,
)
SIGNER = LocalSigner(bytes.fromhex(LIQUIDATOR.private_key.removeprefix("0x")), chain_id=CHAIN_ID)


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    """Blocks are mined by hand."""
    with Anvil.start(no_mining=True) as anvil:
        install(anvil)
        anvil.mine(3)
        yield anvil


@asynccontextmanager
async def following(
    anvil: Anvil, path: Path, *, gates: Sequence[int] = range(1, 60), faults: Faults | None = None
) -> AsyncIterator[Follower]:
    rpc = await RpcClient.connect([anvil.ws_url], CHAIN_ID)
    store = open_store(f"sqlite:///{path / 'keeper.db'}", chain_id=CHAIN_ID)
    if faults is not None:
        faults.sender = PublicMempool(rpc)
    sender: RawSender = faults or PublicMempool(rpc)
    executor = Executor(store, rpc, sender, SETTINGS, time.time, signer=SIGNER)
    follower = Follower(anvil, rpc, store, executor, gates)
    try:
        await follower.start()
        yield follower
    finally:
        await executor.close()
        store.close()
        await rpc.close()


async def mined(follower: Follower, blocks: int = 1) -> None:
    """Blocks go by, each followed as it comes."""
    for _ in range(blocks):
        follower.anvil.mine()
        await follower.follow()


def liquidations(store: Store) -> list[Intent]:
    return [intent for intent in store.intents() if intent.kind == "liquidation"]


def nonce(anvil: Anvil) -> int:
    return int(anvil.rpc("eth_getTransactionCount", "0x" + SIGNER.address.hex(), "latest"), 16)


async def test_fifty_in_one_block_are_mined_in_the_next_with_consecutive_nonces(anvil: Anvil, tmp_path: Path) -> None:
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, *range(1, 51))
        await mined(follower)
        intents = liquidations(follower.store)
        assert [i.status for i in intents] == [IntentStatus.BROADCAST] * 50
        assert sorted(i.attempts[0].nonce for i in intents) == list(range(50))
        assert next(i.position for i in sorted(intents, key=lambda i: i.attempts[0].nonce)) == "gate:1"
        await mined(follower, 3)
        assert not any(is_open(anvil, gate) for gate in range(1, 51))
        assert nonce(anvil) == 50
        intents = liquidations(follower.store)
        assert {i.status for i in intents} == {IntentStatus.CONFIRMED}
        assert len({i.included_number for i in intents}) == 1
        assert all(i.gas_used and i.gas_cost_wei for i in intents)


async def test_the_next_base_fee_is_what_the_node_makes_it(anvil: Anvil, tmp_path: Path) -> None:
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, *range(1, 50))
        for _ in range(6):
            before = await follower.follow()
            anvil.mine()
            after = await follower.follow()
            assert before.base_fee_wei is not None
            assert after.base_fee_wei == next_base_fee(before.base_fee_wei, before.gas_used, before.gas_limit)


async def test_a_transaction_stuck_below_a_risen_base_fee_is_replaced_on_its_nonce(
    anvil: Anvil, tmp_path: Path
) -> None:
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 7)
        await mined(follower)
        [intent] = liquidations(follower.store)
        risen = intent.attempts[0].max_fee_wei * 3
        for _ in range(3):
            anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(risen))
            await mined(follower)
        [intent] = liquidations(follower.store)
        assert len(intent.attempts) == 2
        assert len({a.nonce for a in intent.attempts}) == 1
        assert intent.attempts[1].max_fee_wei >= risen
        await mined(follower, 3)
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.CONFIRMED
        assert intent.tx_hash == intent.attempts[1].tx_hash
        assert [a.status for a in intent.attempts] == ["lost", "included"]
        assert nonce(anvil) == 1


async def test_a_transaction_lost_to_a_reorg_is_sent_again_and_mined_once(anvil: Anvil, tmp_path: Path) -> None:
    """Anvil forgets transactions of orphaned blocks altogether; the journal has their bytes."""
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 1, 2)
        await mined(follower, 2)
        assert {i.status for i in liquidations(follower.store)} == {IntentStatus.INCLUDED}
        hashes = {i.tx_hash for i in liquidations(follower.store)}
        anvil.reorg(1)
        assert is_open(anvil, 1)
        await follower.follow()
        reorged = liquidations(follower.store)
        assert {i.status for i in reorged} == {IntentStatus.BROADCAST}
        assert {i.included_number for i in reorged} == {None}
        await mined(follower, 3)
        confirmed = liquidations(follower.store)
        assert {i.status for i in confirmed} == {IntentStatus.CONFIRMED}
        assert {i.tx_hash for i in confirmed} == hashes
        assert nonce(anvil) == 2


async def test_a_confirmed_transaction_orphaned_by_a_deep_reorg_is_sent_again(anvil: Anvil, tmp_path: Path) -> None:
    """Confirmed by depth is not final: until finality the journal still watches it."""
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 1)
        await mined(follower, 6)
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.CONFIRMED
        anvil.reorg(5)
        await follower.follow()
        assert is_open(anvil, 1)
        await mined(follower, 4)
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.CONFIRMED
        assert not is_open(anvil, 1)
        assert nonce(anvil) == 1


async def test_what_is_not_worth_it_after_a_reorg_is_cancelled_and_blocks_nothing(anvil: Anvil, tmp_path: Path) -> None:
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 1, 2)
        await mined(follower, 2)
        anvil.reorg(1)
        close_gates(anvil, 1)
        anvil.mine()
        await follower.follow()
        await mined(follower, 4)
        by_position = {i.position: i for i in liquidations(follower.store)}
        assert by_position["gate:1"].status is IntentStatus.ABANDONED
        assert by_position["gate:1"].attempts[-1].purpose == "cancel"
        assert "the gate is closed" in str(by_position["gate:1"].reason)
        assert by_position["gate:2"].status is IntentStatus.CONFIRMED
        assert nonce(anvil) == 2


async def test_a_competitor_who_was_first_costs_no_failed_transaction(anvil: Anvil, tmp_path: Path) -> None:
    """The position is gone before ours is mined: the nonce is freed by an empty transfer."""
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 1)
        await mined(follower)
        close_gates(anvil, 1)
        anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**12))
        await mined(follower)
        await mined(follower, 40)
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.ABANDONED
        assert intent.attempts[-1].status == "included"
        assert intent.attempts[-1].purpose == "cancel"


async def test_a_transaction_that_reverts_is_failed_with_the_protocols_reason(anvil: Anvil, tmp_path: Path) -> None:
    async with following(anvil, tmp_path) as follower:
        open_gates(anvil, 1)
        await mined(follower)
        close_gates(anvil, 1)
        await mined(follower, 2)
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.FAILED
        assert intent.reason == "reverted: the gate is closed"
        assert intent.attempts[0].status == "reverted"


class Faults:
    """A network between us and the node that swallows, errs and lies about one submission after another."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = list(outcomes)
        self.delivered = 0
        self.sender: RawSender | None = None

    async def submit_many(self, raws: Sequence[bytes]) -> Sequence[KeeperError | None]:
        return [await self._submit(raw) for raw in raws]

    async def _submit(self, raw: bytes) -> KeeperError | None:
        outcome = self.outcomes.pop(0) if self.outcomes else "honest"
        if outcome == "killed":
            raise RuntimeError("killed")
        if outcome == "swallowed":
            return None
        if outcome == "timed out":
            return RpcUnavailable("no answer in 10 s; it may have been accepted")
        assert self.sender is not None
        self.delivered += 1
        answer = (await self.sender.submit_many([raw]))[0]
        return RpcRefused("nonce too low", -32000) if outcome == "falsely refused" else answer


@pytest.mark.parametrize(
    ("outcomes", "delivered"),
    [(["swallowed"], 1), (["falsely refused"], 1), (["timed out"], 1), (["swallowed", "timed out", "swallowed"], 1)],
)
async def test_a_submission_that_lied_ends_with_one_mined_transaction(
    anvil: Anvil, tmp_path: Path, outcomes: list[str], delivered: int
) -> None:
    """Nothing is concluded from an answer: the chain is asked, and the same bytes go again if it has not seen them."""
    faults = Faults(*outcomes)
    async with following(anvil, tmp_path, faults=faults) as follower:
        open_gates(anvil, 1)
        await mined(follower, 6 + len(outcomes))
        [intent] = liquidations(follower.store)
        assert intent.status is IntentStatus.CONFIRMED
        assert len(intent.attempts) == 1
        assert faults.delivered == delivered
        assert nonce(anvil) == 1


async def test_a_daemon_that_died_between_journal_and_network_sends_the_same_bytes(
    anvil: Anvil, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        async with following(anvil, tmp_path, faults=Faults("killed")) as follower:
            open_gates(anvil, 1, 2)
            await mined(follower)
    assert int(anvil.rpc("txpool_status")["pending"], 16) == 0
    async with following(anvil, tmp_path) as follower:
        assert {i.status for i in liquidations(follower.store)} == {IntentStatus.PLANNED}
        planned = {i.attempts[0].tx_hash for i in liquidations(follower.store)}
        await mined(follower, 4)
        confirmed = liquidations(follower.store)
        assert {i.status for i in confirmed} == {IntentStatus.CONFIRMED}
        assert {i.tx_hash for i in confirmed} == planned
        assert nonce(anvil) == 2

"""Ways toward a block past the public mempool, against a relay that builds the blocks of a real node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.core.errors import ConfigError, KeeperError, RpcRefused, RpcUnavailable
from keeper.core.records import Intent, IntentStatus
from keeper.core.secret import Secret
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain
from keeper.executor.executor import Executor
from keeper.executor.ports import Route
from keeper.executor.submitters import bundle, mev_share, private, public, rpcs
from keeper.executor.submitters.everywhere import Everywhere
from keeper.executor.submitters.http import Endpoint, Identity
from keeper.executor.transaction import transaction_hash
from keeper.indexer.rpc.client import RpcClient
from keeper.store import open_store
from tests.integration.test_executor import CHAIN_ID, SETTINGS, SIGNER
from tests.support.daemon import deploy
from tests.support.gate import GATE, Follower, close_gates, install, is_open, open_gates
from tests.support.relay import Relay, open_relay
from tests.support.signing import allowing

GWEI = 10**9
NOWHERE = Secret("http://127.0.0.1:9")
Make = Callable[[RpcClient, Relay], Route]


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    """Blocks are mined by hand."""
    with Anvil.start(no_mining=True) as anvil:
        install(anvil)
        anvil.mine(3)
        yield anvil


@pytest.fixture
def relay(anvil: Anvil) -> Iterator[Relay]:
    with open_relay(anvil) as relay:
        yield relay


def bundles(node: RpcClient, relay: Relay, **options: Any) -> Route:
    config = {"name": "builder", "url": Secret(relay.url), "identity": None, "blocks": 1, "simulate": True, **options}
    return bundle.build(config, node, CHAIN_ID)


def privately(node: RpcClient, relay: Relay, **options: Any) -> Route:
    config = {"name": "relay", "url": Secret(relay.url), "identity": None, "blocks": 25, "fast": True, **options}
    return private.build(config, node, CHAIN_ID)


def shared(node: RpcClient, relay: Relay, **options: Any) -> Route:
    config = {"name": "share", "url": Secret(relay.url), "stream": Secret(relay.url), "identity": None, "blocks": 1}
    return mev_share.build({**config, "builders": ("flashbots",), **options}, node, CHAIN_ID)


@asynccontextmanager
async def connected(anvil: Anvil, relay: Relay, make: Make) -> AsyncIterator[Route]:
    node = await RpcClient.connect([anvil.ws_url], CHAIN_ID)
    route = make(node, relay)
    try:
        yield route
    finally:
        await route.close()
        await node.close()


@asynccontextmanager
async def following(anvil: Anvil, relay: Relay, path: Path, make: Make) -> AsyncIterator[Follower]:
    """The executor on the gates of a real node, sending by one route."""
    async with connected(anvil, relay, make) as route:
        rpc = await RpcClient.connect([anvil.ws_url], CHAIN_ID)
        store = open_store(f"sqlite:///{path / 'keeper.db'}", chain_id=CHAIN_ID)
        executor = Executor(store, rpc, route, SETTINGS, time.time, signer=SIGNER)
        follower = Follower(anvil, rpc, store, executor, range(1, 20))
        try:
            await follower.start()
            yield follower
        finally:
            await executor.close()
            store.close()
            await rpc.close()


def signed(nonce: int, gate: int, *, max_fee_wei: int = 100 * GWEI) -> bytes:
    call = TxCall(GATE, gate.to_bytes(32, "big"))
    transaction = UnsignedTransaction(CHAIN_ID, nonce, GWEI, max_fee_wei, 100_000, call)
    return SIGNER.sign(transaction, allowing(transaction))


def pending(anvil: Anvil) -> int:
    return int(anvil.rpc("eth_getBlockTransactionCountByNumber", "pending"), 16)


def intents(follower: Follower) -> list[Intent]:
    return [intent for intent in follower.store.intents() if intent.kind == "liquidation"]


# --- who calls --------------------------------------------------------------------------------------------------------


async def test_a_request_is_signed_by_the_identity_that_is_configured(relay: Relay) -> None:
    """The relay recovers it by another implementation; well-known key, well-known address."""
    identity = Identity(Secret("0x" + f"{1:064x}"))
    endpoint = Endpoint("relay", Secret(relay.url), identity)
    await endpoint.call("eth_sendPrivateTransaction", [{"tx": "0x" + signed(0, 1).hex(), "maxBlockNumber": "0x9"}])
    await endpoint.close()
    assert relay.signers == {identity.address} == {"0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"}


async def test_a_request_that_nobody_signed_is_refused(relay: Relay) -> None:
    endpoint = Endpoint("relay", Secret(relay.url))
    with pytest.raises(RpcRefused, match="X-Flashbots-Signature"):
        await endpoint.call("eth_sendBundle", [{"txs": ["0x00"], "blockNumber": "0x1"}])
    await endpoint.close()


def test_without_a_key_an_identity_is_made_up() -> None:
    assert Identity().address != Identity().address


def test_an_identity_that_is_no_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Identity(Secret("0xsecret"))
    assert "secret" not in str(caught.value)


# --- bundles ----------------------------------------------------------------------------------------------------------


async def test_a_bundle_is_simulated_then_mined_whole_and_never_public(anvil: Anvil, relay: Relay) -> None:
    open_gates(anvil, 1, 2)
    async with connected(anvil, relay, bundles) as route:
        assert await route.submit_many([signed(0, 1), signed(1, 2)]) == [None, None]
        assert relay.asked == ["eth_callBundle", "eth_sendBundle"]
        assert pending(anvil) == 0
        relay.build()
        assert not is_open(anvil, 1)
        assert not is_open(anvil, 2)


async def test_only_what_precedes_a_failure_is_offered(anvil: Anvil, relay: Relay) -> None:
    """What follows it would wait behind its nonce, so that is refused with the same reason."""
    open_gates(anvil, 1, 3)
    raws = [signed(0, 1), signed(1, 2), signed(2, 3)]
    async with connected(anvil, relay, bundles) as route:
        first, second, third = await route.submit_many(raws)
    assert first is None
    assert isinstance(second, RpcRefused)
    assert transaction_hash(raws[1]).hex() in str(second)
    assert str(third) == str(second)
    assert [len(one.txs) for one in relay.bundles] == [1]


async def test_a_bundle_that_would_fail_at_once_is_not_offered(anvil: Anvil, relay: Relay) -> None:
    async with connected(anvil, relay, bundles) as route:
        [outcome] = await route.submit_many([signed(0, 1)])
    assert isinstance(outcome, RpcRefused)
    assert relay.asked == ["eth_callBundle"]


async def test_a_builder_without_simulation_gets_the_bundle_and_is_not_asked_again(anvil: Anvil, relay: Relay) -> None:
    relay.missing = frozenset({"eth_callBundle"})
    open_gates(anvil, 1)
    async with connected(anvil, relay, bundles) as route:
        for _ in range(2):
            assert await route.submit_many([signed(0, 1)]) == [None]
    assert relay.asked == ["eth_callBundle", "eth_sendBundle", "eth_sendBundle"]


async def test_a_bundle_can_be_offered_for_several_blocks(anvil: Anvil, relay: Relay) -> None:
    open_gates(anvil, 1)
    head = anvil.block_number()
    async with connected(anvil, relay, lambda node, relay: bundles(node, relay, blocks=3)) as route:
        await route.submit_many([signed(0, 1)])
    assert [one.block for one in relay.bundles] == [head + 1, head + 2, head + 3]


async def test_a_refusal_is_told_in_the_relays_words(anvil: Anvil, relay: Relay) -> None:
    relay.reject = "you are banned"
    open_gates(anvil, 1)
    async with connected(anvil, relay, bundles) as route:
        [outcome] = await route.submit_many([signed(0, 1)])
    assert isinstance(outcome, RpcRefused)
    assert "you are banned" in str(outcome)


async def test_silence_is_no_refusal(anvil: Anvil, relay: Relay) -> None:
    """Nobody can know whether it is on its way, so nothing is concluded."""
    relay.delay_s = 5.0
    async with connected(anvil, relay, privately) as route:
        [outcome] = await route.submit_many([signed(0, 1)])
    assert isinstance(outcome, RpcUnavailable)


# --- through the executor ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [bundles, privately, shared])
async def test_liquidations_by_a_relay_are_confirmed(anvil: Anvil, relay: Relay, tmp_path: Path, make: Make) -> None:
    async with following(anvil, relay, tmp_path, make) as follower:
        open_gates(anvil, 1, 2, 3)
        relay.build()
        await follower.follow()
        assert pending(anvil) == 0
        for _ in range(4):
            relay.build()
            await follower.follow()
        assert [intent.status for intent in intents(follower)] == [IntentStatus.CONFIRMED] * 3
        assert len({intent.included_number for intent in intents(follower)}) == 1


@pytest.mark.parametrize("make", [bundles, privately, shared])
async def test_what_a_relay_dropped_is_offered_again(anvil: Anvil, relay: Relay, tmp_path: Path, make: Make) -> None:
    """With each block in which it still waits; once it is taken it is mined once."""
    async with following(anvil, relay, tmp_path, make) as follower:
        relay.drop = True
        open_gates(anvil, 1)
        for _ in range(3):
            relay.build()
            relay.private.clear()
            await follower.follow()
        assert [intent.status for intent in intents(follower)] == [IntentStatus.BROADCAST]
        relay.drop = False
        for _ in range(4):
            relay.build()
            await follower.follow()
        [intent] = intents(follower)
        assert intent.status is IntentStatus.CONFIRMED
        assert {attempt.nonce for attempt in intent.attempts} == {0}


async def test_a_bundle_whose_reason_is_gone_costs_nothing(anvil: Anvil, relay: Relay, tmp_path: Path) -> None:
    """Somebody was faster in the very block it was for: the builder leaves it out, and its nonce goes to a transfer."""
    async with following(anvil, relay, tmp_path, bundles) as follower:
        open_gates(anvil, 1)
        relay.build()
        await follower.follow()
        assert len(relay.bundles) == 1
        close_gates(anvil, 1)
        for _ in range(5):
            relay.build()
            await follower.follow()
        [intent] = intents(follower)
        assert intent.status is IntentStatus.ABANDONED
        assert intent.tx_hash == intent.attempts[-1].tx_hash
        assert intent.attempts[-1].purpose == "cancel"


def test_a_daemon_configured_for_bundles_liquidates_on_the_real_aave(tmp_path: Path) -> None:
    """Approval and liquidation in one bundle, which no mempool ever saw; `keeper check` knows the builder."""
    with DevChain.start(manual_mining=True) as chain, open_relay(chain.anvil) as relay:
        account = chain.accounts[0]
        chain.aave.supply(account, "WETH", Decimal(10))
        chain.aave.borrow(account, "USDC", Decimal(14_000))
        chain.fund_liquidator()
        submitters = [{"kind": "bundle", "name": "builder", "url": relay.url}]
        with deploy(tmp_path, chain, mode="live", submitters=submitters) as keeper:
            keeper.start()
            keeper.until_synced()
            checked = keeper.run("check")
            assert "submitter builder" in checked.stdout, checked.stdout
            chain.set_price("WETH", Decimal(1_600))
            keeper.until("the bundle", lambda: relay.bundles)
            assert pending(chain.anvil) == 0
            assert len(relay.build()) == 2
            for _ in range(3):
                keeper.until_synced()
                relay.build()
            keeper.until("the confirmation", lambda: [row["status"] for row in keeper.liquidations()] == ["confirmed"])


# --- several at once --------------------------------------------------------------------------------------------------


async def test_several_endpoints_get_the_same_bytes(anvil: Anvil, relay: Relay) -> None:
    """The second says that it knows them already, which is fine; one that is not there does no harm."""
    open_gates(anvil, 1, 2)
    config = {"name": "rpcs", "urls": (Secret(anvil.rpc_url), NOWHERE, Secret(anvil.rpc_url))}
    async with connected(anvil, relay, lambda node, relay: rpcs.build(config, node, CHAIN_ID)) as route:
        assert await route.submit_many([signed(0, 1), signed(1, 2)]) == [None, None]
        with pytest.raises(ConfigError, match=r"rpcs\[1\]"):
            await route.check()
    assert pending(anvil) == 2


async def test_nobody_waits_for_the_slowest(anvil: Anvil, relay: Relay) -> None:
    relay.delay_s = 2.0
    open_gates(anvil, 1)
    async with connected(
        anvil, relay, lambda node, relay: Everywhere("all", [privately(node, relay), public.PublicMempool(node)])
    ) as route:
        started = time.monotonic()
        assert await route.submit_many([signed(0, 1)]) == [None]
        assert time.monotonic() - started < 1.0


class Says:
    """A route that gives one answer to everything."""

    def __init__(self, outcome: KeeperError | None) -> None:
        self.name = "says"
        self.ordered_by_fee = False
        self.outcome = outcome

    async def submit_many(self, raws: Any) -> list[KeeperError | None]:
        await asyncio.sleep(0)
        return [self.outcome] * len(raws)

    async def check(self) -> str:
        return ""

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((RpcRefused("no"), None), None),
        ((RpcUnavailable("?"), None), None),
        ((RpcRefused("no"), RpcUnavailable("?")), RpcUnavailable),
        ((RpcRefused("no"), RpcRefused("never")), RpcRefused),
    ],
)
async def test_accepted_by_one_is_accepted_and_unknown_to_one_is_unknown(
    outcomes: tuple[KeeperError | None, ...], expected: type[KeeperError] | None
) -> None:
    [outcome] = await Everywhere("all", [Says(one) for one in outcomes]).submit_many([b"raw"])
    assert outcome is None if expected is None else isinstance(outcome, expected)

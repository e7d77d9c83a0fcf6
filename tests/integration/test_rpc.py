"""The RPC client against an endpoint that fails in every way an endpoint can."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from eth_utils.crypto import keccak

from keeper.core.errors import (
    ConfigError,
    KeeperError,
    RetryableError,
    RpcLied,
    RpcMalformed,
    RpcRateLimited,
    RpcRefused,
    RpcUnavailable,
    StateUnavailable,
    WrongChain,
)
from keeper.core.types import BlockRef, Call
from keeper.indexer.rpc import http, ipc, websocket
from keeper.indexer.rpc.address import parse_address
from keeper.indexer.rpc.client import RpcClient
from tests.support.fault_node import Cut, FakeChain, Fault, FaultNode, Hang, Http, Omit, Refuse, Text

RAW = bytes.fromhex("02f86c") + bytes(range(100))
HASH = "0x" + keccak(RAW).hex()
SEND = "eth_sendRawTransaction"
TIMEOUT_S = 0.4


@asynccontextmanager
async def client(*urls: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[RpcClient]:
    rpc = await RpcClient.connect(urls, 31337, call_timeout_s=timeout_s)
    try:
        yield rpc
    finally:
        await rpc.close()


def url_of(node: FaultNode, transport: str) -> str:
    return node.ws if transport == "ws" else node.http


FAULTS: dict[str, Fault] = {
    "429": Http(429),
    "502": Http(502),
    "html": Text("<html>hello</html>"),
    "truncated json": Text('{"jsonrpc":"2.0","id":1,"resu'),
    "truncated hex": Text('{"jsonrpc":"2.0","id":1,"result":12}'),
    "rate limited": Refuse(-32005, "limit exceeded"),
    "cut before": Cut(),
    "cut within": Cut(20),
    "hang": Hang(),
    "left out": Omit(),
}


# --- connecting


async def test_an_endpoint_of_another_chain_is_refused() -> None:
    """The message names both ids and where to correct them."""
    async with FaultNode(chain_id=5) as node:
        with pytest.raises(
            WrongChain, match=r"serves chain 5, but chain 31337 is configured; correct \[chain\] id or rpc"
        ):
            await RpcClient.connect([node.http, node.ws], 31337)


async def test_a_wrong_chain_among_others_is_left_out() -> None:
    async with FaultNode(chain_id=5) as wrong, FakeChain().serve(FaultNode()) as right:
        async with client(wrong.http, right.ws) as rpc:
            assert await rpc.request("eth_blockNumber") == "0x2"
            assert [status.excluded for status in rpc.status()] == [True, False]
        assert wrong.count("eth_blockNumber") == 0


async def test_without_a_chain_id_the_endpoints_say_it_and_must_agree() -> None:
    """One that cannot be reached yet is held to what the others serve when it comes."""
    async with FaultNode(chain_id=5) as one, FaultNode(chain_id=5) as same, FaultNode(chain_id=6) as other:
        rpc = await RpcClient.connect([one.http, same.ws, "http://127.0.0.1:9"], None)
        try:
            assert rpc.chain_id == 5
            assert [endpoint.chain_id for endpoint in rpc.endpoints] == [5, 5, 5]
        finally:
            await rpc.close()
        with pytest.raises(WrongChain, match=r"serve different chains .*serves 5, .*serves 6"):
            await RpcClient.connect([one.http, other.http], None)


async def test_nobody_there_is_an_error_that_names_each_endpoint_without_its_secrets(tmp_path: Path) -> None:
    urls = ["ws://user:secret@127.0.0.1:9/secret", "http://127.0.0.1:9/v2/secret?key=secret", str(tmp_path / "no.ipc")]
    with pytest.raises(RpcUnavailable) as failure:
        await RpcClient.connect(urls, 31337, call_timeout_s=TIMEOUT_S)
    assert "secret" not in str(failure.value)
    assert str(failure.value).count("127.0.0.1:9") == 2
    assert "no.ipc" in str(failure.value)
    with pytest.raises(ConfigError):
        await RpcClient.connect([], 31337)


async def test_an_endpoint_that_refuses_credentials_keeps_them_secret() -> None:
    """The handshake error of the websocket library holds the whole URL."""
    async with FaultNode() as node:
        node.fail("eth_chainId", Http(401))
        with pytest.raises(RpcUnavailable) as failure:
            await RpcClient.connect([f"{node.http}/v2/secret"], 31337, call_timeout_s=TIMEOUT_S)
        assert "HTTP 401" in str(failure.value)
        assert "secret" not in str(failure.value)


# --- reading


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_read_survives_any_fault_of_its_first_endpoint(fault: str, transport: str) -> None:
    """Failover happens within the call: the caller sees an answer, later than usual."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as bad, chain.serve(FaultNode()) as good:
        async with client(url_of(bad, transport), good.http) as rpc:
            bad.fail("eth_getBlockByHash", FAULTS[fault])
            block = await rpc.block_by_hash(bytes.fromhex(chain.tip["hash"][2:]))
            assert block is not None
            assert block.number == 2
        assert good.count("eth_getBlockByHash") == 1


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_an_endpoint_that_hangs_costs_a_fraction_of_a_timeout_and_is_asked_last_then(transport: str) -> None:
    async with (
        FakeChain().serve(FaultNode()) as bad,
        FakeChain().serve(FaultNode()) as good,
        client(url_of(bad, transport), good.http, timeout_s=8) as rpc,
    ):
        bad.fail("eth_blockNumber", *[Hang()] * 5)
        started = time.monotonic()
        assert [await rpc.request("eth_blockNumber") for _ in range(3)] == ["0x2"] * 3
        assert 2 <= time.monotonic() - started < 4
        assert (bad.count("eth_blockNumber"), good.count("eth_blockNumber")) == (1, 3)
        assert "no answer within 2 s" in (rpc.status()[0].last_error or "")


async def test_one_that_was_looked_at_some_blocks_ago_stands_in_all_the_same() -> None:
    """Nobody follows its heads, so that how far it is by now is not known."""
    chain = FakeChain()
    async with (
        chain.serve(FaultNode()) as bad,
        chain.serve(FaultNode()) as good,
        client(bad.ws, good.ws, timeout_s=8) as rpc,
    ):
        await rpc.latest_of(rpc.endpoints[1])
        for _ in range(20):
            chain.mine()
        await rpc.latest_of(rpc.endpoints[0])
        bad.fail("eth_blockNumber", Hang())
        async with asyncio.timeout(4):
            assert await rpc.request("eth_blockNumber") == hex(22)


async def test_one_that_is_more_than_three_blocks_behind_another_is_asked_last() -> None:
    short, long = FakeChain(3), FakeChain(6)
    async with (
        short.serve(FaultNode()) as behind,
        long.serve(FaultNode()) as ahead,
        client(behind.ws, ahead.ws) as rpc,
    ):
        first, second = rpc.endpoints
        for expected, answers in ((False, "0x2"), (True, "0x6")):
            await rpc.latest_of(second)
            await rpc.latest_of(first)
            assert rpc.is_behind(first) is expected
            assert await rpc.request("eth_blockNumber") == answers
            long.mine()


async def test_a_stand_in_is_chosen_when_it_is_needed() -> None:
    """What happened meanwhile counts: one that asked for a rest by then gets it."""
    async with (
        FakeChain().serve(FaultNode()) as bad,
        FakeChain().serve(FaultNode()) as other,
        client(bad.ws, other.ws, timeout_s=2) as rpc,
    ):
        bad.fail("eth_blockNumber", *[Hang()] * 5)
        asking = asyncio.create_task(rpc.request("eth_blockNumber"))
        await asyncio.sleep(0.1)
        rpc.endpoints[1].failed(RpcRateLimited("slow down", 60))
        with pytest.raises((RpcUnavailable, RpcRateLimited)):
            await asking
        assert other.count("eth_blockNumber") == 0 and rpc.endpoints[1].cooling_s > 50


async def test_one_that_may_be_asked_again_at_once_is_not_hammered() -> None:
    """Retry-After: 0 is a provider's mistake, or a clock's."""
    async with (
        FakeChain().serve(FaultNode()) as bad,
        FakeChain().serve(FaultNode()) as good,
        client(bad.http, good.http, timeout_s=2) as rpc,
    ):
        for method in ("eth_blockNumber", "eth_getBlockByNumber"):
            bad.fail(method, *[Http(429, headers={"Retry-After": "0"})] * 1_000)
        assert await rpc.request("eth_blockNumber") == "0x2"
        before = len(bad.asked)
        await asyncio.sleep(1.0)
        assert len(bad.asked) - before <= 3


async def test_one_that_answers_looks_and_nothing_else_is_asked_less_and_less() -> None:
    async with (
        FakeChain().serve(FaultNode()) as bad,
        FakeChain().serve(FaultNode()) as good,
        client(bad.ws, good.ws, timeout_s=2) as rpc,
    ):
        bad.fail("eth_blockNumber", *[Refuse(-32005, "limit exceeded")] * 1_000)
        for _ in range(30):
            await rpc.request("eth_blockNumber")
            await asyncio.sleep(0.1)
        assert bad.count("eth_blockNumber") <= 3


async def test_what_is_sent_is_not_asked_of_another_one_for_being_slow() -> None:
    """Only reads may be asked twice."""
    async with FaultNode() as slow, FaultNode() as other, client(slow.ws, other.ws) as rpc:
        slow.fail("eth_sendRawTransaction", Hang())
        with pytest.raises(RpcUnavailable):
            await rpc.request("eth_sendRawTransaction", "0x00")
        assert other.count("eth_sendRawTransaction") == 0


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("fault", ["502", "truncated json", "cut before", "cut within"])
async def test_a_read_survives_a_passing_fault_of_the_only_endpoint(fault: str, transport: str) -> None:
    """It is asked once more after a moment, over a new connection where the old one broke."""
    async with FakeChain().serve(FaultNode()) as node, client(url_of(node, transport)) as rpc:
        node.fail("eth_blockNumber", FAULTS[fault])
        assert await rpc.request("eth_blockNumber") == "0x2"
        assert [status.consecutive_errors for status in rpc.status()] == [0]


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_a_silent_endpoint_costs_one_timeout(transport: str) -> None:
    async with FakeChain().serve(FaultNode()) as node, client(url_of(node, transport)) as rpc:
        node.fail("eth_blockNumber", *[Hang()] * 5)
        started = time.monotonic()
        with pytest.raises(RpcUnavailable, match=r"no answer within 0\.4 s"):
            await rpc.request("eth_blockNumber")
        assert time.monotonic() - started < 2 * TIMEOUT_S


async def test_a_rate_limit_is_waited_for() -> None:
    """Retry-After is honoured to the letter, and nothing is asked before."""
    async with FakeChain().serve(FaultNode()) as node, client(node.http, timeout_s=5) as rpc:
        node.fail("eth_blockNumber", Http(429, headers={"Retry-After": "1"}))
        started = time.monotonic()
        assert await rpc.request("eth_blockNumber") == "0x2"
        assert 1.0 <= time.monotonic() - started < 2.0
        assert node.count("eth_blockNumber") == 2


async def test_a_rate_limit_stands_whatever_was_on_its_way_before() -> None:
    """The refusal overtakes the answer to an earlier question."""
    async with (
        FakeChain().serve(FaultNode()) as limiting,
        FakeChain().serve(FaultNode()) as other,
        client(limiting.ws, other.ws) as rpc,
    ):
        limiting.on("eth_gasPrice", lambda: "0x1")
        limiting.fail("eth_blockNumber", Refuse(429, "too many requests", {"backoff_seconds": 60}))
        limiting.hold(2)
        answers = await asyncio.gather(rpc.request("eth_gasPrice"), rpc.request("eth_blockNumber"))
        assert (answers, other.count("eth_blockNumber")) == (["0x1", "0x2"], 1)
        assert rpc.endpoints[0].cooling_s > 50


async def test_a_rate_limit_longer_than_the_call_may_take_is_told_to_the_caller() -> None:
    async with FakeChain().serve(FaultNode()) as node, client(node.http) as rpc:
        refusal = Refuse(-32005, "project ID request rate exceeded", {"rate": {"backoff_seconds": 30}})
        node.fail("eth_blockNumber", refusal)
        for _ in range(2):
            with pytest.raises(RpcRateLimited) as failure:
                await rpc.request("eth_blockNumber")
            assert failure.value.retry_after_s == pytest.approx(30, abs=2)
        assert node.count("eth_blockNumber") == 1


async def test_a_refusal_is_the_same_everywhere_and_not_asked_twice() -> None:
    async with FaultNode() as one, FaultNode() as two, client(one.http, two.http) as rpc:
        one.fail("eth_call", Refuse(3, "execution reverted: no", "0x08c379a0"))
        with pytest.raises(RpcRefused, match="no") as failure:
            await rpc.request("eth_call", {})
        assert (failure.value.code, failure.value.data) == (3, bytes.fromhex("08c379a0"))
        assert two.count("eth_call") == 0


async def test_an_endpoint_that_fails_rests_and_is_found_again() -> None:
    chain = FakeChain()
    async with (
        chain.serve(FaultNode()) as first,
        chain.serve(FaultNode()) as second,
        client(first.http, second.http) as rpc,
    ):
        first.fail("eth_blockNumber", Http(500))
        for _ in range(3):
            await rpc.request("eth_blockNumber")
        assert (first.count("eth_blockNumber"), second.count("eth_blockNumber")) == (1, 3)
        await asyncio.sleep(0.3)
        await rpc.request("eth_blockNumber")
        assert first.count("eth_blockNumber") == 2


async def test_a_block_only_another_endpoint_has_is_found_there() -> None:
    """Null is no answer as long as somebody else can be asked."""
    short, long = FakeChain(2), FakeChain(3)
    async with (
        short.serve(FaultNode()) as behind,
        long.serve(FaultNode()) as ahead,
        client(behind.http, ahead.http) as rpc,
    ):
        block = await rpc.block_by_number(2)
        assert block is not None
        assert block.number == 2
        assert await rpc.block_by_number(3) is None
        assert await rpc.block_by_hash(b"\x77" * 32) is None


async def test_many_blocks_are_asked_in_one_message_of_one_endpoint_that_has_them() -> None:
    """And where nobody has all of them, those that there are come from whoever has most."""
    short, long = FakeChain(2), FakeChain(4)
    async with (
        short.serve(FaultNode()) as behind,
        long.serve(FaultNode()) as ahead,
        client(behind.http, ahead.http) as rpc,
    ):
        before = rpc.round_trips
        blocks = await rpc.blocks_by_number([1, 2, 3])
        assert [block and block.number for block in blocks] == [1, 2, 3]
        assert rpc.round_trips == before + 2
        assert [block and block.number for block in await rpc.blocks_by_number([3, 4])] == [3, None]
        for node in (behind, ahead):
            node.on("eth_getBlockByNumber", lambda *_: long.tip)
        with pytest.raises(RpcLied, match="asked for block 1, got block 3"):
            await rpc.blocks_by_number([1])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hash": "0x" + "99" * 32}, "asked for block"),
        ({"hash": "0x" + "99" * 31}, "31 bytes instead of 32"),
        ({"hash": "0x123"}, "no even hex"),
        ({"hash": None}, "hash"),
        ({"logsBloom": "0x00"}, "1 bytes instead of 256"),
        ({"timestamp": "yesterday"}, "no hex quantity"),
        ({"number": None}, "number"),
    ],
)
async def test_a_header_that_cannot_be_true_is_not_believed(change: dict[str, object], complaint: str) -> None:
    """Another endpoint is asked; without one the error names what is wrong."""
    chain = FakeChain()
    true_hash = bytes.fromhex(chain.tip["hash"][2:])
    async with chain.serve(FaultNode()) as liar, chain.serve(FaultNode()) as honest:
        liar.on("eth_getBlockByHash", lambda *_: {**chain.tip, **change})
        async with client(liar.http, honest.http) as rpc:
            block = await rpc.block_by_hash(true_hash)
            assert block is not None
            assert block.hash == true_hash
        async with client(liar.http) as rpc:
            with pytest.raises(RpcMalformed, match=complaint):
                await rpc.block_by_hash(true_hash)


async def test_the_header_of_another_height_is_not_believed() -> None:
    """However true it is in itself: a node that answers with a neighbour of what it was asked for lied."""
    chain = FakeChain()
    async with chain.serve(FaultNode()) as liar, chain.serve(FaultNode()) as honest:
        liar.on("eth_getBlockByNumber", lambda *_: chain.blocks[1])
        async with client(liar.http, honest.http) as rpc:
            block = await rpc.block_by_number(2)
            assert block is not None
            assert block.number == 2
            assert [endpoint.quarantine.active for endpoint in rpc.endpoints] == [True, False]
        async with client(liar.http) as rpc:
            with pytest.raises(RpcMalformed, match="asked for block 2, got block 1"):
                await rpc.block_by_number(2)


async def test_a_batch_is_one_message_and_keeps_its_errors_in_place() -> None:
    async with FakeChain().serve(FaultNode()) as node, client(node.ws) as rpc:
        node.reversed = True
        before = node.messages, rpc.round_trips
        first, second, third = await rpc.batch([("eth_chainId", []), ("eth_nonsense", []), ("eth_blockNumber", [])])
        assert (first, third) == ("0x7a69", "0x2")
        assert isinstance(second, RpcRefused)
        assert (node.messages - before[0], rpc.round_trips - before[1]) == (1, 1)


async def test_concurrent_batches_are_never_confused() -> None:
    """Their answers come last first; one popular client swaps them silently."""
    async with FaultNode() as node, client(node.ws) as rpc:
        node.on("eth_getBalance", lambda address: address)
        node.hold(20)
        batches = [[("eth_getBalance", [f"{i}.{j}"]) for j in range(i % 3 + 1)] for i in range(20)]
        answers = await asyncio.gather(*(rpc.batch(batch) for batch in batches))
        assert answers == [[params[0] for _, params in batch] for batch in batches]


async def test_a_large_batch_is_sent_as_several_messages_at_once() -> None:
    async with FaultNode() as node, client(node.http, timeout_s=5) as rpc:
        node.on("eth_getBalance", lambda index: index)
        assert await rpc.batch([("eth_getBalance", [i]) for i in range(250)]) == list(range(250))
        assert node.messages == 1 + 3


async def test_calls_whose_state_is_missing_everywhere_say_so() -> None:
    call = Call(b"\x01" * 20, b"")
    async with FaultNode() as one, FaultNode() as two, client(one.http, two.ws) as rpc:
        for node in (one, two):
            node.on("eth_call", lambda *_: Refuse(-32000, "missing trie node 1234 (path )"))
        with pytest.raises(StateUnavailable, match="missing trie node"):
            await rpc.call_many([call, call], BlockRef(1, b"\x01" * 32))
        assert (one.count("eth_call"), two.count("eth_call")) == (1, 1)


async def test_what_is_no_read_is_asked_once() -> None:
    """Mining a block twice because the first answer was lost would be a surprise."""
    async with FaultNode() as one, FaultNode() as two, client(one.http, two.http) as rpc:
        one.fail("evm_mine", Cut())
        with pytest.raises(RpcUnavailable):
            await rpc.request("evm_mine")
        assert (one.count("evm_mine"), two.count("evm_mine")) == (1, 0)


async def test_a_closed_client_opens_nothing_again() -> None:
    async with FakeChain().serve(FaultNode()) as node:
        async with client(node.ws) as rpc:
            await rpc.request("eth_blockNumber")
        with pytest.raises(RpcUnavailable, match="the client is closed"):
            await rpc.request("eth_blockNumber")
        assert node.count("eth_chainId") == 1


# --- sending


@pytest.mark.parametrize("transport", ["ws", "http"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_transaction_is_sent_once_under_every_fault(fault: str, transport: str) -> None:
    """Not again to the same endpoint, not to another one; the error says that it may have been accepted."""
    async with FaultNode() as one, FaultNode() as two, client(url_of(one, transport), two.http) as rpc:
        for node in (one, two):
            node.on(SEND, lambda _: HASH)
        one.fail(SEND, FAULTS[fault])
        with pytest.raises(RetryableError):
            await rpc.submit(RAW)
        await asyncio.sleep(0.3)
        assert (one.count(SEND), two.count(SEND)) == (1, 0)


@pytest.mark.parametrize("transport", ["ws", "http"])
async def test_a_reconnect_sends_nothing_again(transport: str) -> None:
    """The connection breaks under a transaction; reading goes on over a new one, the transaction does not."""
    async with FakeChain().serve(FaultNode()) as node, client(url_of(node, transport)) as rpc:
        node.fail(SEND, Cut())
        with pytest.raises(RpcUnavailable, match="may have been accepted"):
            await rpc.submit(RAW)
        assert await rpc.request("eth_blockNumber") == "0x2"
        assert node.count(SEND) == 1


async def test_what_has_to_be_sent_again_goes_to_every_endpoint() -> None:
    """An endpoint that says yes and does nothing is asked for ever otherwise, while another one is honest."""
    async with FaultNode() as one, FaultNode() as two, client(one.ws, two.ws) as rpc:
        for node in (one, two):
            node.on(SEND, lambda raw: "0x" + keccak(bytes.fromhex(raw[2:])).hex())
        await rpc.submit(RAW)
        assert (one.count(SEND), two.count(SEND)) == (1, 0)
        assert await rpc.submit_many([RAW, RAW + b"1"]) == [None, None]
        await asyncio.sleep(0.05)
        assert (one.count(SEND), two.count(SEND)) == (3, 2)


@pytest.mark.parametrize("fault", [Hang(), Refuse(-32000, "nonce too low"), Cut(), Http(502)], ids=repr)
async def test_sent_again_it_is_accepted_once_any_endpoint_accepts_it(fault: Fault) -> None:
    """And nobody waits for those that do not answer."""
    async with FaultNode() as one, FaultNode() as two, client(one.ws, two.ws) as rpc:
        two.on(SEND, lambda _: HASH)
        one.on(SEND, lambda _: HASH)
        await rpc.submit(RAW)
        one.fail(SEND, fault)
        started = time.monotonic()
        await rpc.submit(RAW)
        assert time.monotonic() - started < TIMEOUT_S / 2
        assert two.count(SEND) == 1


async def test_sent_again_and_refused_by_all_it_is_refused() -> None:
    """And perhaps accepted where one of them did not answer."""
    async with FaultNode() as one, FaultNode() as two, client(one.ws, two.ws) as rpc:
        one.on(SEND, lambda _: HASH)
        await rpc.submit(RAW)
        for node in (one, two):
            node.fail(SEND, Refuse(-32000, "nonce too low"))
        with pytest.raises(RpcRefused, match="nonce too low"):
            await rpc.submit(RAW)
        one.fail(SEND, Refuse(-32000, "nonce too low"))
        two.fail(SEND, Cut())
        with pytest.raises(RpcUnavailable, match="may have been accepted"):
            await rpc.submit(RAW)


async def test_an_endpoint_that_cannot_be_reached_was_sent_nothing_so_the_next_one_is_taken() -> None:
    async with FaultNode() as two:
        one = FaultNode()
        await one.start()
        async with client(one.ws, two.ws) as rpc:
            await one.stop()
            two.on(SEND, lambda _: HASH)
            await asyncio.sleep(0.05)
            await rpc.submit(RAW)
            assert two.count(SEND) == 1


@pytest.mark.parametrize("message", ["already known", "transaction already imported"])
async def test_a_transaction_the_node_already_has_is_accepted(message: str) -> None:
    async with FaultNode() as node, client(node.ws) as rpc:
        node.fail(SEND, Refuse(-32000, message))
        await rpc.submit(RAW)
        assert node.count(SEND) == 1


async def test_a_definite_refusal_keeps_code_and_words() -> None:
    async with FaultNode() as node, client(node.ws) as rpc:
        node.fail(SEND, Refuse(-32003, "nonce too low: next nonce 8, tx nonce 7"))
        with pytest.raises(RpcRefused, match="nonce too low: next nonce 8") as refusal:
            await rpc.submit(RAW)
        assert refusal.value.code == -32003


async def test_a_node_that_answers_with_another_hash_is_not_believed() -> None:
    """It may hold the transaction, or not: the chain has to be asked."""
    async with FaultNode() as node, client(node.ws) as rpc:
        node.on(SEND, lambda _: "0x" + "00" * 32)
        with pytest.raises(RpcMalformed, match="may have been accepted"):
            await rpc.submit(RAW)


async def test_several_transactions_go_in_one_message_each_with_its_own_outcome() -> None:
    raws = [RAW, RAW + b"1", RAW + b"2", RAW + b"3"]
    async with FaultNode() as node, client(node.ws) as rpc:
        node.on(SEND, lambda raw: "0x" + keccak(bytes.fromhex(raw[2:])).hex())
        node.reversed = True
        before = node.messages
        assert await rpc.submit_many(raws) == [None] * 4
        node.fail(SEND, Omit(), Refuse(-32000, "nonce too low"), Refuse(-32000, "already known"))
        outcomes = await rpc.submit_many(raws)
        assert [type(outcome) for outcome in outcomes] == [RpcUnavailable, RpcRefused, type(None), type(None)]
        assert node.messages - before == 2
        assert node.count(SEND) == 8


async def test_a_lost_message_leaves_every_transaction_of_it_unknown() -> None:
    async with FaultNode() as node, client(node.ws) as rpc:
        node.fail(SEND, Cut())
        outcomes: list[KeeperError | None] = await rpc.submit_many([RAW, RAW + b"1"])
        assert [type(outcome) for outcome in outcomes] == [RpcUnavailable, RpcUnavailable]


# --- answers without an end -------------------------------------------------------------------------------------------


@asynccontextmanager
async def growing(compressed: bool) -> AsyncIterator[str]:
    """A node whose answer says no length: a kilobyte on the wire that unpacks to a megabyte, or a stream for ever."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"} if compressed else {})
        await response.prepare(request)
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        with suppress(ConnectionError):
            for _ in range(16 if compressed else 100_000):
                spaces = b" " * 65_536
                await response.write(
                    packer.compress(spaces) + packer.flush(zlib.Z_SYNC_FLUSH) if compressed else spaces
                )
        return response

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("compressed", [True, False])
async def test_an_answer_is_read_no_further_than_its_bound(compressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says of its length, and however small it is before it is unpacked."""
    monkeypatch.setattr(http, "MAX_MESSAGE_BYTES", 100_000)
    async with growing(compressed) as url:
        transport = http.HttpTransport(parse_address(url))
        await transport.open(5.0)
        try:
            with pytest.raises(RpcUnavailable, match="an answer of over 100000 bytes"):
                await transport.exchange([("eth_blockNumber", ())], 5.0)
        finally:
            await transport.close()


async def endless_pipe(folder: Path) -> tuple[str, asyncio.Server]:
    """A socket in the file system whose node begins an answer and goes on with it; its path is where it listens."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"jsonrpc":"2.0","id":1,"result":"0x' + b"0" * 1_000_000)
        with suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    path = str(folder / "node.ipc")
    return path, await asyncio.start_unix_server(answer, path)


async def test_a_message_of_a_pipe_is_read_no_further_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is dropped, so that what has no end takes no memory."""
    monkeypatch.setattr(ipc, "MAX_MESSAGE_BYTES", 100_000)
    path, server = await endless_pipe(tmp_path)
    transport = ipc.IpcTransport(parse_address(path))
    await transport.open(5.0)
    try:
        with pytest.raises(RpcMalformed, match="a message of more than 100000 bytes; the connection is dropped"):
            await transport.exchange([("eth_blockNumber", ())], 2.0)
    finally:
        await transport.close()
        server.close()
        await server.wait_closed()


async def test_a_message_of_a_websocket_is_read_no_further_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """1009 is the protocol's own word for a message that is too big."""
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 100_000)
    async with FaultNode() as node:
        node.on("eth_blockNumber", lambda: "0x" + "0" * 1_000_000)
        transport = websocket.WebSocketTransport(parse_address(node.ws))
        await transport.open(5.0)
        try:
            with pytest.raises(RpcUnavailable, match=r"the connection was closed \(code 1009\)"):
                await transport.exchange([("eth_blockNumber", ())], 2.0)
        finally:
            await transport.close()

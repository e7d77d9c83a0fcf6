"""An endpoint that was caught lying is asked nothing while there is another one, and returns once it proved itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keeper.core.errors import RpcLied, RpcRateLimited, RpcUnavailable
from keeper.core.types import BlockRef, Call, LogFilter
from keeper.indexer.bloom import item_mask
from keeper.indexer.fetch import read_head
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings
from tests.support.fault_node import Cut, FakeChain, FaultNode, Hang, Refuse

POOL, TOPIC = b"\xaa" * 20, b"\xbb" * 32
WANTED = LogFilter(frozenset({POOL}), frozenset({TOPIC}))
READS = "eth_blockNumber"


def chain_with_logs() -> FakeChain:
    chain = FakeChain(1)
    for _ in range(6):
        header = chain.mine(bloom=(item_mask(POOL) | item_mask(TOPIC)).to_bytes(256, "big"))
        chain.logs[header["hash"]] = [
            {
                "address": "0x" + POOL.hex(),
                "topics": ["0x" + TOPIC.hex()],
                "data": "0x",
                "blockNumber": header["number"],
                "blockHash": header["hash"],
                "transactionHash": "0x" + "cc" * 32,
                "logIndex": "0x0",
                "removed": False,
            }
        ]
    return chain


def answering(chain: FakeChain) -> FaultNode:
    """Logs without a filter as well, as a proof asks for them."""
    node = chain.serve(FaultNode())

    def get_logs(query: dict[str, Any]) -> Any:
        return chain.get_logs(query) if "address" in query else chain.logs[query["blockHash"]]

    node.on("eth_getLogs", get_logs)
    return node


@asynccontextmanager
async def connected(*nodes: FaultNode, quarantine_s: float = 0.2) -> AsyncIterator[RpcClient]:
    settings = RpcSettings(call_timeout_s=0.5, quarantine_s=quarantine_s)
    rpc = await RpcClient.connect([node.ws for node in nodes], 31337, settings=settings)
    try:
        yield rpc
    finally:
        await rpc.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def caught(rpc: RpcClient, liar: FaultNode, lies: Callable[[dict[str, Any]], Any] | None = None) -> None:
    """Have the first endpoint's lie about logs found out."""
    honest = liar.answers["eth_getLogs"]
    liar.on("eth_getLogs", lies or (lambda _: []))
    block = await rpc.block_by_number("latest")
    assert block is not None
    assert len((await read_head(rpc, block, WANTED, ())).logs) == 1
    liar.on("eth_getLogs", lies or honest)


async def test_an_endpoint_that_lied_is_asked_nothing_more() -> None:
    """Its reason is kept for whoever looks, and it does not matter that it answers."""
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as honest, connected(liar, honest, quarantine_s=60) as rpc:
        await caught(rpc, liar)
        asked = len(liar.asked)
        for _ in range(5):
            rpc.endpoints[0].succeeded()  # no rest after an error is left
            await rpc.request(READS)
        assert honest.count(READS) == 5 and len(liar.asked) == asked
        first, second = rpc.status()
        assert "the header's bloom admits more" in (first.quarantined or "") and first.lies == 1
        assert 55 < first.quarantine_left_s <= 60
        assert second.quarantined is None


async def test_it_returns_once_it_proved_itself() -> None:
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as honest, connected(liar, honest) as rpc:
        await caught(rpc, liar)
        await until(lambda: rpc.status()[0].quarantined is None)
        await rpc.request(READS)
        assert liar.count(READS) == 1 and rpc.status()[0].lies == 1


@pytest.mark.parametrize(
    "refused",
    [
        {"eth_getBlockReceipts": Refuse(-32601, "the method eth_getBlockReceipts does not exist")},
        {"eth_getLogs": Refuse(-32602, "Please specify an address in your request")},
        {
            "eth_getBlockReceipts": Refuse(-32601, "the method eth_getBlockReceipts does not exist"),
            "eth_getLogs": Refuse(-32602, "Please specify an address in your request"),
        },
        {
            "eth_getBlockReceipts": Refuse(-32601, "the method eth_getBlockReceipts does not exist"),
            "eth_getLogs": Refuse(-32005, "query returned more than 10000 results"),
        },
    ],
    ids=["no receipts", "no logs without an address", "neither", "too many logs"],
)
async def test_it_returns_where_its_provider_refuses_a_whole_blocks_logs(refused: dict[str, Refuse]) -> None:
    """What is left proves it: its headers, which are the same elsewhere."""
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as honest, connected(liar, honest) as rpc:
        await caught(rpc, liar)
        for method, refusal in refused.items():
            liar.on(method, lambda *_, refusal=refusal: refusal)
        await until(lambda: rpc.status()[0].quarantined is None)
        assert rpc.status()[0].lies == 1


def another_block(number: str, _full: bool) -> dict[str, Any]:
    return FakeChain(7).mine(branch=1) | {"number": "0x6" if number == "latest" else number}


@pytest.mark.parametrize(
    ("method", "lie", "words"),
    [
        ("eth_getLogs", lambda _: [], "do not make up the header's bloom"),
        ("eth_getBlockReceipts", lambda _: [], "do not make up the header's bloom"),
        ("eth_getBlockByNumber", another_block, "is 0x"),
    ],
    ids=["logs", "receipts", "another branch"],
)
async def test_it_does_not_while_it_goes_on_lying(method: str, lie: Callable[..., Any], words: str) -> None:
    """Each lie doubles the time until the next attempt."""
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as honest, connected(liar, honest, quarantine_s=0.1) as rpc:
        await caught(rpc, liar)
        liar.on(method, lie)
        await until(lambda: rpc.status()[0].lies >= 3)
        status = rpc.status()[0]
        assert words in (status.quarantined or "")
        assert status.quarantine_left_s > 0.2


@asynccontextmanager
async def one_of_two_caught() -> AsyncIterator[tuple[FakeChain, FaultNode, FaultNode, RpcClient]]:
    """The chain, the other one, the liar, which is in quarantine for an hour and rested, and who asks them."""
    chain = chain_with_logs()
    async with answering(chain) as other, answering(chain) as liar, connected(liar, other, quarantine_s=3600) as rpc:
        await caught(rpc, liar)
        rpc.endpoints[0].succeeded()
        yield chain, other, liar, rpc


def hang(node: FaultNode) -> None:
    for method in list(node.answers):
        node.fail(method, *[Hang()] * 100)


@pytest.mark.parametrize("failing", ["lies", "hangs"])
async def test_it_answers_for_itself_and_not_for_the_one_it_is_compared_with(failing: str) -> None:
    """What that one gets wrong counts against that one."""
    chain = chain_with_logs()
    answers = {
        "lies": lambda number, full: chain.tip if number == "latest" else chain.blocks[1],
        "hangs": lambda number, full: chain.tip if number == "latest" else Hang(),
    }
    async with answering(chain) as first, answering(chain) as second, connected(first, second) as rpc:
        proving, compared = rpc.endpoints
        proving.failed(RpcLied("an old lie"))
        second.on("eth_getBlockByNumber", answers[failing])
        await until(lambda: compared.errors > 0)
        assert compared.lies == (failing == "lies")
        await until(lambda: not proving.quarantine.active)
        assert proving.lies == 1
        assert proving.status().last_error == "an old lie"


async def test_it_is_asked_on_parole_while_every_other_one_fails() -> None:
    """It proves itself at once, and its time runs on: it is left as soon as another one is well."""
    async with one_of_two_caught() as (_, other, liar, rpc):
        hang(other)
        with pytest.raises(RpcUnavailable, match="no answer within"):
            await rpc.request(READS)
        await until(lambda: rpc.endpoints[0].quarantine.paroled)
        assert await asyncio.gather(rpc.request(READS), rpc.request(READS)) == ["0x6", "0x6"]
        status = rpc.status()[0]
        assert status.quarantined and status.quarantine_left_s > 3_500 and status.lies == 1
        assert liar.count("eth_getBlockReceipts") == 1
        other.forgive()
        await until(lambda: not rpc.endpoints[0].quarantine.paroled)
        asked = len(liar.asked)
        other.fail(READS, Cut())
        assert await rpc.request(READS) == "0x6"
        assert len(liar.asked) == asked, "one lost connection frees nobody"


async def test_it_stays_where_it_lies_when_every_other_one_fails() -> None:
    async with one_of_two_caught() as (_, other, liar, rpc):
        liar.on("eth_getBlockReceipts", lambda _: [])
        hang(other)
        with pytest.raises(RpcUnavailable, match="no answer within"):
            await rpc.request(READS)
        await until(lambda: rpc.status()[0].lies == 2)
        status = rpc.status()[0]
        assert "do not make up the header's bloom" in (status.quarantined or "")
        assert not rpc.endpoints[0].quarantine.paroled and liar.count(READS) == 0


async def test_one_lost_connection_frees_nobody() -> None:
    """Nor does anybody wait for one that lied and hangs."""
    async with one_of_two_caught() as (_, other, liar, rpc):
        hang(liar)
        asked = len(liar.asked)
        other.fail(READS, Cut())
        async with asyncio.timeout(0.5 * 0.9):
            assert await rpc.request(READS) == "0x6"
        await asyncio.sleep(0.5)
        assert len(liar.asked) == asked and rpc.status()[0].quarantined


async def test_one_that_asked_for_an_hours_rest_is_no_help() -> None:
    async with one_of_two_caught() as (_, other, _, rpc):
        other.fail(READS, Refuse(-32005, "project ID request rate exceeded", {"rate": {"backoff_seconds": 3600}}))
        with pytest.raises(RpcRateLimited):
            await rpc.request(READS)
        await until(lambda: rpc.endpoints[0].quarantine.paroled)
        assert await rpc.request(READS) == "0x6"


async def test_where_every_one_lied_whoever_proves_itself_soon_is_asked() -> None:
    """A twelfth of the time is enough: nobody is left whose word could wait for the rest of it."""
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as sorry, connected(liar, sorry, quarantine_s=1.2) as rpc:
        honest = sorry.answers["eth_getLogs"]
        for node in liar, sorry:
            node.on("eth_getLogs", lambda _: [])
        block = await rpc.block_by_number("latest")
        assert block is not None
        with pytest.raises(RpcLied):
            await read_head(rpc, block, WANTED, ())
        assert all(status.quarantined and not status.paroled for status in rpc.status())
        sorry.on("eth_getLogs", honest)
        await until(lambda: rpc.status()[1].paroled)
        await until(lambda: rpc.status()[0].lies == 2)
        assert await rpc.request(READS) == "0x6"
        assert (liar.count(READS), sorry.count(READS)) == (0, 1)
        assert not rpc.status()[0].paroled and rpc.status()[1].quarantine_left_s > 0.2
        await until(lambda: rpc.status()[1].quarantined is None)
        assert not rpc.status()[1].paroled


async def test_heads_come_from_it_on_parole() -> None:
    async with one_of_two_caught() as (chain, other, liar, rpc):
        heads = rpc.heads()
        assert (await anext(heads)).number == 6 and other.subscribers == 1
        await other.stop()
        chain.mine()
        async with asyncio.timeout(5):
            assert (await anext(heads)).number == 7
        assert liar.subscribers == 1
        await heads.aclose()


async def test_the_only_endpoint_is_asked_all_the_same() -> None:
    """There is nobody else; what it said is refused, and known."""
    chain = chain_with_logs()
    async with answering(chain) as liar, connected(liar) as rpc:
        honest = liar.answers["eth_getLogs"]
        liar.on("eth_getLogs", lambda _: [])
        block = await rpc.block_by_number("latest")
        assert block is not None
        with pytest.raises(RpcLied):
            await read_head(rpc, block, WANTED, ())
        assert rpc.status()[0].quarantined
        liar.on("eth_getLogs", honest)
        assert len((await read_head(rpc, block, WANTED, ())).logs) == 1
        await until(lambda: rpc.status()[0].quarantined is None)


async def test_a_sample_is_compared_with_what_another_endpoint_says() -> None:
    """Who is to be avoided is asked only where nobody else answers."""
    chain, block = chain_with_logs(), BlockRef(6, bytes(31) + b"\x07")
    async with answering(chain) as usual, answering(chain) as other, connected(usual, other) as rpc:
        usual.on("eth_call", lambda *_: "0x01")
        other.on("eth_call", lambda *_: "0x02")
        call = Call(b"\x11" * 20, b"")
        assert await rpc.call_many([call], block) == [b"\x01"]
        assert await rpc.call_many([call], block, avoid=rpc.endpoints[0]) == [b"\x02"]
        await other.stop()
        assert await rpc.call_many([call], block, avoid=rpc.endpoints[0]) == [b"\x01"]


async def test_heads_are_taken_from_another_one() -> None:
    chain = chain_with_logs()
    async with answering(chain) as liar, answering(chain) as honest, connected(liar, honest, quarantine_s=60) as rpc:
        heads = rpc.heads()
        assert (await anext(heads)).number == 6
        seen: list[str] = []

        async def follow() -> None:
            async for head in heads:
                seen.extend([head.hash.hex()])  # each at once

        following = asyncio.create_task(follow())
        await caught(rpc, liar)
        fake = chain.tip | {"number": "0x7", "hash": "0x" + "5a" * 32}
        await liar.push(fake)
        real = chain.mine()
        await until(lambda: honest.subscribers == 1)
        await honest.push(real)
        await until(lambda: real["hash"][2:] in seen)
        following.cancel()
        await asyncio.wait([following])
        assert "5a" * 32 not in seen
        await heads.aclose()

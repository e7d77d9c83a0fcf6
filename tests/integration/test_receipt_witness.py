"""A block's logs held against its receipts, over real connections: what is found, who lied, and what proves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from eth_hash.auto import keccak
from structlog.testing import capture_logs

from keeper.core.errors import KeeperError
from keeper.core.types import Block, BlockRef, LogFilter
from keeper.indexer.bloom import log_mask
from keeper.indexer.fetch import HeadRead, head_requests
from keeper.indexer.receipts import receipts_root
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.proof import header_hash
from keeper.indexer.rpc.wire import WireHeader, WireReceipt, to_hex
from keeper.indexer.witness import REMEMBERED, UNPROVEN_IN_A_ROW, Contradiction, Seen, Unproven, Witness
from tests.support.fault_node import FakeChain, FaultNode, Hang, Refuse

POOL, TOPIC = bytes.fromhex("87870bca3f3fd6335c3f4ce8392d69350b4fa4e2"), keccak(b"Borrow")
CHECKSUMMED = "0x87870Bca3F3fD6335C3F4ce8392D69350B4fA4E2"
WANTED = LogFilter(frozenset({POOL}), frozenset({TOPIC}))
WORD = "0x" + "11" * 32
Json = dict[str, Any]


def log_of(user: int, index: int) -> Json:
    return {
        "address": to_hex(POOL),
        "topics": [to_hex(TOPIC), f"0x{user:064x}"],
        "data": f"0x{user:064x}",
        "blockNumber": "0x5",
        "transactionHash": WORD,
        "logIndex": hex(index),
    }


def receipt_of(*logs: Json, gas: int = 21_000) -> Json:
    return {"blockHash": WORD, "status": "0x1", "type": "0x2", "cumulativeGasUsed": hex(gas), "logs": list(logs)}


A, B = log_of(0xAA, 0), log_of(0xBB, 1)
TRUTH = [receipt_of(A), receipt_of(B, gas=42_000)]


@dataclass
class Told:
    """A block with these receipts, and what a node says of it."""

    receipts: list[Json]

    def __post_init__(self) -> None:
        bare = msgspec.convert(self._dated(self.receipts, WORD), list[WireReceipt])
        root, bits = receipts_root(bare), 0
        assert root is not None
        for one in bare:
            for log in one.logs:
                bits |= log_mask(log)
        zero = "0x" + "00" * 32
        self.header: Json = {
            "number": "0x5",
            "parentHash": zero,
            "timestamp": "0x5",
            "baseFeePerGas": "0x1",
            "gasLimit": "0x1",
            "gasUsed": "0x1",
            "logsBloom": f"0x{bits:0512x}",
            "sha3Uncles": zero,
            "miner": "0x" + "00" * 20,
            "stateRoot": zero,
            "transactionsRoot": zero,
            "receiptsRoot": to_hex(root),
            "difficulty": "0x0",
            "extraData": "0x",
            "mixHash": zero,
            "nonce": "0x" + "00" * 8,
            "hash": zero,
        }
        found = header_hash(msgspec.convert(self.header, WireHeader))
        assert found is not None
        self.header["hash"] = to_hex(found)
        self.block = Block(BlockRef(5, found), bytes(32), 5, 1, 1, 1, bits.to_bytes(256, "big"))

    def dated(self, receipts: list[Json]) -> list[Json]:
        return self._dated(receipts, self.header["hash"])

    def _dated(self, receipts: list[Json], block_hash: str) -> list[Json]:
        logs = [[log | {"blockHash": block_hash} for log in one["logs"]] for one in receipts]
        return [one | {"blockHash": block_hash, "logs": ours} for one, ours in zip(receipts, logs, strict=True)]


@dataclass
class Speaker:
    """What a node gives for logs and for receipts (a fault: that); header: what it makes of the block's."""

    logs: Sequence[Json]
    receipts: Any
    header: Callable[[Json], Json | None] = lambda header: header


@dataclass
class Case:
    nodes: list[FaultNode]
    rpc: RpcClient
    witness: Witness
    told: Told

    async def seen(self, source: int = 0) -> Seen:
        """The block as the head path reads it, through all of its checks."""
        endpoint = self.rpc.endpoints[source]
        requests, parse = head_requests(self.rpc, self.told.block, WANTED, ())
        _, logs, results, _, _ = parse(await self.rpc.ask(endpoint, requests))
        self.witness.note(self.told.block, WANTED, (), HeadRead(logs, results, [], endpoint))
        return Seen(self.told.block, WANTED, (), tuple(logs), tuple(results), endpoint)

    def lying(self) -> list[int]:
        return [number for number, one in enumerate(self.rpc.endpoints) if one.quarantine.active]


@asynccontextmanager
async def speaking(*speakers: Speaker, truth: list[Json] = TRUTH) -> AsyncIterator[Case]:
    told, chain = Told(truth), FakeChain()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(chain.serve(FaultNode())) for _ in speakers]
        for node, said in zip(nodes, speakers, strict=True):
            logs = told.dated([receipt_of(*said.logs)])[0]["logs"]
            node.on("eth_getLogs", lambda *_, logs=logs: logs)
            node.on("eth_getBlockByHash", lambda *_, said=said: said.header(told.header))
            if isinstance(said.receipts, list):
                given = told.dated(said.receipts)
                node.on("eth_getBlockReceipts", lambda *_, given=given: given)
            elif said.receipts is None:
                node.on("eth_getBlockReceipts", lambda *_: None)
            else:
                node.fail("eth_getBlockReceipts", *[said.receipts] * 50)
        rpc = await RpcClient.connect([node.ws for node in nodes], 31337, call_timeout_s=1)
        stack.push_async_callback(rpc.close)
        yield Case(nodes, rpc, Witness(rpc), told)


REFUSED = Refuse(-32601, "the method eth_getBlockReceipts does not exist")


def shouted(log: Json) -> Json:
    return log | {"address": "0x" + log["address"][2:].upper(), "data": "0x" + log["data"][2:].upper()}


# --- one endpoint alone


@pytest.mark.parametrize(
    "receipts", [TRUTH, [TRUTH[0], receipt_of(shouted(B), gas=42_000)]], ids=["as they are", "in capitals"]
)
async def test_what_the_only_endpoint_left_out_its_receipts_have(receipts: list[Json]) -> None:
    async with speaking(Speaker([A], receipts)) as case:
        found = await case.witness.prove(await case.seen())
        assert found is not None and found.liar is case.rpc.endpoints[0] and found.other is None
        assert [log.topics[1] for log in found.logs] == [B["topics"][1]] == [log.topics[1] for log in found.missed]
        assert case.lying() == [0]


@pytest.mark.parametrize(
    ("logs", "receipts"),
    [
        ([A, B], TRUTH),
        ([A | {"address": CHECKSUMMED}, B], [receipt_of(A | {"address": CHECKSUMMED}), TRUTH[1]]),
        ([A, B], [TRUTH[0], receipt_of(B | {"logIndex": "0x0"}, gas=42_000)]),
    ],
    ids=["plainly", "checksummed", "log index by transaction"],
)
async def test_an_honest_endpoint_is_accused_of_nothing_however_it_writes(
    logs: list[Json], receipts: list[Json]
) -> None:
    async with speaking(Speaker(logs, receipts)) as case:
        assert await case.witness.prove(await case.seen()) is None
        assert (case.witness.proven, case.lying()) == (1, [])


async def test_two_logs_in_another_order_are_another_block() -> None:
    swapped = [B | {"logIndex": "0x0"}, A | {"logIndex": "0x1"}]
    async with speaking(Speaker(swapped, TRUTH)) as case:
        found = await case.witness.prove(await case.seen())
        assert found is not None and len(found.logs) == 2 and found.missed == ()


@pytest.mark.parametrize(
    "speaker",
    [
        Speaker([A], [TRUTH[0]]),
        Speaker([A], None),
        Speaker([A], REFUSED),
        Speaker([A], Refuse(-32005, "too many requests")),
        Speaker([A], Hang()),
        Speaker([A], TRUTH, header=lambda _: None),
        Speaker([A], [TRUTH[0]], header=lambda header: header | {"mixHash": None}),
        Speaker([A], [receipt_of(A | {"data": "0xzz"})]),
    ],
    ids=["fewer", "null", "refused", "limited", "hanging", "no header", "header not provable", "no hex"],
)
async def test_what_proves_nothing_accuses_nobody_and_is_said(speaker: Speaker) -> None:
    """And where the block could never be proven it is not asked for again for a while."""
    async with speaking(speaker) as case:
        seen = await case.seen()
        with capture_logs() as said:
            for _ in range(UNPROVEN_IN_A_ROW):
                with pytest.raises(KeeperError) as why:
                    await case.witness.prove(seen)
                case.witness.not_proven(seen, why.value)
            assert await case.witness.prove(seen) is None
        assert [line["blocks"] for line in said if line["event"] == "receipts_prove_nothing"] == [UNPROVEN_IN_A_ROW]
        assert (case.witness.proven, case.witness.unproven, case.lying()) == (0, UNPROVEN_IN_A_ROW, [])


async def test_whose_blocks_could_be_proven_and_no_longer_can_is_told_of_at_once_and_asked_on() -> None:
    async with speaking(Speaker([A, B], TRUTH)) as case:
        seen = await case.seen()
        with capture_logs() as said:
            for _ in range(UNPROVEN_IN_A_ROW):
                assert await case.witness.prove(seen) is None
                case.witness.not_proven(seen, Unproven("this time"))
        assert len([line for line in said if line["event"] == "receipts_prove_nothing"]) == UNPROVEN_IN_A_ROW
        assert case.witness.proven == UNPROVEN_IN_A_ROW


async def test_receipts_come_over_a_connection_of_their_own() -> None:
    """Megabytes of them; heads and what is asked of a head do not wait behind them."""
    async with speaking(Speaker([A, B], TRUTH)) as case:
        seen = await case.seen()
        used: list[Any] = []
        ask = case.rpc.send

        async def noted(endpoint: Any, transport: Any, requests: Any, timeout_s: float) -> Any:
            used.append((transport, requests[-1][0]))
            return await ask(endpoint, transport, requests, timeout_s)

        case.rpc.send = noted  # type: ignore[method-assign]
        await case.witness.prove(seen)
        await case.seen()
        await case.witness.prove(seen)
        [(first, _), (usual, _), (again, _)] = used
        assert [method for _, method in used] == ["eth_getBlockReceipts", "eth_getLogs", "eth_getBlockReceipts"]
        assert first is again is not usual


# --- two endpoints


async def contradiction(case: Case, source: int) -> Contradiction:
    found = await case.witness.compare(await case.seen(source), case.rpc.endpoints[1 - source])
    assert found is not None
    return found


@pytest.mark.parametrize("source", [0, 1])
@pytest.mark.parametrize("honest", [TRUTH, REFUSED], ids=["served", "refused"])
@pytest.mark.parametrize(
    "forged", [TRUTH, [TRUTH[0], receipt_of(shouted(B), gas=42_000)]], ids=["whole", "in capitals"]
)
async def test_of_two_the_one_lied_whose_logs_are_not_those_of_the_receipts(
    forged: list[Json], honest: Any, source: int
) -> None:
    """Whoever serves them, whoever is asked first, and however they are spelt."""
    async with speaking(Speaker([A], forged), Speaker([A, B], honest)) as case:
        found = await contradiction(case, source)
        assert found.liar is case.rpc.endpoints[0]
        assert case.lying() == [0]
        assert len(found.missed) == (source == 0), "what the first one left out we were not given by it alone"


async def test_of_two_who_prove_nothing_the_one_lied_whose_logs_do_not_make_up_the_bloom() -> None:
    spoilt = lambda header: header | {"mixHash": None}  # noqa: E731
    async with speaking(Speaker([A], [TRUTH[0]], spoilt), Speaker([A, B], TRUTH, spoilt)) as case:
        found = await contradiction(case, 0)
        assert (found.liar, found.missed) == (case.rpc.endpoints[0], ())


# --- what waits


async def test_blocks_that_did_not_have_their_turn_have_it_next_and_the_newest_always() -> None:
    """However many come within one look; what touched nothing is left out, and the oldest beyond the limit."""
    async with speaking(Speaker([A, B], TRUTH)) as case:
        seen = await case.seen()
        case.witness.take(9)
        endpoint = case.rpc.endpoints[0]
        for number in range(20):
            empty = number % 5 == 0
            bloom = bytes(255) + b"\1" if empty else seen.block.bloom
            block = Block(BlockRef(number, number.to_bytes(32, "big")), bytes(32), number, bloom=bloom)
            case.witness.note(block, WANTED, (), HeadRead([] if empty else list(seen.logs), [], [], endpoint))
        turns = [[one.block.number for one in case.witness.take(8)] for _ in range(4)]
        assert turns == [[1, 2, 3, 4, 6, 7, 8, 19], [9, 11, 12, 13, 14, 16, 17, 18], [], []]
        for number in range(REMEMBERED + 5):
            block = Block(BlockRef(number, number.to_bytes(32, "big")), bytes(32), number, bloom=seen.block.bloom)
            case.witness.note(block, WANTED, (), HeadRead(list(seen.logs), [], [], endpoint))
        assert len(case.witness.take(1_000)) == REMEMBERED

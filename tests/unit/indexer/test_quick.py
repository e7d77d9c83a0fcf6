"""What is ready to be asked of the next block is asked as its head comes, and the head waits for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from keeper.core.errors import RpcUnavailable
from keeper.core.multicall import MULTICALL3
from keeper.core.types import Block, BlockRef, Call, CallResult
from keeper.indexer.rpc import quick
from keeper.indexer.rpc.address import parse_address
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.mux import Subscription
from keeper.indexer.rpc.pool import EndpointPool, RpcSettings
from keeper.indexer.rpc.proof import header_hash
from keeper.indexer.rpc.quick import PATIENCE_S, QuickQuestion, Reflex
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.indexer.rpc.wire import WireHeader
from tests.unit.indexer.test_proof import with_

PARENT = BlockRef(1, b"\x11" * 32)
CALL = Call(b"\x22" * 20, b"\x33" * 4)
ANSWER = b"\x00" * 31 + b"\x07"


class Wire(DuplexTransport):
    """A connection whose other end is the test."""

    def __init__(self) -> None:
        super().__init__(parse_address("/nowhere/node.ipc"))
        self.sent: list[Any] = []

    async def open(self, timeout_s: float) -> None: ...
    async def close(self) -> None: ...

    async def write(self, payload: bytes) -> None:
        self.write_now(payload)

    def write_now(self, payload: bytes) -> None:
        self.sent.append(msgspec.json.decode(payload))

    def says(self, message: dict[str, Any]) -> None:
        self.mux.feed(msgspec.json.encode({"jsonrpc": "2.0", **message}))

    def tells(self, header: WireHeader) -> None:
        self.says({"method": "eth_subscription", "params": {"subscription": "0x1", "result": header}})

    def answers(self, **said: Any) -> None:
        self.says({"id": self.sent[-1]["id"], **(said or {"result": "0x" + ANSWER.hex()})})


class Asked:
    """A question about the child of PARENT over a wire, and what became of it."""

    def __init__(self) -> None:
        self.wire, self.endpoint = Wire(), Endpoint("/nowhere/node.ipc", 1)
        self.pool = EndpointPool([self.endpoint], RpcSettings())
        self.heads: Subscription = self.wire.mux.subscribed("0x1", 8)
        self.reflex = Reflex(self.pool, self.endpoint, self.wire, self.heads)
        self.heads.holds = self.reflex.holds
        self.told: list[Block] = []
        self.answered: list[tuple[Block, Sequence[CallResult]]] = []
        self.left: list[asyncio.Future[Any]] = []
        self.wanted = True
        self.ask()

    def ask(self, calls: Sequence[Call] = (CALL,)) -> None:
        self.pool.quick = QuickQuestion(PARENT, calls, self._announced, self._answered)

    def _announced(self, block: Block, came_at_ns: int) -> bool:
        self.told.append(block)
        return self.wanted

    def _answered(self, block: Block, results: Sequence[CallResult]) -> Sequence[asyncio.Future[Any]]:
        self.answered.append((block, results))
        return self.left

    def waiting(self) -> int:
        return len(self.heads.waiting(8))


def child(parent: BlockRef = PARENT, **changes: Any) -> WireHeader:
    header = with_(number="0x2", parent_hash="0x" + parent.hash.hex(), **changes)
    return msgspec.structs.replace(header, hash="0x" + (header_hash(header) or b"").hex())


async def test_the_question_leaves_and_the_answer_acts_without_a_turn_of_the_loop() -> None:
    """At the hash of the head, which goes its way only then."""
    asked, head = Asked(), child()
    asked.wire.tells(head)
    [message] = asked.wire.sent
    assert message["method"] == "eth_call"
    assert message["params"][0]["to"] == "0x" + CALL.target.hex()
    assert message["params"][1] == {"blockHash": head.hash}
    assert asked.waiting() == 0
    asked.wire.answers()
    [(block, results)] = asked.answered
    assert ("0x" + block.hash.hex(), results) == (head.hash, [ANSWER])
    assert asked.told == [block]
    assert asked.waiting() == 1


async def test_the_head_is_not_parsed_twice() -> None:
    asked = Asked()
    asked.wire.tells(child())
    asked.wire.answers()
    [push] = asked.heads.waiting(1)
    block, _ = asked.reflex.taken(push) or (None, 0)
    assert block is asked.answered[0][0]


async def test_one_that_is_no_child_goes_its_way_at_once_and_the_question_stays() -> None:
    asked = Asked()
    asked.wire.tells(child(BlockRef(1, b"\x12" * 32)))
    assert (asked.wire.sent, asked.waiting()) == ([], 1)
    assert asked.pool.quick is not None


async def test_of_two_children_one_is_asked_about_and_their_order_stays() -> None:
    """A head that comes while another is held back sends that one on first."""
    asked = Asked()
    first, second = child(), child(timestamp="0x5")
    asked.wire.tells(first)
    asked.wire.tells(second)
    assert len(asked.wire.sent) == 1
    order = [msgspec.json.decode(push)["hash"] for push in asked.heads.waiting(8)]
    assert order == [first.hash, second.hash]
    asked.wire.answers()
    assert ["0x" + block.hash.hex() for block, _ in asked.answered] == [first.hash]


async def test_a_header_that_its_hash_does_not_name_decides_nothing() -> None:
    """Neither one that is a lie nor one that nobody can prove; the head goes its way, to be refused there."""
    for change in ({"timestamp": "0x6"}, {"state_root": None}):
        asked = Asked()
        asked.wire.tells(msgspec.structs.replace(child(), **change))
        asked.wire.answers()
        assert (asked.told, asked.answered, asked.waiting()) == ([], [], 1)


async def test_a_node_that_does_not_answer_holds_a_head_up_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer then still comes beside; and no further head is held back for it until it is prompt again."""
    monkeypatch.setattr(quick, "PATIENCE_S", 20 * PATIENCE_S)  # a busy machine takes a while between two lines here
    asked = Asked()
    asked.wire.tells(child())
    await asyncio.sleep(40 * PATIENCE_S)
    assert asked.waiting() == 1
    asked.wire.answers()
    assert len(asked.answered) == 1
    assert asked.waiting() == 0
    for timestamp, held in (("0x5", 0), ("0x6", 1)):
        asked.ask()
        asked.wire.tells(child(timestamp=timestamp))
        assert asked.waiting() == 1 - held
        asked.wire.answers()
        assert asked.waiting() == held
    assert len(asked.answered) == 3


@pytest.mark.parametrize("said", [{"error": {"code": -32000, "message": "header not found"}}, {"result": "0x0"}, {}])
async def test_an_answer_that_is_none_lets_the_head_go(said: dict[str, Any]) -> None:
    asked = Asked()
    asked.wire.tells(child())
    asked.wire.says({"id": asked.wire.sent[-1]["id"], **said})
    assert (asked.answered, asked.waiting()) == ([], 1)


async def test_calls_that_may_have_starved_prove_nothing() -> None:
    """Within one multicall, as everywhere (`CallPlan`)."""
    asked = Asked()
    asked.ask([CALL, CALL])
    asked.wire.tells(child())
    assert asked.wire.sent[-1]["params"][0]["to"] == "0x" + MULTICALL3.hex()
    words = [32, 2, 64, 160, 0, 64, 0, 0, 64, 0]
    asked.wire.answers(result="0x" + b"".join(word.to_bytes(32, "big") for word in words).hex())
    assert (asked.answered, asked.waiting()) == ([], 1)


async def test_what_nobody_wants_to_know_is_not_waited_for() -> None:
    asked = Asked()
    asked.wanted = False
    asked.wire.tells(child())
    assert asked.waiting() == 1
    asked.wire.answers()
    assert asked.answered == []


async def test_the_head_waits_until_the_node_has_taken_what_was_sent() -> None:
    asked = Asked()
    asked.left = [asyncio.get_running_loop().create_future()]
    asked.wire.tells(child())
    asked.wire.answers()
    assert asked.waiting() == 0
    asked.left[0].set_result(None)
    await asyncio.sleep(0)
    assert asked.waiting() == 1


async def test_a_connection_that_breaks_meanwhile_loses_no_head() -> None:
    asked = Asked()
    asked.wire.tells(child())
    asked.wire.lost(RpcUnavailable("gone"))
    assert asked.answered == []
    assert asked.waiting() == 1
    with pytest.raises(RpcUnavailable):
        await asked.heads.get()


async def test_an_endpoint_in_disgrace_is_not_asked() -> None:
    asked = Asked()
    asked.endpoint.failed(RpcUnavailable("silent"))
    asked.wire.tells(child())
    assert (asked.wire.sent, asked.waiting()) == ([], 1)

"""The same question to other endpoints, over real connections: who is late, who contradicts, and who of two lied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keeper.core.types import Block, Call, LogFilter
from keeper.executor.ports import Opportunity
from keeper.indexer.fetch import HeadRead
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.witness import Seen, Witness
from keeper.second import OtherEndpoints
from tests.support.fault_node import FakeChain, FaultNode, Hang

CALL = Call(b"\x0a" * 20, b"\x01" * 4)
NO_LOGS = LogFilter(frozenset(), frozenset())
KEY = b"\x0b" * 20


@dataclass
class Case:
    """Endpoints that answer one call at one block; the first told of the block, and what it says is what we hold."""

    nodes: list[FaultNode]
    rpc: RpcClient
    witness: Witness
    seen: Seen


@asynccontextmanager
async def saying(*answers: int) -> AsyncIterator[Case]:
    chain = FakeChain()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(chain.serve(FaultNode())) for _ in answers]
        for node, answer in zip(nodes, answers, strict=True):
            node.on("eth_call", lambda *_, answer=answer: f"0x{answer:064x}")
        rpc = await RpcClient.connect([node.ws for node in nodes], 31337, call_timeout_s=5)
        stack.push_async_callback(rpc.close)
        block = await rpc.block_by_number("latest")
        assert block is not None
        source, result = rpc.endpoints[0], answers[0].to_bytes(32, "big")
        witness = Witness(rpc)
        witness.note(block, NO_LOGS, [CALL], HeadRead([], [result], [], source))
        yield Case(nodes, rpc, witness, Seen(block, NO_LOGS, (CALL,), (), (result,), source))


@pytest.mark.parametrize(("answers", "liar"), [((7, 8, 8), 0), ((7, 8, 7), 1)])
async def test_of_two_who_insist_a_third_says_who_lied(answers: tuple[int, ...], liar: int) -> None:
    """Each stands by its answer when asked again; who is alone with it lied, whichever of the two it is."""
    async with saying(*answers) as case:
        found = await case.witness.compare(case.seen, case.rpc.endpoints[1])
        assert found is not None and found.liar is case.rpc.endpoints[liar]
        assert [one.quarantine.active for one in case.rpc.endpoints] == [n == liar for n in range(3)]


@pytest.mark.parametrize("answers", [(7, 8), (7, 8, 9)])
async def test_where_nobody_agrees_nobody_is_said_to_have_lied(answers: tuple[int, ...]) -> None:
    async with saying(*answers) as case:
        found = await case.witness.compare(case.seen, case.rpc.endpoints[1])
        assert found is not None and found.liar is None
        assert case.rpc.lying() == []


def position() -> Opportunity:
    """One of which the contract says a number, and of which we hold 7."""
    adapter = SimpleNamespace(
        confirm_calls=lambda market, key: [CALL],
        native_view=lambda results: {"health": int.from_bytes(results[0], "big")},
        assess=lambda *_: SimpleNamespace(native={"health": 7}),
        position_id=lambda key: f"toy:{key.hex()}",
    )
    book = SimpleNamespace(market=None, prices=None, positions={KEY: object()})
    return Opportunity(cast(Any, SimpleNamespace(name="toy", adapter=adapter, book=book)), KEY)


async def opinion(case: Case, deadline_s: float = 5.0) -> Any:
    one, block = position(), case.seen.block
    asking = OtherEndpoints(case.witness, deadline_s).ask(cast(Block, block), [one])
    assert asking is not None
    return (await asking)(one)


async def test_who_has_not_answered_in_time_has_no_say() -> None:
    """Whatever it would say: a position is not held for one that hangs, nor waited for."""
    async with saying(7, 8) as case:
        case.nodes[1].fail("eth_call", Hang())
        async with asyncio.timeout(2):
            assert await opinion(case, deadline_s=0.1) is None
        assert (await opinion(case)).contradicts, "asked in time it says otherwise"


async def test_a_position_that_another_endpoint_sees_otherwise_is_to_be_read_again() -> None:
    """Once: who of the two is right, what we hold may be what is wrong."""
    async with saying(7, 8) as case:
        assert "health 7 / 8" in (await opinion(case)).contradicts
        assert case.witness.take_distrusted("toy") == {KEY}
        assert case.witness.take_distrusted("toy") == frozenset()


async def test_a_position_that_another_endpoint_confirms_is_not() -> None:
    async with saying(7, 7) as case:
        assert (await opinion(case)).confirms
        assert case.witness.take_distrusted("toy") == frozenset()


async def test_of_three_the_one_that_is_alone_with_what_it_sees_lied() -> None:
    """Nothing is held, nothing is read again, and the odd one out is asked nothing more."""
    async with saying(7, 8, 7) as case:
        assert (await opinion(case)).confirms
        assert [one.quarantine.active for one in case.rpc.endpoints] == [False, True, False]
        assert case.witness.take_distrusted("toy") == frozenset()


async def test_of_three_the_one_that_told_us_of_the_block_may_be_the_odd_one_out() -> None:
    """What it said is what we hold, so that is read again all the same."""
    async with saying(7, 8, 8) as case:
        assert (await opinion(case)).contradicts
        assert [one.quarantine.active for one in case.rpc.endpoints] == [True, False, False]
        assert case.witness.take_distrusted("toy") == {KEY}

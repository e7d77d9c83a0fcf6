"""One round trip tells what would succeed, on nodes that can simulate a sequence and on those that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keeper.core.errors import RpcMalformed, RpcRefused, RpcUnavailable
from keeper.core.types import BlockRef, Log, TxCall
from keeper.executor.ahead import Ahead
from keeper.executor.ports import Request
from keeper.executor.simulate import Simulator, Verdict, verdict_of
from keeper.executor.trial import Trial, try_out

BLOCK = BlockRef(9, b"\x09" * 32)
PINNED = {"blockHash": "0x" + BLOCK.hash.hex()}
CALLS = [TxCall(b"\x02" * 20, b"\xaa"), TxCall(b"\x03" * 20, b"\xbb", value_wei=5)]
LANDING_AT = 1_700_000_012
REVERTED = RpcRefused("execution reverted", 3, b"why")


class Node:
    """Answers one prepared batch after another."""

    def __init__(self, *batches: list[Any]) -> None:
        self.batches = list(batches)
        self.asked: list[list[Request]] = []

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        self.asked.append(list(requests))
        return self.batches.pop(0)


def sequence(*results: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"calls": list(results)}]


GOOD = {"status": "0x1", "gasUsed": "0xc350", "returnData": "0x"}


async def test_calls_are_simulated_in_sequence_at_the_landing_time() -> None:
    bad = {"status": "0x0", "gasUsed": "0x32", "returnData": "0x", "error": {"code": 3, "data": "0x776879"}}
    node = Node([sequence(GOOD, bad), "0x2a"])
    verdicts, answers = await Simulator(node, b"\x01" * 20).run(CALLS, BLOCK, LANDING_AT, [("eth_call", ())])
    assert verdicts == [Verdict(True, 50_000), Verdict(False, 50, b"why")]
    assert answers == ["0x2a"]
    [[(method, (options, block)), extra]] = node.asked
    assert (method, block, extra) == ("eth_simulateV1", PINNED, ("eth_call", ()))
    [state] = options["blockStateCalls"]
    assert state["blockOverrides"] == {"number": hex(BLOCK.number + 1), "time": hex(LANDING_AT)}
    assert state["calls"][1] == {"from": "0x" + "01" * 20, "to": "0x" + "03" * 20, "input": "0xbb", "value": "0x5"}


async def test_a_revert_without_error_data_is_read_from_what_it_returned() -> None:
    node = Node([sequence({"status": "0x0", "gasUsed": "0x1", "returnData": "0x776879"})])
    verdicts, _ = await Simulator(node, b"").run(CALLS[:1], BLOCK, LANDING_AT)
    assert verdicts == [Verdict(False, 1, b"why")]


async def test_a_node_without_sequences_is_asked_call_by_call_from_then_on() -> None:
    missing = RpcRefused("the method eth_simulateV1 does not exist", -32601)
    node = Node([missing], ["0x", REVERTED], ["0x", "0x"])
    simulator = Simulator(node, b"")
    verdicts, _ = await simulator.run(CALLS, BLOCK, LANDING_AT)
    assert verdicts == [Verdict(True), Verdict(False, None, b"why")]
    assert not simulator.in_sequence
    await simulator.run(CALLS, BLOCK, LANDING_AT)
    assert [len(asked) for asked in node.asked] == [1, 2, 2]
    assert node.asked[-1][0][1][1:] == (PINNED, {}, {"number": hex(BLOCK.number + 1), "time": hex(LANDING_AT)})


async def test_a_node_that_knows_no_overrides_is_asked_without() -> None:
    missing, too_many = RpcRefused("not found", -32601), RpcRefused("too many arguments, want at most 3", -32602)
    node = Node([missing], [too_many, too_many], ["0x", REVERTED])
    verdicts, _ = await Simulator(node, b"").run(CALLS, BLOCK, LANDING_AT)
    assert verdicts == [Verdict(True), Verdict(False, None, b"why")]
    assert len(node.asked[-1][0][1]) == 2


async def test_a_refusal_for_the_moment_does_not_give_sequences_up() -> None:
    node = Node([RpcRefused("block timestamps must be in order", -38021)], ["0x", "0x"], [sequence(GOOD, GOOD)])
    simulator = Simulator(node, b"")
    assert await simulator.run(CALLS, BLOCK, LANDING_AT) == ([Verdict(True)] * 2, [])
    assert simulator.in_sequence
    assert await simulator.run(CALLS, BLOCK, LANDING_AT) == ([Verdict(True, 50_000)] * 2, [])


async def test_what_the_node_did_not_answer_is_no_verdict() -> None:
    node = Node([RpcUnavailable("timed out"), RpcUnavailable("timed out")])
    verdicts, _ = await Simulator(node, b"").run(CALLS, BLOCK, LANDING_AT, [("eth_call", ())])
    assert verdicts == [None, None]


@pytest.mark.parametrize("answer", [[], [{}], [{"calls": [GOOD]}], [{"calls": [{**GOOD, "status": None}, GOOD]}], None])
async def test_an_answer_of_another_shape_is_malformed(answer: Any) -> None:
    with pytest.raises(RpcMalformed):
        await Simulator(Node([answer]), b"").run(CALLS, BLOCK, LANDING_AT)


LOG = {"address": "0x" + "0C" * 20, "topics": ["0x" + "AB" * 32], "data": "0x"}


async def test_logs_are_told_in_lower_case() -> None:
    [verdict], _ = await Simulator(Node([sequence({**GOOD, "logs": [LOG]})]), b"").run(CALLS[:1], BLOCK, LANDING_AT)
    assert verdict is not None
    assert verdict.logs == (Log("0x" + "0c" * 20, ("0x" + "ab" * 32,), "0x"),)


@pytest.mark.parametrize(
    "lie",
    [
        {"gasUsed": "0x0"},
        {"gasUsed": "0x5207"},
        {"gasUsed": "-0xf4240"},
        {"gasUsed": "0x" + "f" * 16},
        {"gasUsed": 50_000},
        {"status": "0x2"},
        {"status": "-0x1"},
        {"returnData": "0x1"},
        {"returnData": "hello"},
        {"returnData": "0x 12"},
        {"logs": [{**LOG, "data": None}]},
        {"logs": [{**LOG, "data": "0x1"}]},
        {"logs": [{**LOG, "topics": [1, 2]}]},
        {"logs": [{**LOG, "topics": ["0x01"]}]},
        {"logs": [{**LOG, "address": "0x"}]},
        {"logs": 7},
    ],
)
async def test_how_no_call_can_end_is_no_verdict(lie: dict[str, Any]) -> None:
    """Neither gas that no transaction can use, which would be signed as a limit, nor logs that cannot be read."""
    with pytest.raises(RpcMalformed):
        await Simulator(Node([sequence({**GOOD, **lie})]), b"").run(CALLS[:1], BLOCK, LANDING_AT)


@pytest.mark.parametrize("told", [{"error": "no"}, {"error": {"data": None}}, {"error": None, "gasUsed": "0x0"}])
async def test_a_revert_may_be_told_in_few_words(told: dict[str, Any]) -> None:
    bad = {"status": "0x0", "gasUsed": "0x32", "returnData": "0x776879", **told}
    [verdict], _ = await Simulator(Node([sequence(bad)]), b"").run(CALLS[:1], BLOCK, LANDING_AT)
    assert verdict is not None
    assert (verdict.succeeded, verdict.revert) == (False, b"why")


@pytest.mark.parametrize("answer", ["0x1", "hello", "0x 12", None, 7, {}])
async def test_what_no_call_returns_is_no_verdict(answer: Any) -> None:
    """Each call is answered for itself."""
    node = Node([RpcRefused("no", -32000)], [answer, "0x"])
    verdicts, _ = await Simulator(node, b"").run(CALLS, BLOCK, LANDING_AT)
    assert verdicts == [None, Verdict(True)]


async def test_nothing_a_node_says_is_an_error_where_things_are_tried_out() -> None:
    """Be it of the calls one by one, or of what may be one transaction: it is judged with a later block."""
    wrong, simulator = sequence({**GOOD, "gasUsed": "0x0"}), Simulator(Node(), b"")
    assert simulator.read(wrong, 1) == [None]
    chosen = SimpleNamespace(plan=SimpleNamespace(call=CALLS[0]))
    trial = Trial([], [], [cast(Any, chosen)])
    outcome = await try_out(Simulator(Node([wrong]), b""), trial, BLOCK, LANDING_AT, 1.0)
    assert outcome.chosen == [None]


def test_only_a_revert_explains_a_failure() -> None:
    assert verdict_of(REVERTED) == Verdict(False, None, b"why")
    assert verdict_of("0x") == Verdict(True)
    assert verdict_of(RpcUnavailable("timed out")) is None
    assert verdict_of(RpcRefused("missing trie node", -32000)) is None


# --- behind a price update --------------------------------------------------------------------------------------------

UPDATE = Ahead(
    b"\x0f" * 32,
    sender=b"\x55" * 20,
    call=TxCall(b"\x66" * 20, b"\xcc"),
    gas_limit=255,
    stand_ins={b"\x66" * 20: b"\xfe"},
)
_COST = {"value": "0x0", "gas": "0xff"}
EFFECT = {"0x" + "66" * 20: {"code": "0xfe"}}


async def test_the_update_is_run_first_and_what_follows_it_returns_is_told() -> None:
    told = {**GOOD, "returnData": "0x0102"}
    node = Node([sequence(GOOD, told, GOOD)])
    verdicts, _ = await Simulator(node, b"\x01" * 20).run(CALLS, BLOCK, LANDING_AT, (), UPDATE)
    assert verdicts == [Verdict(True, 50_000, output=b"\x01\x02"), Verdict(True, 50_000)]
    [[(_, (options, _))]] = node.asked
    [state] = options["blockStateCalls"]
    assert state["calls"][0] == {"from": "0x" + "55" * 20, "to": "0x" + "66" * 20, "input": "0xcc", **_COST}
    assert "stateOverrides" not in state


async def test_behind_an_update_that_fails_nobody_can_say_anything() -> None:
    bad = {"status": "0x0", "gasUsed": "0x32", "returnData": "0x"}
    verdicts, answers = await Simulator(Node([sequence(bad, GOOD, GOOD), 7]), b"").run(
        CALLS, BLOCK, LANDING_AT, [("eth_call", ())], UPDATE
    )
    assert (verdicts, answers) == ([None, None], [7])


async def test_of_a_hint_the_effect_is_put_in_place() -> None:
    node = Node([sequence(GOOD, GOOD)])
    hint = replace(UPDATE, call=None)
    verdicts, _ = await Simulator(node, b"").run(CALLS, BLOCK, LANDING_AT, (), hint)
    assert verdicts == [Verdict(True, 50_000)] * 2
    [[(_, (options, _))]] = node.asked
    assert options["blockStateCalls"][0]["stateOverrides"] == EFFECT


async def test_so_it_is_on_a_node_without_sequences() -> None:
    """And without knowing the effect nothing is asked."""
    missing = RpcRefused("the method does not exist", -32601)
    node = Node([missing], ["0x", REVERTED], [])
    simulator = Simulator(node, b"")
    verdicts, _ = await simulator.run(CALLS, BLOCK, LANDING_AT, (), UPDATE)
    assert verdicts == [Verdict(True), Verdict(False, None, b"why")]
    assert [params[2] for _, params in node.asked[1]] == [EFFECT, EFFECT]
    assert await simulator.run(CALLS, BLOCK, LANDING_AT, (), replace(UPDATE, stand_ins={})) == ([None, None], [])

"""Calls are packed into few requests, and a failure is believed only where it proves something."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from eth_abi.abi import encode

from keeper.core.errors import RpcMalformed, RpcRefused, StateUnavailable
from keeper.core.types import BlockRef, Call
from keeper.indexer.rpc.calls import CallPlan, read_single
from keeper.indexer.rpc.gasproof import ANSWER, LEAST_GAS

BLOCK = BlockRef(7, b"\x07" * 32)
CALLS = [Call(bytes([i]) * 20, bytes([i]) * 4) for i in range(1, 6)]


def answer(*outcomes: tuple[bool, bytes]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode("0x" + encode(["(bool,bytes)[]"], [outcomes]).hex()))


def test_every_request_is_pinned_to_the_hash_of_the_block() -> None:
    plan = CallPlan(CALLS, BLOCK, max_calls=2, max_bytes=10_000)
    assert [params[1] for _, params in plan.requests] == [{"blockHash": "0x" + "07" * 32}] * 3


def test_a_last_single_call_is_made_directly() -> None:
    plan = CallPlan(CALLS, BLOCK, max_calls=2, max_bytes=10_000)
    assert plan.requests[2][1][0] == {"to": "0x" + "05" * 20, "data": "0x05050505"}


def test_a_request_is_bounded_in_bytes() -> None:
    assert len(CallPlan(CALLS, BLOCK, max_calls=100, max_bytes=450).requests) == 3


def test_results_come_in_the_order_of_the_calls() -> None:
    plan = CallPlan(CALLS[:4], BLOCK, max_calls=2, max_bytes=10_000)
    results, alone = plan.read([answer((True, b"a"), (True, b"b")), answer((True, b"c"), (False, b"reason"))])
    assert (results, alone) == ([b"a", b"b", b"c", None], [])


def test_a_failure_without_data_inside_a_multicall_is_asked_again_alone() -> None:
    """It may have been starved of gas by the calls before it."""
    plan = CallPlan(CALLS[:2], BLOCK, max_calls=10, max_bytes=10_000)
    assert plan.read([answer((True, b"a"), (False, b""))]) == ([b"a", None], [1])


def test_an_empty_failure_is_believed_where_enough_gas_was_left_at_the_end() -> None:
    """Not where the proof failed as well, or came out wrong (a chain whose precompile is another)."""
    plan = CallPlan(CALLS[:2], BLOCK, max_calls=10, max_bytes=10_000, prove_gas=True)
    two = ((True, b"a"), (False, b""))
    assert plan.read([answer(*two, (True, ANSWER))]) == ([b"a", None], [])
    assert plan.read([answer(*two, (False, b""))]) == ([b"a", None], [1])
    assert plan.read([answer(*two, (True, b""))]) == ([b"a", None], [1])
    assert plan.read([answer(*two, (True, bytes(len(ANSWER))))]) == ([b"a", None], [1])


def test_what_proves_that_gas_was_left_takes_a_hundred_thousand() -> None:
    """A call that burned 63/64 of more than 64 times that is no view that anybody makes."""
    assert 100_000 < LEAST_GAS < 110_000


def test_an_address_without_code_answers_nothing() -> None:
    """The call succeeds and returns no data: that is no value."""
    plan = CallPlan(CALLS[:2], BLOCK, max_calls=10, max_bytes=10_000)
    assert plan.read([answer((True, b""), (True, b"b"))]) == ([None, b"b"], [])


def test_where_multicall3_does_not_exist_every_call_is_asked_alone() -> None:
    plan = CallPlan(CALLS, BLOCK, max_calls=10, max_bytes=10_000)
    assert plan.read([msgspec.Raw(b'"0x"')])[1] == [0, 1, 2, 3, 4]


def test_a_multicall_that_is_refused_as_a_whole_is_asked_call_by_call() -> None:
    plan = CallPlan(CALLS[:3], BLOCK, max_calls=10, max_bytes=10_000)
    assert plan.read([RpcRefused("out of gas", -32000)])[1] == [0, 1, 2]


def test_missing_state_is_not_a_result() -> None:
    plan = CallPlan(CALLS[:3], BLOCK, max_calls=10, max_bytes=10_000)
    with pytest.raises(StateUnavailable):
        plan.read([StateUnavailable("pruned")])


def test_a_single_call_out_of_gas_is_an_error_not_a_revert() -> None:
    assert read_single(RpcRefused("execution reverted", 3), CALLS[0]) is None
    with pytest.raises(RpcRefused):
        read_single(RpcRefused("out of gas", -32000), CALLS[0])


def test_a_contract_of_anybody_that_burns_all_gas_answers_nothing_and_starves_only_its_like() -> None:
    """Its calls make multicalls of their own; asked alone, running out is an answer."""
    theirs = [replace(call, anybody=True) for call in CALLS[:2]]
    plan = CallPlan([*CALLS[:2], *theirs, *CALLS[2:3]], BLOCK, max_calls=10, max_bytes=10_000)
    assert len(plan.requests) == 3
    for words in ("out of gas", "execution aborted (timeout = 5s)"):
        assert read_single(RpcRefused(words, -32000), theirs[0]) is None
    with pytest.raises(RpcRefused):
        read_single(RpcRefused("header not found", -32000), theirs[0])


def test_truncated_hex_is_malformed() -> None:
    with pytest.raises(RpcMalformed):
        read_single(msgspec.Raw(b'"0x123"'), CALLS[0])

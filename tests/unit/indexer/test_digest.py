"""Logs that are read, proven and used a part at a time are those of the answer as a whole, or none are."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError, RpcMalformed
from keeper.core.types import LogFilter
from keeper.indexer import digest as digesting
from keeper.indexer.digest import digest, in_parts
from keeper.indexer.logs import LogQuery, read_logs
from keeper.indexer.rpc.wire import WireLog

POOL, TOPIC = "0x" + "ab" * 20, "0x" + "cd" * 32
QUERY = LogQuery(LogFilter(frozenset({bytes.fromhex(POOL[2:])}), frozenset({bytes.fromhex(TOPIC[2:])})))


def told(number: int, index: int, **fields: Any) -> dict[str, Any]:
    """A log as a node writes it."""
    return {
        "address": POOL,
        "topics": [TOPIC, "0x" + "01" * 32],
        "data": "0x" + "ef" * 32,
        "blockNumber": hex(number),
        "blockHash": "0x" + "11" * 32,
        "transactionHash": "0x" + "22" * 32,
        "logIndex": hex(index),
        "removed": False,
        **fields,
    }


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def compact(logs: Iterable[Any]) -> str:
    return json.dumps(list(logs), separators=(",", ":"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digesting, "PART_BYTES", 1_000)  # two logs or three


ODD: list[dict[str, Any]] = [
    {},
    {"address": POOL.upper().replace("X", "x")},
    {"address": "0x" + "00" * 20},
    {"data": "0xzz"},
    {"topics": []},
    {"topics": [TOPIC, "0x12"]},
    {"topics": [TOPIC, "0y" + "01" * 32]},
    {"topics": [TOPIC, "00x" + "1" * 63]},
    {"logIndex": "0x0"},
    {"blockNumber": "0x1"},
    {"blockNumber": "0xffff"},
    {"removed": True},
    {"data": None},
    {"note": "},{"},
    {"note": [{"a": 1}, {"b": 2}]},
    {"note": "é"},
    {"data": "0xé9"},
]


@given(st.integers(0, 12), st.integers(0, 11), st.sampled_from(ODD), st.booleans(), st.integers(100, 3_000))
def test_what_is_made_of_parts_is_made_of_the_whole(
    count: int, at: int, fields: dict[str, Any], blanks: bool, part_bytes: int
) -> None:
    """The same logs, in the same order, or the same objection; wherever it is cut, and whatever one of them holds."""
    logs = [told(5 + number // 3, number, **(fields if number == at else {})) for number in range(count)]
    text = raw(json.dumps(logs, indent=1) if blanks else compact(logs))

    def whole() -> list[WireLog]:
        return QUERY.accept(read_logs(text), "logs", 0, 100)

    def parts() -> list[WireLog]:
        made, found = digest(QUERY, [text], "logs", 0, 100, list)
        assert found == len(made)
        return made

    def outcome(attempt: Any) -> Any:
        try:
            return attempt()
        except RpcMalformed as error:
            return type(error), str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digesting, "PART_BYTES", part_bytes)
        expected = outcome(whole)
        assert outcome(parts) == expected
    assert gc.isenabled()
    event(f"refused: {isinstance(expected, tuple)}")


def test_logs_are_used_while_later_ones_are_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of an answer that is as it nearly always is, everything is gone over once."""
    text, parts = raw(compact(told(5, number) for number in range(50))), 0

    def reading(part: Any) -> list[WireLog]:
        nonlocal parts
        parts += 1
        return read_logs(part)

    monkeypatch.setattr(digesting, "read_logs", reading)
    assert digest(QUERY, [text], "logs", 0, 100, lambda logs: [parts for _ in logs])[0][:4] == [1, 1, 2, 2]
    assert parts == len(list(in_parts(memoryview(text)))) > 10


def test_what_its_maker_raises_goes_through() -> None:
    def make(logs: Iterable[WireLog]) -> None:
        next(iter(logs))
        raise DecodeError("not of this shape")

    with pytest.raises(DecodeError, match="not of this shape"):
        digest(QUERY, [raw(compact([told(5, 0)]))], "logs", 0, 100, make)
    assert gc.isenabled()


def test_several_answers_are_put_in_chain_order_first() -> None:
    """Of a filter with more contracts than one request may name."""
    odd, even = (raw(compact(told(5, number) for number in range(first, 10, 2))) for first in (1, 0))
    made, found = digest(QUERY, [odd, even], "logs", 0, 100, list)
    assert [int(log.log_index, 16) for log in made] == list(range(10))
    assert found == 10


@pytest.mark.parametrize("text", ["{}", '"},{"', "null", "[]", "[1]", '{"a":[{},{}]}'])
def test_what_is_no_list_of_logs_is_not_taken_for_one(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digesting, "PART_BYTES", 0)
        if text == "[]":
            assert digest(QUERY, [raw(text)], "logs", 0, 100, list) == ([], 0)
        else:
            with pytest.raises(RpcMalformed, match="eth_getLogs result"):
                digest(QUERY, [raw(text)], "logs", 0, 100, list)

"""Logs are believed only when they are whole, asked for, and of the right block."""

from __future__ import annotations

import gc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import RpcMalformed
from keeper.core.types import LogFilter
from keeper.indexer import proof
from keeper.indexer.logs import LogQuery, accept_of_block, read_logs
from keeper.indexer.proof import in_order
from keeper.indexer.rpc.wire import WireLog

POOL, TOPIC, HASH = b"\xab" * 20, b"\xcd" * 32, b"\x11" * 32
QUERY = LogQuery(LogFilter(frozenset({POOL}), frozenset({TOPIC})))
GOOD = WireLog(
    address="0x" + POOL.hex(),
    topics=("0x" + TOPIC.hex(),),
    data="0x" + "ef" * 32,
    block_number="0x5",
    block_hash="0x" + HASH.hex(),
    transaction_hash="0x" + "22" * 32,
    log_index="0x0",
)


def changed(**fields: object) -> WireLog:
    return msgspec.structs.replace(GOOD, **fields)


def test_logs_are_put_in_chain_order() -> None:
    later = changed(block_number="0x6", log_index="0x0")
    second = changed(log_index="0x10")
    first = changed(log_index="0x9")
    assert QUERY.accept([later, second, first], "test", 0, 10) == [first, second, later]


WRONG: list[tuple[dict[str, object], str]] = [
    ({"address": "0x" + "00" * 20}, "not asked for"),
    ({"address": "0x" + "ab" * 19}, "not asked for"),
    ({"topics": ("0x" + "00" * 32,)}, "not asked for"),
    ({"topics": ()}, "without topics"),
    ({"data": "0x" + "ef" * 31 + "e"}, "no even hex"),
    ({"data": "0xzz"}, "no even hex"),
    ({"data": "0xab cd "}, "no even hex"),
    ({"data": "ab"}, "no even hex"),
    ({"block_number": "0xb"}, "outside of"),
    ({"block_number": "5"}, "no hex quantity"),
    ({"log_index": "0x_1"}, "no hex quantity"),
    ({"removed": True}, "removed"),
]


@pytest.mark.parametrize(("fields", "complaint"), WRONG)
def test_a_log_that_cannot_be_true_is_malformed(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(RpcMalformed, match=complaint):
        QUERY.accept([changed(**fields)], "test", 0, 10)


@pytest.mark.parametrize(
    "fields", [{"transaction_hash": "0x22"}, {"block_hash": "0x"}, {"topics": ("0x" + TOPIC.hex(), "0x12")}]
)
def test_a_log_with_a_truncated_word_is_not_read(fields: dict[str, object]) -> None:
    told = msgspec.Raw(msgspec.json.encode([changed(), changed(**fields)]))
    with pytest.raises(RpcMalformed, match=r"length >= 66 - at `\$\[1\]"):
        read_logs(told)
    assert gc.isenabled()


def rising(logs: list[WireLog]) -> bool:
    numbers = [(int(log.block_number, 16), int(log.log_index, 16)) for log in logs]
    return sorted(set(numbers)) == numbers


@given(
    st.lists(st.tuples(st.sampled_from(["0x1", "0x2", "0x20"]), st.sampled_from(["0x0", "0x9", "0xa"])), max_size=4),
    st.sampled_from([{}, *[fields for fields, _ in WRONG]]),
    st.integers(0, 3),
    st.integers(1, 4),
)
def test_many_logs_are_vouched_for_exactly_when_each_would_be(
    places: list[tuple[str, str]], fields: dict[str, object], at: int, at_once: int
) -> None:
    """In order, none twice, and nothing wrong with any; however many are looked at together."""
    logs = [changed(block_number=block, log_index=index) for block, index in places]
    if at < len(logs):
        logs[at] = msgspec.structs.replace(logs[at], **fields)
    wanted = ({"0x" + POOL.hex()}, {"0x" + TOPIC.hex()})
    try:
        accepted = QUERY.accept(logs, "test", 0, 10**3)
    except RpcMalformed:
        accepted = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "_AT_ONCE", at_once)
        vouched = in_order(logs, *wanted, 0, 10**3)
    assert vouched == (accepted == logs and rising(accepted))
    if at >= len(logs) or not fields:
        assert vouched == rising(logs)


def test_the_same_log_twice_is_malformed() -> None:
    with pytest.raises(RpcMalformed, match="two logs with index 0 in block 5"):
        QUERY.accept([GOOD, GOOD], "test", 0, 10)


def test_a_log_of_another_block_is_malformed() -> None:
    assert accept_of_block(QUERY, [GOOD], "test", 5, HASH) == [GOOD]
    with pytest.raises(RpcMalformed, match="another block"):
        accept_of_block(QUERY, [GOOD], "test", 5, b"\x12" * 32)


def test_checksummed_addresses_are_accepted_in_lower_case() -> None:
    """Some nodes write them; everything behind this compares lower case."""
    assert QUERY.accept([changed(address="0x" + POOL.hex().upper())], "test", 0, 10) == [GOOD]


def test_an_empty_filter_asks_nothing() -> None:
    """Without addresses eth_getLogs would return the whole chain's logs."""
    assert LogQuery(LogFilter(frozenset(), frozenset({TOPIC}))).requests({}) == []
    assert LogQuery(LogFilter(frozenset({POOL}), frozenset())).requests({}) == []


def test_very_many_addresses_are_asked_in_several_requests() -> None:
    addresses = frozenset(i.to_bytes(20, "big") for i in range(2500))
    requests = LogQuery(LogFilter(addresses, frozenset({TOPIC}))).requests({"blockHash": "0x"})
    assert [len(params[0]["address"]) for _, params in requests] == [1000, 1000, 500]


def test_a_query_can_be_divided_until_one_address_and_topic_are_left() -> None:
    whole = LogQuery(LogFilter(frozenset({POOL, b"\x01" * 20}), frozenset({TOPIC, b"\x02" * 32})))
    left, right = whole.halves() or (whole, whole)
    assert left.wanted.union(right.wanted) == whole.wanted
    assert not left.wanted.addresses & right.wanted.addresses
    low, high = left.halves() or (left, left)
    assert low.wanted.topics | high.wanted.topics == whole.wanted.topics
    assert low.halves() is None

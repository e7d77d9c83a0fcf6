"""Replies find their request by id, and pushes never stand in their way."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from keeper.core.errors import RpcMalformed, RpcUnavailable
from keeper.indexer.rpc.ipc import JsonSplitter
from keeper.indexer.rpc.mux import Exchange, Mux, SubscriptionOverflow


def reply(message_id: int, result: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": message_id, "result": result}


def push(subscription: str, result: object) -> bytes:
    params = {"subscription": subscription, "result": result}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


def results(exchange: Exchange) -> list[bytes | None]:
    return [None if message is None else bytes(message.result) for message in exchange.future.result()]


async def test_two_batches_whose_answers_cross_keep_their_results() -> None:
    """One client's websocket swapped them silently."""
    mux = Mux()
    two, three = mux.expect(2), mux.expect(3)
    mux.feed(msgspec.json.encode([reply(5, "e"), reply(3, "c"), reply(4, "d")]))
    mux.feed(msgspec.json.encode([reply(2, "b"), reply(1, "a")]))
    assert results(two) == [b'"a"', b'"b"']
    assert results(three) == [b'"c"', b'"d"', b'"e"']


async def test_a_batch_answered_one_by_one_is_complete_with_its_last() -> None:
    mux = Mux()
    exchange = mux.expect(2)
    mux.feed(msgspec.json.encode(reply(2, "b")))
    assert not exchange.future.done()
    mux.feed(msgspec.json.encode(reply(1, "a")))
    assert results(exchange) == [b'"a"', b'"b"']


async def test_an_answer_left_out_of_a_batch_is_a_gap_at_once() -> None:
    """Waiting for it would only end in a time-out."""
    mux = Mux()
    exchange = mux.expect(3)
    mux.feed(msgspec.json.encode([reply(3, "c"), reply(1, "a")]))
    assert results(exchange) == [b'"a"', None, b'"c"']


async def test_an_answer_nobody_waits_for_any_more_is_ignored() -> None:
    mux = Mux()
    late, current = mux.expect(1), mux.expect(1)
    mux.forget(late)
    mux.feed(msgspec.json.encode(reply(1, "late")))
    mux.feed(msgspec.json.encode(reply(2, "now")))
    assert results(current) == [b'"now"']
    assert not late.future.done()


@pytest.mark.parametrize(
    "payload", [b'{"jsonrpc":"2.0","id":1,"resu', b"<html>", b"", b'{"id":null,"error":{"code":-32700}}']
)
async def test_an_answer_that_names_no_request_ends_the_connection(payload: bytes) -> None:
    """Somebody's answer was in it."""
    with pytest.raises(RpcMalformed):
        Mux().feed(payload)


async def test_a_lost_connection_is_told_to_all_who_wait() -> None:
    mux = Mux()
    exchange, subscription = mux.expect(1), mux.subscribed("0x1", 10)
    mux.fail(RpcUnavailable("gone"))
    with pytest.raises(RpcUnavailable, match="gone"):
        await exchange.future
    with pytest.raises(RpcUnavailable, match="gone"):
        await subscription.get()


async def test_a_push_that_overtakes_its_confirmation_is_kept() -> None:
    mux = Mux()
    mux.feed(push("0x1", 1))
    assert bytes(await mux.subscribed("0x1", 10).get()) == b"1"


async def test_a_queue_nobody_reads_overflows_into_one_error_and_goes_on() -> None:
    """What was missed must be fetched: the reader learns of it instead of missing one silently."""
    mux = Mux()
    subscription = mux.subscribed("0x1", 3)
    for number in range(5):
        mux.feed(push("0x1", number))
    assert bytes(await subscription.get()) == b"4"
    with pytest.raises(SubscriptionOverflow):
        await subscription.get()
    mux.feed(push("0x1", 5))
    assert bytes(await subscription.get()) == b"5"


async def test_replies_flow_while_a_subscription_is_not_read() -> None:
    mux = Mux()
    mux.subscribed("0x1", 2)
    exchange = mux.expect(1)
    for number in range(100):
        mux.feed(push("0x1", number))
    mux.feed(msgspec.json.encode(reply(1, "a")))
    assert results(exchange) == [b'"a"']


async def test_the_newest_push_is_what_a_slow_reader_gets() -> None:
    mux = Mux()
    subscription = mux.subscribed("0x1", 10)
    for number in range(4):
        mux.feed(push("0x1", number))
    assert bytes(await asyncio.wait_for(subscription.newest(), 1)) == b"3"


MESSAGES = [b'{"a":"}]\\"{"}', b'[{"id":1},{"id":2}]', b'{"b":{"c":[]}}']


@pytest.mark.parametrize("separator", [b"\n", b"", b" "], ids=["newline", "none", "blank"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_stream_is_cut_into_messages_wherever_its_chunks_end(separator: bytes, size: int) -> None:
    """geth ends messages with a newline, Reth with nothing."""
    stream = b"".join(message + separator for message in MESSAGES * 2)
    splitter = JsonSplitter()
    found = [message for i in range(0, len(stream), size) for message in splitter.feed(stream[i : i + size])]
    assert [message.strip() for message in found] == MESSAGES * 2


async def test_a_lossy_queue_drops_the_oldest_and_counts() -> None:
    mux = Mux()
    subscription = mux.subscribed("0x1", 3, lossy=True)
    for number in range(10):
        mux.feed(push("0x1", number))
    assert subscription.dropped == 7
    assert bytes(await subscription.get()) == b"7"
    assert [bytes(item) for item in subscription.waiting(5)] == [b"8", b"9"]
    assert subscription.waiting(5) == []

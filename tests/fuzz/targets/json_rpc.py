"""What a node answers, as bytes: replies, pushes, headers, logs, pending transactions, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from keeper.core.errors import KeeperError
from keeper.core.types import LogFilter
from keeper.executor.ahead import read_pending
from keeper.indexer.logs import LogQuery, accept_of_block, read_logs
from keeper.indexer.rpc import faults
from keeper.indexer.rpc.ipc import JsonSplitter
from keeper.indexer.rpc.mux import Mux
from keeper.indexer.rpc.wire import WireReceipt, decode_any, decode_messages, decode_push, read_header, result_reader
from tests.fuzz.source import Source, bend_json

ALLOWED = (KeeperError,)
METHODS = ("eth_getLogs", "eth_call", "eth_sendRawTransaction", "eth_getBlockByNumber", "eth_subscribe")
_HASH, _WORD = "0x" + "ab" * 32, "0x" + "00" * 31 + "01"
_ADDRESS = "0x" + "11" * 20
_HEADER = (
    f'{{"number":"0x7","hash":"{_HASH}","parentHash":"{_HASH}","timestamp":"0x65","gasLimit":"0x1c9c380",'
    f'"gasUsed":"0x5208","baseFeePerGas":"0x7","logsBloom":"0x{"00" * 256}","extraData":"0x","nonce":"0x0"}}'
)
_LOG = (
    f'{{"address":"{_ADDRESS}","topics":["{_WORD}"],"data":"{_WORD}","blockNumber":"0x7","blockHash":"{_HASH}",'
    f'"transactionHash":"{_HASH}","logIndex":"0x0","removed":false}}'
)
_PENDING = (
    f'{{"hash":"{_HASH}","from":"{_ADDRESS}","to":"{_ADDRESS}","input":"0x","value":"0x0","gas":"0x5208","nonce":"0x1",'
    '"maxFeePerGas":"0x9","maxPriorityFeePerGas":"0x1","blockNumber":null}'
)
SEEDS = [
    text.encode()
    for text in (
        f'{{"jsonrpc":"2.0","id":1,"result":{_HEADER}}}',
        f'{{"jsonrpc":"2.0","id":2,"result":[{_LOG}]}}',
        f'{{"jsonrpc":"2.0","id":1,"result":{_PENDING}}}',
        '[{"id":2,"result":"0x1"},{"id":1,"error":{"code":-32005,"message":"limit","data":{"rate":{"backoff_seconds":2}}}}]',
        f'{{"method":"eth_subscription","params":{{"subscription":"0x9","result":{_HEADER}}}}}\n{{"id":1,"result":null}}\n',
        '{"id":1,"error":{"code":3,"message":"execution reverted: no","data":"0x08c379a0"}}',
        '{"id":1,"error":{"code":-32000,"message":"exceeded its exceeded its capacity, try again in 10 ms"}}',
        '{"id":1,"error":{"code":-32602,"message":"query returned more than 10000 results. Try [0x1, 0x2]"}}',
        f'{{"id":1,"result":{{"blockHash":"{_HASH}","logs":[{_LOG}]}}}}',
    )
]
_QUERY = LogQuery(LogFilter(frozenset({b"\x11" * 20}), frozenset({(1).to_bytes(32, "big")})))
_WHOLE = [seed for seed in SEEDS if b"\n" not in seed]
SEEDS += [bytes([seed, 2, 1, 3, 5, 9, 7, 1]) for seed in range(len(_WHOLE))]
_receipts = result_reader(list[WireReceipt], "receipts")


def run(data: bytes) -> None:
    """JSON as it is, or the number of a seed and how it is bent."""
    if data[:1] not in (b"{", b"["):
        source = Source(data)
        data = bend_json(source, source.pick(_WHOLE).decode())
    _frames(data)
    messages, _ = decode_messages(data)
    for message in messages:
        if message.method is not None:
            push = decode_push(message)
            if push is not None:
                _result(push.result)
        elif message.error is not None:
            for method in METHODS:
                _refusal(faults.understand(message.error, method, "node"))
        else:
            _result(message.result)


def _refusal(error: KeeperError) -> None:
    assert len(str(error)) < 2_000, "a node fills our log"
    faults.is_revert(error), faults.is_starved(error), faults.is_already_known(error)
    wait_s = getattr(error, "retry_after_s", None)
    assert wait_s is None or 0 <= wait_s < float("inf"), wait_s
    if isinstance(error, faults.LogRangeTooLarge):
        blocks = faults.suggested_blocks(error)
        assert blocks is None or blocks > 0


def _result(raw: msgspec.Raw) -> None:
    readers: tuple[Callable[[msgspec.Raw], Any], ...] = (
        lambda one: read_header(one, "block"),
        lambda one: accept_of_block(_QUERY, read_logs(one), "logs", 7, b"\xab" * 32),
        lambda one: _QUERY.accept(read_logs(one), "logs", 0, 100),
        _receipts,
        lambda one: _pending(decode_any(one, "transaction")),
    )
    for read in readers:
        try:
            read(raw)
        except KeeperError:
            continue


def _pending(answer: Any) -> None:
    """What is taken for a transaction can be simulated: whole addresses, no negative numbers."""
    ahead = read_pending(answer)
    if ahead is not None:
        assert (len(ahead.tx_hash), len(ahead.sender), len(ahead.call.to)) == (32, 20, 20)
        assert ahead.fees is not None
        numbers = (ahead.call.value_wei, ahead.gas_limit, ahead.nonce, ahead.fees.max_fee_wei, ahead.fees.tip_wei)
        assert min(numbers) >= 0


def _frames(data: bytes) -> None:
    """The same bytes in two pieces down a stream, and to those who wait for answers."""
    splitter, half = JsonSplitter(), len(data) // 2
    for part in (data[:half], data[half:]):
        if part.strip():
            splitter.feed(part)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_mux(data))
    finally:
        loop.close()


async def _mux(data: bytes) -> None:
    mux = Mux()
    exchange = mux.expect(2)
    subscription = mux.subscribed("0x9", 4)
    try:
        mux.feed(data)
    except KeeperError as error:
        mux.fail(error)
    assert len(subscription.waiting(100)) <= 4
    exchange.finish()
    if exchange.future.exception() is None:
        assert len(exchange.future.result()) == 2

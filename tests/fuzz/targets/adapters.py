"""Logs and answers of contracts, through every protocol's adapter: what a node or a hostile contract may put there.

An input is a protocol, then logs (of known events, bent, or of none), then answers to whatever the adapter reads. All
that may come of it is a DecodeError, or that the answers cannot be true of one block; and nothing takes long: lists say
how long they are before anybody believes it.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

import keeper.protocols
from keeper.config.table import kinds
from keeper.core.errors import ConfigError, DecodeError, RpcMalformed, StateUnavailable
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Log
from tests.fuzz.source import Source
from tests.support.cases import Case

KINDS = kinds(keeper.protocols.__name__)
ALLOWED = (DecodeError, RpcMalformed, StateUnavailable)
BLOCK = Block(BlockRef(7, b"\x07" * 32), b"\x06" * 32, 1_700_000_000)
_ROUNDS = 24
_TEXTS = ("", "0x", "0x0", "0xzz", "ab", "0x" + "0" * 64, "0x" + "f" * 64, "0x" + " " * 64, "é" * 66)
_SMALL = tuple(word.to_bytes(32, "big") for word in (0, 1, 2, 18, 32, 64, 2**64, 2**160, 2**255, 2**256 - 1))

SEEDS = [
    bytes([kind, *rest]) for kind in range(len(KINDS)) for rest in (b"", b"\x03\0\1\2", bytes(range(200)), b"\5" * 90)
]


@cache
def case_of(kind: str) -> Case:
    case: Case = importlib.import_module(f"tests.support.cases.{kind}").case()
    return case


def run(data: bytes) -> None:
    source = Source(data)
    case = case_of(source.pick(KINDS))
    adapter, market = case.adapter, case.log_market
    logs = [_log(source, case) for _ in range(source.number(6))]
    if source.number(1):
        for log in logs:
            list(adapter.touches(market, [log]))
            adapter.liquidations(market, [log])
    head = [_answer(source) for _ in adapter.head_calls(market)]
    try:
        if source.number(3) == 0:
            found = _drive(adapter.bootstrap(market if source.number(1) else None), source)
        else:
            update = _drive(adapter.sync(Book(market), BLOCK, logs, head), source)
            found = None if update is None else update.market
            for position in () if update is None else update.positions.values():
                if position is not None:
                    assert adapter.load_position(adapter.dump_position(position)) == position
    except ConfigError:
        return  # the market is not what its address was said to be
    if found is not None:
        assert adapter.load_market(adapter.dump_market(found)) == found
        adapter.filter(found)


def _drive(reads: Generator[Sequence[Call], Sequence[CallResult], Any], source: Source) -> Any:
    """What the reads make of answers out of the input; None when they ask for ever."""
    try:
        calls = next(reads)
        for _ in range(_ROUNDS):
            assert len(calls) <= 20_000, f"{len(calls)} calls in one round"
            calls = reads.send([_answer(source) for _ in calls])
    except StopIteration as ended:
        return ended.value
    finally:
        reads.close()
    return None


def _answer(source: Source) -> CallResult:
    if source.is_empty:
        return None
    match source.number(7):
        case 0:
            return None
        case 1:
            return source.some(255)
        case 2:
            return b"".join(source.pick(_SMALL) for _ in range(source.number(40)))
        case 3:
            return bytes(12) + source.take(20)
        case 4:  # a list of addresses, as long as it says or not
            said, there = source.number(6), source.number(6)
            body = b"".join(bytes(12) + source.take(20) for _ in range(there))
            return (32).to_bytes(32, "big") + said.to_bytes(32, "big") + body
        case 5:
            return source.take(32) * source.number(20)
        case _:
            return b"".join((source.number(2**24) * 10 ** source.number(22)).to_bytes(32, "big") for _ in range(12))


def _log(source: Source, case: Case) -> Log:
    known = source.pick(case.logs)
    address, topics, data = known.address, [*known.topics], known.data
    for _ in range(source.number(3)):
        match source.number(6):
            case 0:
                topics = topics[: source.number(4)]
            case 1:
                topics.append("0x" + source.take(32).hex())
            case 2 if topics:
                topics[source.number(len(topics) - 1)] = source.pick(_TEXTS)
            case 3:
                data = data[: source.number(400)]
            case 4:
                data = "0x" + source.some(255).hex()
            case 5:
                data = source.pick(_TEXTS)
            case _:
                address = source.pick(("", "0x", "0x" + "00" * 20, source.pick(case.logs).address))
    return Log(address, tuple(topics), data)

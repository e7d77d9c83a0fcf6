"""What is asked of eth_getLogs, and the checks its answer must pass."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import msgspec

from keeper.core.errors import RpcLied, RpcMalformed
from keeper.core.types import LogFilter
from keeper.indexer.proof import InOrder, are_hex, in_order
from keeper.indexer.rpc.wire import (
    ADDRESS_CHARS,
    Request,
    Text,
    WireLog,
    clip,
    hex_bytes,
    hex_int,
    result_reader,
    to_hex,
)

MAX_ADDRESSES = 1000  # in one request; providers cap the number of parameters

_read = result_reader(list[WireLog], "eth_getLogs result")


def read_logs(raw: Text) -> list[WireLog]:
    """Raises RpcMalformed."""
    with uncollected():
        return _read(raw)


@contextmanager
def uncollected() -> Iterator[None]:
    """Strings and tuples of them make no cycles: while many are made, none is looked for."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class LogQuery:
    """A filter in the wire's form. An empty set of addresses or topics matches nothing and asks nothing."""

    def __init__(self, wanted: LogFilter) -> None:
        self.wanted = wanted
        self._addresses = {to_hex(address) for address in wanted.addresses}
        self._topics = {to_hex(topic) for topic in wanted.topics}

    def requests(self, where: dict[str, Any]) -> list[Request]:
        """One eth_getLogs per thousand addresses; `where` is a blockHash, or fromBlock and toBlock."""
        if not self._topics:
            return []
        addresses = sorted(self._addresses)
        topics = sorted(self._topics)
        return [
            ("eth_getLogs", [{**where, "address": addresses[start : start + MAX_ADDRESSES], "topics": [topics]}])
            for start in range(0, len(addresses), MAX_ADDRESSES)
        ]

    def halves(self) -> tuple[LogQuery, LogQuery] | None:
        """Two queries that together ask the same, or None when there is nothing left to divide."""
        addresses, topics = sorted(self.wanted.addresses), sorted(self.wanted.topics)
        if len(addresses) > 1:
            middle = len(addresses) // 2
            return (
                LogQuery(LogFilter(frozenset(addresses[:middle]), self.wanted.topics)),
                LogQuery(LogFilter(frozenset(addresses[middle:]), self.wanted.topics)),
            )
        if len(topics) > 1:
            middle = len(topics) // 2
            return (
                LogQuery(LogFilter(self.wanted.addresses, frozenset(topics[:middle]))),
                LogQuery(LogFilter(self.wanted.addresses, frozenset(topics[middle:]))),
            )
        return None

    def matches(self, log: WireLog) -> bool:
        return bool(log.topics) and log.topics[0] in self._topics and log.address in self._addresses

    def in_order(self, first: int, last: int) -> InOrder:
        """Vouches for logs of these blocks, part by part, where all are as they nearly always are."""
        return InOrder(self._addresses, self._topics, first, last)

    def accept(self, logs: Sequence[WireLog], what: str, first: int, last: int) -> list[WireLog]:
        """The logs in chain order, each proven to be well formed, to match, and to lie within these blocks.

        Raises RpcMalformed naming `what` was asked and the first log that cannot be true.
        """
        if in_order(logs, self._addresses, self._topics, first, last):
            return list(logs)
        places: list[tuple[int, int, WireLog]] = []
        number_text, number = "", -1
        for given in logs:
            log = given if given.address in self._addresses else _lower(given)
            if not self.matches(log):
                raise RpcLied(f"{what}: a log of {clip(log.address)} {_topic(log)}, which was not asked for")
            if log.block_number != number_text:
                number_text, number = log.block_number, hex_int(log.block_number, f"{what}: blockNumber")
                if not first <= number <= last:
                    raise RpcLied(f"{what}: a log of block {number}, outside of {first} to {last}")
            if log.removed:
                raise RpcLied(f"{what}: a log of block {number} that is marked as removed")
            _check_hex(log, what)
            places.append((number, hex_int(log.log_index, f"{what}: logIndex"), log))
        places.sort(key=lambda place: place[:2])
        for (block, index, _), (next_block, next_index, _) in pairwise(places):
            if block == next_block and index == next_index:
                raise RpcLied(f"{what}: two logs with index {index} in block {block}")
        return [log for _, _, log in places]


def read_every_log(raw: Text) -> list[WireLog]:
    """Logs that nobody filtered, in lower case. Raises RpcMalformed."""
    return well_formed(read_logs(raw), "eth_getLogs result")


def well_formed(logs: list[WireLog], what: str) -> list[WireLog]:
    """Logs of any contract, in lower case. Raises RpcMalformed when something in one of them is no hex, or not of the
    size that it has to be."""
    texts = [text for log in logs for text in (log.address, *log.topics, log.data)]
    try:
        sound = are_hex(texts) and all(len(log.address) == ADDRESS_CHARS for log in logs)
    except ValueError:
        sound = False
    if not sound:
        raise RpcMalformed(f"{what}: a log that is no hex, or of another size")
    return logs if not texts or "".join(texts).islower() else [_lower(log) for log in logs]


def accept_of_block(
    query: LogQuery, logs: Sequence[WireLog], what: str, number: int, block_hash: bytes
) -> list[WireLog]:
    """As `LogQuery.accept`, all of them of this one block."""
    expected = to_hex(block_hash)
    for log in logs:
        if log.block_hash != expected:
            raise RpcLied(f"{what}: a log of another block, {clip(log.block_hash)} instead of {expected}")
    return query.accept(logs, what, number, number)


def _check_hex(log: WireLog, what: str) -> None:
    for topic in log.topics:
        hex_bytes(topic, f"{what}: topic", 32)
    hex_bytes(log.data, f"{what}: data")


def _lower(log: WireLog) -> WireLog:
    """A log in lower case; some nodes write checksummed addresses."""
    topics = tuple(topic.lower() for topic in log.topics)
    return msgspec.structs.replace(log, address=log.address.lower(), topics=topics, data=log.data.lower())


def _topic(log: WireLog) -> str:
    return f"with topic {clip(log.topics[0])}" if log.topics else "without topics"

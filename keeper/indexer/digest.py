"""What is made of many logs is made a part at a time: read, proven and used while they are in the processor's cache.

    one answer ─▶ parts of half a megabyte ─▶ logs, each part proven ─▶ what is made of them
               └▶ where a part is not vouched for: all of it again, log by log, which says what is wrong

A long range of blocks holds tens of thousands of logs, which as objects are larger than any cache; going over all of
them in one pass after another waits for memory most of the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from keeper.core.errors import RpcMalformed
from keeper.indexer.logs import LogQuery, read_logs, uncollected
from keeper.indexer.proof import InOrder
from keeper.indexer.rpc.wire import Text, WireLog

R = TypeVar("R")

PART_BYTES = 500_000
_BETWEEN = re.compile(rb"\}\s*,\s*\{")  # two logs; neither holds an object


class _Doubtful(Exception):
    """Something about these logs is not as it nearly always is."""


def digest(
    query: LogQuery,
    results: Sequence[msgspec.Raw],
    what: str,
    first: int,
    last: int,
    make: Callable[[Iterable[WireLog]], R],
) -> tuple[R, int]:
    """What `make` makes of the logs of these blocks, in chain order and proven as by `LogQuery.accept`; and how many
    there are. results: of the requests of `query`. make: goes over them once; where it has begun with logs that turn
    out to be doubtful, it is called again. Whatever it raises goes through.

    Raises RpcMalformed, or RpcLied, naming `what` was asked and the first log that cannot be true.
    """
    with uncollected():
        if len(results) == 1:
            order = query.in_order(first, last)
            try:
                return make(chain.from_iterable(_proven(order, results[0]))), order.count
            except _Doubtful:
                pass
        logs = query.accept([entry for result in results for entry in read_logs(result)], what, first, last)
        return make(logs), len(logs)


def _proven(order: InOrder, raw: msgspec.Raw) -> Iterator[list[WireLog]]:
    for text in in_parts(memoryview(raw)):
        try:
            logs = read_logs(text)
        except RpcMalformed as error:
            raise _Doubtful from error
        if logs and not order.goes_on(logs):
            raise _Doubtful
        yield logs


def in_parts(text: memoryview) -> Iterator[Text]:
    """A list in JSON as shorter ones. Where it is cut inside an object, neither part is JSON."""
    at, is_list = 1, bytes(text[:1]) == b"["
    while is_list and (cut := _BETWEEN.search(text, at + PART_BYTES)):
        yield b"".join((b"[", text[at : cut.start() + 1], b"]"))
        at = cut.end() - 1
    yield b"".join((b"[", text[at:])) if at > 1 else text

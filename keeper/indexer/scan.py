"""eth_getLogs over long ranges, in sizes the node bears; what is made of the logs is made as they arrive."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Protocol, TypeVar

import structlog

from keeper.core.errors import (
    LogRangeTooLarge,
    RetryableError,
    RpcMalformed,
    RpcRateLimited,
    RpcUnavailable,
    StateUnavailable,
)
from keeper.core.types import LogFilter
from keeper.indexer.decoding import Asking, decoded
from keeper.indexer.digest import digest
from keeper.indexer.logs import LogQuery
from keeper.indexer.ranges import RangeSize
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.faults import suggested_blocks
from keeper.indexer.rpc.pool import Answer
from keeper.indexer.rpc.wire import Request, WireLog, decode_any, hex_int, strict

log = structlog.get_logger(__name__)

R = TypeVar("R")
Make = Callable[[Iterable[WireLog]], R]

_IN_FLIGHT = 4
_TIMEOUT_S = 30.0
_TRIES = 8
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0


class LogSource(Protocol):
    """What a scan needs of the RPC client."""

    async def read(
        self,
        requests: list[Request],
        parse: Callable[[Answer], R],
        *,
        timeout_s: float | None = None,
        avoid: Endpoint | None = None,
    ) -> R: ...


async def scan(
    rpc: LogSource,
    wanted: LogFilter,
    from_block: int,
    to_block: int,
    make: Make[R],
    *,
    size: RangeSize | None = None,
) -> AsyncGenerator[tuple[int, int, R]]:
    """What is made of all logs of these blocks (both ends included), as consecutive pieces (first block, last block,
    what `make` made of their logs, in order).

    make: goes over logs once, as they are decoded; may be called again for the same. What it raises DecodeError about
    is read once more, elsewhere.

    Several ranges are in flight at once. A range that is refused as too large, or times out, is halved and asked again;
    sizes grow back. A single block that is too large is asked address by address.
    Raises LogRangeTooLarge when even that is refused, the last RetryableError when a range fails again and again, and
    DecodeError; what was yielded before stays valid, so a caller can resume after it.
    """
    size = size or RangeSize()
    query = LogQuery(wanted)
    running: deque[asyncio.Task[list[tuple[int, int, R]]]] = deque()
    following = from_block
    try:
        while following <= to_block or running:
            while following <= to_block and len(running) < _IN_FLIGHT:
                last = min(to_block, following + size.size - 1)
                running.append(asyncio.create_task(_range(rpc, query, following, last, make, size)))
                following = last + 1
            for piece in await running[0]:
                yield piece
            running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _range(
    rpc: LogSource, query: LogQuery, first: int, last: int, make: Make[R], size: RangeSize
) -> list[tuple[int, int, R]]:
    """The pieces of one range, however many the node makes of it."""
    pieces: list[tuple[int, int, R]] = []
    failures = 0
    while first <= last:
        end = min(last, first + size.size - 1)
        blocks = end - first + 1
        try:
            made, logs = await _fetch(rpc, query, first, end, make)
        except LogRangeTooLarge as error:
            if blocks > 1:
                size.refused(blocks, suggested_blocks(error))
                log.debug("log_range_refused", blocks=blocks, next=size.size, error=str(error))
                continue
            divided = await _divided(rpc, query, first, error)
            made, logs = make(divided), len(divided)
        except (RpcUnavailable, RpcMalformed, RpcRateLimited, StateUnavailable) as error:
            failures += 1
            if failures >= _TRIES:
                raise
            if isinstance(error, RpcUnavailable | RpcMalformed) and blocks > 1:
                size.refused(blocks)  # answers that are cut off or late may be so for their size
            await asyncio.sleep(_pause_s(error, failures))
            continue
        failures = 0
        size.passed(blocks, logs)
        pieces.append((first, end, made))
        first = end + 1
    return pieces


async def _divided(rpc: LogSource, query: LogQuery, block: int, refusal: LogRangeTooLarge) -> list[WireLog]:
    """One block's logs, asked by ever fewer addresses and topics."""
    halves = query.halves()
    if halves is None:
        raise LogRangeTooLarge(
            f"{refusal}; block {block} is refused even for one address and topic, use another endpoint"
        )
    logs: list[WireLog] = []
    for half in halves:
        try:
            logs += (await _fetch(rpc, half, block, block, list))[0]
        except LogRangeTooLarge as error:
            logs += await _divided(rpc, half, block, error)
    return sorted(logs, key=lambda entry: int(entry.log_index, 16))


async def _fetch(rpc: LogSource, query: LogQuery, first: int, last: int, make: Make[R]) -> tuple[R, int]:
    """What is made of one range, and of how many logs, in one round trip. The node's height is asked along: a node that
    is behind leaves logs out silently."""
    requests = query.requests({"fromBlock": hex(first), "toBlock": hex(last)})
    if not requests:
        return make(()), 0

    async def reading(asking: Asking) -> tuple[R, int]:
        def parse(answer: Answer) -> tuple[R, int]:
            asking.heard(answer.endpoint)
            what = f"eth_getLogs {first} to {last} at {answer.endpoint.name}"
            height: Any = decode_any(strict(answer.results[0]), "eth_blockNumber")
            head = hex_int(str(height), f"eth_blockNumber at {answer.endpoint.name}")
            results = [strict(result) for result in answer.results[1:]]
            if head < last:
                raise StateUnavailable(f"{what}: the node is only at block {head}; wait for it or use another endpoint")
            return digest(query, results, what, first, last, make)

        asked = [("eth_blockNumber", []), *requests]
        return await rpc.read(asked, parse, timeout_s=_TIMEOUT_S, avoid=asking.avoid)

    return await decoded(reading)


def _pause_s(error: RetryableError, failures: int) -> float:
    """What an endpoint asked for is not waited for to its end: another one may be well before, and the client asks
    nothing of one that rests."""
    asked = error.retry_after_s if isinstance(error, RpcRateLimited) else None
    return min(_FIRST_PAUSE_S * 2 ** (failures - 1) if asked is None else asked, _LONGEST_PAUSE_S)

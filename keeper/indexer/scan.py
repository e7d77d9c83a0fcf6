"""eth_getLogs over long ranges, in sizes the node bears."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
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
from keeper.indexer.logs import LogQuery, read_logs
from keeper.indexer.ranges import RangeSize
from keeper.indexer.rpc.faults import suggested_blocks
from keeper.indexer.rpc.pool import Answer
from keeper.indexer.rpc.wire import Request, WireLog, decode_any, hex_int, strict

log = structlog.get_logger(__name__)

R = TypeVar("R")
Piece = tuple[int, int, list[WireLog]]

_IN_FLIGHT = 4
_TIMEOUT_S = 30.0
_TRIES = 8
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 15.0


class LogSource(Protocol):
    """What a scan needs of the RPC client."""

    async def read(
        self, requests: list[Request], parse: Callable[[Answer], R], *, timeout_s: float | None = None
    ) -> R: ...


async def scan(
    rpc: LogSource, wanted: LogFilter, from_block: int, to_block: int, *, size: RangeSize | None = None
) -> AsyncGenerator[Piece, None]:
    """All logs of these blocks (both ends included) as consecutive pieces (first block, last block, logs), in order.

    Several ranges are in flight at once. A range that is refused as too large, or times out, is halved and asked again;
    sizes grow back. A single block that is too large is asked address by address.
    Raises LogRangeTooLarge when even that is refused, and the last RetryableError when a range fails again and again;
    what was yielded before stays valid, so a caller can resume after it.
    """
    size = size or RangeSize()
    query = LogQuery(wanted)
    running: deque[asyncio.Task[list[Piece]]] = deque()
    following = from_block
    try:
        while following <= to_block or running:
            while following <= to_block and len(running) < _IN_FLIGHT:
                last = min(to_block, following + size.size - 1)
                running.append(asyncio.create_task(_range(rpc, query, following, last, size)))
                following = last + 1
            for piece in await running[0]:
                yield piece
            running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _range(rpc: LogSource, query: LogQuery, first: int, last: int, size: RangeSize) -> list[Piece]:
    """The pieces of one range, however many the node makes of it."""
    pieces: list[Piece] = []
    failures = 0
    while first <= last:
        end = min(last, first + size.size - 1)
        blocks = end - first + 1
        try:
            logs = await _fetch(rpc, query, first, end)
        except LogRangeTooLarge as error:
            if blocks > 1:
                size.refused(blocks, suggested_blocks(error))
                log.debug("log_range_refused", blocks=blocks, next=size.size, error=str(error))
                continue
            logs = await _divided(rpc, query, first, error)
        except (RpcUnavailable, RpcMalformed, RpcRateLimited, StateUnavailable) as error:
            failures += 1
            if failures >= _TRIES:
                raise
            if isinstance(error, RpcUnavailable | RpcMalformed) and blocks > 1:
                size.refused(blocks)  # answers that are cut off or late may be so for their size
            await asyncio.sleep(_pause_s(error, failures))
            continue
        failures = 0
        size.passed(blocks, len(logs))
        pieces.append((first, end, logs))
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
            logs += await _fetch(rpc, half, block, block)
        except LogRangeTooLarge as error:
            logs += await _divided(rpc, half, block, error)
    return sorted(logs, key=lambda entry: int(entry.log_index, 16))


async def _fetch(rpc: LogSource, query: LogQuery, first: int, last: int) -> list[WireLog]:
    """One range in one round trip. The node's height is asked along: a node that is behind leaves logs out silently."""
    requests = query.requests({"fromBlock": hex(first), "toBlock": hex(last)})
    if not requests:
        return []

    def parse(answer: Answer) -> list[WireLog]:
        what = f"eth_getLogs {first} to {last} at {answer.endpoint.name}"
        height: Any = decode_any(strict(answer.results[0]), "eth_blockNumber")
        head = hex_int(str(height), f"eth_blockNumber at {answer.endpoint.name}")
        results = [strict(result) for result in answer.results[1:]]
        if head < last:
            raise StateUnavailable(f"{what}: the node is only at block {head}; wait for it or use another endpoint")
        return query.accept([entry for result in results for entry in read_logs(result)], what, first, last)

    return await rpc.read([("eth_blockNumber", []), *requests], parse, timeout_s=_TIMEOUT_S)


def _pause_s(error: RetryableError, failures: int) -> float:
    """What an endpoint asked for is not waited for to its end: another one may be well before, and the client asks
    nothing of one that rests."""
    asked = error.retry_after_s if isinstance(error, RpcRateLimited) else None
    return min(_FIRST_PAUSE_S * 2 ** (failures - 1) if asked is None else asked, _LONGEST_PAUSE_S)

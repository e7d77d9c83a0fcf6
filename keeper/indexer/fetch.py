"""Everything about one block in one round trip: its logs, contract state at it, and whatever else the caller needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog

from keeper.core.errors import KeeperError, RpcLied, RpcMalformed, RpcRefused
from keeper.core.types import Block, Call, CallResult, LogFilter
from keeper.indexer.bloom import Bloom, suspect
from keeper.indexer.logs import LogQuery, accept_of_block, read_logs
from keeper.indexer.receipts import logs_of, read_receipts
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.pool import Answer
from keeper.indexer.rpc.wire import Request, WireLog, decode_any, strict, to_hex

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HeadRead:
    """logs: in order. results: of the calls. extra: of the extra requests; an error in the place of its result.
    source: who said so."""

    logs: list[WireLog]
    results: list[CallResult]
    extra: list[Any | KeeperError]
    source: Endpoint | None = None


async def read_head(
    rpc: RpcClient,
    block: Block,
    wanted: LogFilter,
    calls: Sequence[Call],
    extra: Sequence[Request] = (),
    *,
    avoid: Endpoint | None = None,
) -> HeadRead:
    """Logs of exactly this block, contract calls at it, and extra requests, as one message to one endpoint.

    More round trips are made only where a call's failure proves nothing (CallPlan.read) and where the logs do not fit
    the header's bloom: then a second opinion is asked, of another endpoint if there is one. avoid: asked last.
    Raises StateUnavailable when no endpoint has the block, RpcLied when what they say of it is not true.
    """
    for _ in rpc.endpoints:
        endpoint, logs, results, alone, others = await _ask(rpc, block, wanted, calls, extra, avoid)
        try:
            await _verify_logs(rpc, endpoint, block, wanted, logs)
        except RpcLied as error:
            endpoint.failed(error)
            avoid, contradiction = endpoint, error
            continue
        await rpc.ask_alone(calls, block.ref, results, alone)
        return HeadRead(logs, results, others, endpoint)
    raise contradiction


async def _ask(
    rpc: RpcClient,
    block: Block,
    wanted: LogFilter,
    calls: Sequence[Call],
    extra: Sequence[Request],
    avoid: Endpoint | None,
) -> tuple[Endpoint, list[WireLog], list[CallResult], list[int], list[Any | KeeperError]]:
    requests, parse = head_requests(rpc, block, wanted, calls, extra)
    if not requests:
        return rpc.endpoints[0], [], [], [], []
    return await rpc.read(requests, parse, avoid=avoid)


Told = tuple[Endpoint, list[WireLog], list[CallResult], list[int], list[Any | KeeperError]]
"""Who said it, logs, results of calls, indices of calls whose failure proves nothing, and extra results."""


def head_requests(
    rpc: RpcClient, block: Block, wanted: LogFilter, calls: Sequence[Call], extra: Sequence[Request] = ()
) -> tuple[list[Request], Callable[[Answer], Told]]:
    """What to ask about a block, and what reads an answer to it."""
    query = _query(wanted)
    log_requests = query.requests({"blockHash": to_hex(block.hash)})
    plan = rpc.plan_calls(calls, block.ref)
    calls_end = len(log_requests) + len(plan.requests)

    def parse(answer: Answer) -> Told:
        logs = _logs(query, answer, len(log_requests), block)
        results, alone = plan.read(answer.results[len(log_requests) : calls_end])
        others = [
            result if isinstance(result, KeeperError) else decode_any(result, method)
            for (method, _), result in zip(extra, answer.results[calls_end:], strict=True)
        ]
        return answer.endpoint, logs, results, alone, others

    return [*log_requests, *plan.requests, *extra], parse


@lru_cache(maxsize=4)
def _query(wanted: LogFilter) -> LogQuery:
    """The same for block after block."""
    return LogQuery(wanted)


def _logs(query: LogQuery, answer: Answer, count: int, block: Block) -> list[WireLog]:
    what = f"eth_getLogs of block {block.number} at {answer.endpoint.name}"
    found = [entry for result in answer.results[:count] for entry in read_logs(strict(result))]
    return accept_of_block(query, found, what, block.number, block.hash)


# --- the second opinion -----------------------------------------------------------------------------------------------


async def _verify_logs(
    rpc: RpcClient, endpoint: Endpoint, block: Block, wanted: LogFilter, logs: Sequence[WireLog]
) -> None:
    """Raises RpcLied when the logs do not fit the header's bloom and a second opinion does not confirm them."""
    suspicion = suspect(block.bloom, wanted, logs)
    if suspicion is None:
        return
    query = LogQuery(wanted)
    told = await _logs_by_another_way(rpc, endpoint, block, query)
    if _identities(told) != _identities(logs):
        missing = len(_identities(told) - _identities(logs))
        raise RpcLied(
            f"eth_getLogs of block {block.number} ({to_hex(block.hash)}) at {endpoint.name} gave {len(logs)} logs "
            f"where the header's bloom admits more: {suspicion}; another source has {len(told)}, {missing} of them "
            "missing here; the endpoint is not to be trusted with this block, use another one"
        )
    log.debug("bloom_suspicion_cleared", block=block.number, endpoint=endpoint.name, suspicion=str(suspicion))


async def _logs_by_another_way(rpc: RpcClient, first: Endpoint, block: Block, query: LogQuery) -> list[WireLog]:
    """The block's logs from its receipts, at another endpoint if there is one; where receipts are not served, from
    eth_getLogs elsewhere or, on the only endpoint, by height instead of by hash."""

    def from_receipts(answer: Answer) -> list[WireLog]:
        what = f"eth_getBlockReceipts of block {block.number} at {answer.endpoint.name}"
        receipts = read_receipts(strict(answer.results[0]))
        if receipts is None:
            raise RpcMalformed(f"{what}: null, although the endpoints announced this block")
        if any(receipt.block_hash != to_hex(block.hash) for receipt in receipts):
            raise RpcLied(f"{what}: a receipt of another block")
        every = logs_of(receipts)
        if Bloom(block.bloom).unexplained_by(every):
            raise RpcLied(f"{what}: {len(every)} logs do not make up the header's bloom, some are left out")
        matching = [entry for entry in every if query.matches(entry)]
        return accept_of_block(query, matching, what, block.number, block.hash)

    try:
        return await rpc.read([("eth_getBlockReceipts", [to_hex(block.hash)])], from_receipts, avoid=first)
    except RpcRefused as error:  # not every provider serves receipts, and they say so in many ways
        log.debug("receipts_refused", block=block.number, error=str(error))
    height = hex(block.number)
    alone = len(rpc.endpoints) == 1
    where = {"fromBlock": height, "toBlock": height} if alone else {"blockHash": to_hex(block.hash)}
    requests = query.requests(where)
    return await rpc.read(requests, lambda answer: _logs(query, answer, len(requests), block), avoid=first)


def _identities(logs: Sequence[WireLog]) -> set[tuple[str, str, tuple[str, ...], str]]:
    return {(entry.log_index, entry.address, entry.topics, entry.data) for entry in logs}

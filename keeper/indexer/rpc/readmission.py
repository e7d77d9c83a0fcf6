"""What an endpoint that lied must get right before anybody asks it again.

its newest header     is the one that its hash names, where the chain lets that be told
an older header       is the same at the endpoints that are trusted
that block's logs     make up the header's bloom, in each way in which the endpoint serves a whole block's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from keeper.core.errors import KeeperError, LogRangeTooLarge, RpcLied, RpcMalformed, RpcRefused
from keeper.core.types import Block
from keeper.indexer.bloom import Bloom
from keeper.indexer.logs import read_every_log
from keeper.indexer.receipts import logs_of, read_receipts
from keeper.indexer.rpc.wire import Request, WireLog, read_header, strict, to_hex

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

log = structlog.get_logger(__name__)

BEHIND = 2
"""Blocks below the lower of two heads: what endpoints that follow the same chain agree on."""


async def prove(pool: EndpointPool, endpoint: Endpoint) -> bool:
    """Whether it got all of them right; False where that cannot be told now.

    Raises RpcLied when the endpoint gets one of them wrong again, and whatever else it answers with.
    """
    newest = await pool.latest_of(endpoint)
    number = max(0, newest.number - BEHIND)
    honest = [one for one in pool.trusted() if not one.quarantine.active and not one.errors]
    other = next((one for one in honest if one is not endpoint), None)
    if other is None:
        said = await _header(pool, endpoint, number)
    elif (held := await _held(pool, other, number)) is None:
        return False
    else:
        said = await _header(pool, endpoint, held.number)
        if said.hash != held.hash:
            raise RpcLied(
                f"block {said.number} at {endpoint.name} is {to_hex(said.hash)}, "
                f"at {other.name} it is {to_hex(held.hash)}"
            )
    await _prove_logs(pool, endpoint, said)
    return True


async def _held(pool: EndpointPool, other: Endpoint, at_most: int) -> Block | None:
    """What a trusted one has at this height, or lower where it is not that far. None where it does not say, or lies:
    that counts against it, and not against whoever proves itself."""
    try:
        number = max(0, min(at_most, (await pool.latest_of(other)).number - BEHIND))
        return await _header(pool, other, number)
    except KeeperError as error:
        other.failed(error)
        return None


async def _header(pool: EndpointPool, endpoint: Endpoint, number: int) -> Block:
    request: Request = ("eth_getBlockByNumber", [hex(number), False])
    answer = await pool.ask(endpoint, [request])
    what = f"{request[0]} {number} at {endpoint.name}"
    block = read_header(strict(answer.results[0]), what, endpoint.asked.check)
    if block is None:
        raise RpcMalformed(f"{what}: null, below its own head")
    if block.number != number:
        raise RpcLied(f"{what}: got block {block.number}")
    return block


async def _prove_logs(pool: EndpointPool, endpoint: Endpoint, block: Block) -> None:
    """Without a filter, every bit of the bloom must be some log's. A chain that leaves blooms empty proves nothing, and
    some have logs beside it (Polygon's state syncs)."""
    bloom = Bloom(block.bloom)
    if not bloom.bits:
        return
    for method, parameter, read in (
        ("eth_getBlockReceipts", to_hex(block.hash), _logs_of_receipts),
        ("eth_getLogs", {"blockHash": to_hex(block.hash)}, read_every_log),
    ):
        try:
            logs = read(strict((await pool.ask(endpoint, [(method, [parameter])])).results[0]))
        except (RpcRefused, LogRangeTooLarge) as error:
            log.info("logs_not_proven", endpoint=endpoint.name, block=block.number, error=str(error))
            continue
        if bloom.unexplained_by(logs):
            raise RpcLied(
                f"{method} of block {block.number} ({to_hex(block.hash)}) at {endpoint.name}: {len(logs)} logs do not "
                "make up the header's bloom"
            )


def _logs_of_receipts(raw: msgspec.Raw) -> list[WireLog]:
    receipts = read_receipts(raw)
    if receipts is None:
        raise RpcRefused("eth_getBlockReceipts: null, as of a node that keeps none")
    return logs_of(receipts)

"""How transactions reach a block, and come right behind a price update that is not mined yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keeper.config.deployment import Config
from keeper.wire.chain import connect
from keeper.wire.kinds import builder

if TYPE_CHECKING:
    import asyncio

    from keeper.executor.behind import Ways
    from keeper.executor.ports import Route
    from keeper.foresight import Foresight
    from keeper.indexer.rpc.client import RpcClient
    from keeper.pipeline import Pipeline


def routes(config: Config, rpc: RpcClient) -> list[Route]:
    """Those configured, or the node's mempool."""
    from keeper.executor.submitters.public import PublicMempool

    if config.executor.mode != "live" or not config.submitters:
        return [PublicMempool(rpc)]
    package, chain_id = "keeper.executor.submitters", config.chain.id
    return [builder(package, one.kind)(one.settings, rpc, chain_id) for one in config.submitters]


def joined(routes: Sequence[Route]) -> Route:
    """All of them at once."""
    if len(routes) == 1:
        return routes[0]
    from keeper.executor.submitters.everywhere import Everywhere

    return Everywhere("submitters", routes)


def ways(routes: Sequence[Route]) -> Ways:
    """How transactions come right behind a price update that is not mined yet."""
    from keeper.executor.behind import Ways
    from keeper.executor.ports import BehindRoute

    private = [route for route in routes if isinstance(route, BehindRoute)]
    public = [route for route in routes if route.ordered_by_fee]
    return Ways(private, joined(public) if public else None)


async def foresight(config: Config, pipeline: Pipeline, turn: asyncio.Lock) -> Foresight | None:
    """What acts on price updates that are not mined yet; None where nothing does."""
    executor = config.executor
    if executor.mode == "off" or executor.pending_prices == "off":
        return None
    from keeper.config.table import kinds
    from keeper.executor.oracles.written import Reader
    from keeper.executor.ports import HintRoute
    from keeper.foresight import Foresight

    package = "keeper.executor.oracles"
    reader = Reader([builder(package, kind)() for kind in kinds(package)])
    hinting = [route for route in pipeline.executor.ways.private if isinstance(route, HintRoute)]
    return Foresight(pipeline, await connect(config), reader, hinting, turn)

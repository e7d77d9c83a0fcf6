"""What plans our contract's liquidations: venues, funding, and what pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keeper.config.deployment import Config
from keeper.wire.kinds import builder

if TYPE_CHECKING:
    from keeper.executor.financier import Financier
    from keeper.executor.planning.planner import Planner
    from keeper.indexer.rpc.client import RpcClient


def planner(config: Config, contract: bytes | None = None) -> Planner | None:
    """How our contract's liquidations are planned; None without a contract.

    contract: one that is not configured yet, for whoever deploys it."""
    if contract is None and config.executor.mode != "off":
        contract = config.executor.liquidator
    if contract is None:
        return None
    from keeper.executor.planning.planner import Planner
    from keeper.executor.venues.inventory import Inventory
    from keeper.executor.venues.keep import Keep

    venues = [builder("keeper.executor.venues", one.kind)(one.settings) for one in config.venues]
    return Planner(
        contract=contract,
        venues=[venue for venue in venues if not isinstance(venue, (Inventory, Keep))],
        fundings=[builder("keeper.executor.funding", one.kind)(one.settings, contract) for one in config.funding],
        inventory=next((venue for venue in venues if isinstance(venue, Inventory)), None),
        keep=next((venue for venue in venues if isinstance(venue, Keep)), None),
        least_gain_bps=config.executor.least_gain_bps,
        builder_tip_bps=config.builder_tip_bps,
    )


def financier(config: Config, rpc: RpcClient, deadline_s: float) -> Financier | None:
    planning = planner(config)
    if planning is None:
        return None
    from keeper.executor.financier import Financier

    return Financier(planning, rpc, config.chain.wrapped_native, deadline_s)

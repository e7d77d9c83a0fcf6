"""What a rehearsal liquidates with: where our contract sells, and of whom it borrows."""

from __future__ import annotations

from keeper.core.errors import ConfigError
from keeper.executor.planning.planner import Planner
from keeper.wire import House

_NOBODY = bytes(20)


def planner_of(house: House, contract: bytes = _NOBODY) -> Planner:
    """Raises ConfigError where there is nothing to sell on, or nobody to borrow of."""
    planner = house.acting.planner(contract)
    if planner is None or not planner.venues or not planner.fundings:
        raise ConfigError(
            "nothing to liquidate with: configure where to sell ([[venues]], such as uniswap_v3) and of whom to "
            "borrow ([[funding]], such as aave_v3 or morpho); those of each chain are in configs/, and "
            "docs/liquidator.md says more"
        )
    return planner

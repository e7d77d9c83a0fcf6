"""What the pool itself has lost, and what its treasury holds.

A deficit is bad debt that a liquidation left (v3.3); before, such debt stays with its account, where it is counted as a
shortfall. The treasury's own supplies are what the DAO could cover losses with; what stakers insure is not of the pool.
Source: Pool.getReserveDeficit, AToken.RESERVE_TREASURY_ADDRESS.
"""

from __future__ import annotations

from keeper.core.ports import Reads
from keeper.core.types import Backing, Prices
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.discover import ask
from keeper.protocols.aave_v3.state import Market


def backing(market: Market, prices: Prices) -> Reads[Backing]:
    """Two round trips."""
    reserves = [reserve for reserve in market.reserves if reserve.asset in prices]
    first = yield from ask(
        {
            **{(r.id, "deficit"): abi.call(market.pool, abi.GET_RESERVE_DEFICIT, r.asset) for r in reserves},
            **{(r.id, "treasury"): abi.call(r.a_token, abi.RESERVE_TREASURY_ADDRESS) for r in reserves},
        }
    )
    treasuries = {r.id: abi.maybe_address(first[r.id, "treasury"]) for r in reserves}
    held = yield from ask(
        {r.id: abi.call(r.a_token, abi.BALANCE_OF, treasuries[r.id]) for r in reserves if treasuries[r.id]}
    )
    deficit = reserve_value = 0
    for one in reserves:
        price = prices[one.asset].value
        deficit += (abi.maybe_uint(first[one.id, "deficit"]) or 0) * price // one.unit
        reserve_value += (abi.maybe_uint(held.get(one.id)) or 0) * price // one.unit
    return Backing(deficit, reserve_value)

"""What cures an account, and what would break it.

A deposit raises account value one for one, so the smallest is a division; it is verified by judging all the same.
Closing a part of a position cures as well, but at a price that only its trade finds out: no exact amount can be
demanded.
"""

from __future__ import annotations

from functools import partial

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import WAD, div_up
from keeper.protocols.perp_v2.margin import Sheet
from keeper.protocols.perp_v2.state import Market
from keeper.protocols.search import breach_edge, least, move_bps


def demands(market: Market, position: Sheet, target_wad: int) -> tuple[Demand, ...]:
    """The smallest deposit of the settlement token that reaches the target; none when it is met, or unknown."""
    health = position.health_wad
    if position.unpriced or health is None or health >= target_wad:
        return ()
    wanted = div_up(target_wad * position.requirement_wad, WAD) - position.account_value_wad

    def cured(assets: int) -> bool:
        reached = position.with_deposit(assets).health_wad
        return reached is None or reached >= target_wad

    assets = least(cured, 1, max(div_up(wanted, position.unit), 1) + 1)
    reached = position.with_deposit(assets).health_wad
    symbol, decimals = market.settlement_symbol, market.settlement_decimals
    return (Demand("add_collateral", market.settlement, symbol, decimals, assets, reached),)


def breach_prices(market: Market, position: Sheet) -> tuple[BreachPrice, ...]:
    """For each market the price at which the account becomes liquidatable, all else equal: for a long the highest below
    the present one, for a short the lowest above. None for accounts with orders, whose size follows the price."""
    if position.unpriced or position.health_wad is None or position.whole is not None:
        return ()
    found = []
    for line in position.lines:
        if not line.size_wad:
            continue
        edge = _edge(position, line.base, line.price_wad, long=line.size_wad > 0)
        if edge is not None:
            symbol = market.by_base[line.base].symbol
            found.append(BreachPrice(line.base, symbol, edge, 18, move_bps(line.price_wad, edge)))
    return tuple(found)


def _edge(position: Sheet, base: bytes, present: int, *, long: bool) -> int | None:
    open_at = partial(_open_at, position, base)
    if long:
        return breach_edge(open_at, present)
    if open_at(1):
        return None
    high = present
    while not open_at(high):
        high *= 2
        if high.bit_length() > 160:
            return None
    return least(open_at, 1, high)


def _open_at(position: Sheet, base: bytes, price_wad: int) -> bool:
    return position.with_price(base, price_wad).liquidatable

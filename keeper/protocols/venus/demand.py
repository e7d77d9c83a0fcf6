"""What cures a position, and what would break it: exact amounts and prices, found by search over the pool's integers.

With everything else fixed, more collateral, less debt or a higher collateral price never lowers health. Minting moves
the exchange rate a little by its rounding, always up, so that is modelled too. Either has its market accrue, and only
that one: what the account is worth to a liquidation that touches others (`Sheet.views`) is part of the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import UINT256_MAX, WAD
from keeper.protocols.search import breach_edge, least, move_bps, through
from keeper.protocols.venus.interest import exchange_rate
from keeper.protocols.venus.sheet import Line, Sheet
from keeper.protocols.venus.state import Action

_MOST_ASSETS = 1 << 120
_PROBE = 1 << 80


def minted(line: Line, assets: int) -> Line:
    """The line after its owner supplied this much more of the underlying."""
    now, one = line.accrued, line.market
    tokens = assets * WAD // now.exchange_rate_wad
    supply, cash = now.total_supply + tokens, now.cash + assets
    rate = exchange_rate(one, now.total_borrows, now.total_reserves, supply, cash)
    after = replace(now, total_supply=supply, cash=cash, exchange_rate_wad=rate, before=None)
    return replace(line, accrued=after, tokens=line.tokens + tokens)


def repaid(line: Line, assets: int) -> Line:
    """The line after so much of its debt was repaid."""
    return replace(line.touched, owed_assets=max(line.owed_assets - assets, 0))


def demands(position: Sheet, target_wad: int) -> tuple[Demand, ...]:
    """For each collateral the smallest supply, for each debt the smallest repayment, that alone reaches the target and
    leaves nothing to be liquidated at any health (`Sheet.forced`): of a single forced debt all of it.

    Nothing when that is so already, or while an asset is unpriced. Left out: what the pool would refuse (paused, above
    its supply cap), debts whose full repayment is not enough, and supplies beyond 2^120.
    """
    if position.unpriced or _restored(position, target_wad):
        return ()
    found: list[Demand] = []
    for line in position.lines:
        one = line.market
        if line.tokens and one.liquidation_threshold_wad and not one.is_paused(Action.MINT):
            found += _least(position, line, "add_collateral", minted, _room(line), target_wad)
    for line in position.lines:
        if line.owed_assets and not line.market.is_paused(Action.REPAY):
            found += _least(position, line, "repay", repaid, line.owed_assets, target_wad)
    return tuple(found)


def _restored(position: Sheet, target_wad: int) -> bool:
    """A forced debt has to be gone to the last unit, even where that is worth nothing: it grows."""
    health = position.health_wad
    return not position.forced and (health is None or health >= target_wad)


def _room(line: Line) -> int:
    """What may be supplied before the market's cap is reached."""
    cap, now = line.market.supply_cap_assets, line.accrued
    if cap == UINT256_MAX:
        return _MOST_ASSETS
    return max(min(cap - now.exchange_rate_wad * now.total_supply // WAD, _MOST_ASSETS), 0)


def _least(
    position: Sheet, line: Line, action: str, act: Callable[[Line, int], Line], most: int, target_wad: int
) -> list[Demand]:
    def after(assets: int) -> Sheet:
        return position.with_line(act(line, assets))

    def health(assets: int) -> int | None:
        return after(assets).health_wad

    def cured(assets: int) -> bool:
        return _restored(after(assets), target_wad)

    if most <= 0 or not cured(most):
        return []
    near = most if position.forced else _near(health, action, most, target_wad)
    assets = least(cured, 1, most, near)
    one = line.market
    return [Demand(action, one.asset, one.symbol, one.decimals, assets, health(assets))]


def _near(health: Callable[[int], int | None], action: str, most: int, target_wad: int) -> int | None:
    """About where the target is: health rises evenly with a supply, its inverse falls evenly with a repayment."""
    probe = most // 2 if action == "repay" else min(most, _PROBE)
    now_wad, then_wad = health(0), health(probe)
    if not now_wad or not then_wad:
        return None
    if action == "repay":
        now_wad, then_wad, target_wad = (WAD * WAD // one for one in (now_wad, then_wad, target_wad))
    return through(0, now_wad, probe, then_wad, target_wad)


def breach_prices(position: Sheet) -> tuple[BreachPrice, ...]:
    """For each collateral asset the highest price at which the account can be liquidated, all else equal: it can
    there and not one unit above. Left out: assets whose price alone cannot bring it about; so all of them while it is
    open at any health."""
    if position.unpriced or position.forced or position.totals().health_wad is None:
        return ()
    found = []
    for line in position.lines:
        one, present = line.market, line.price_e36
        if line.tokens and (edge := breach_edge(partial(_short_at, position, one.asset), present)) is not None:
            found.append(BreachPrice(one.asset, one.symbol, edge, 36 - one.decimals, move_bps(present, edge)))
    return tuple(found)


def _short_at(position: Sheet, asset: bytes, price_e36: int) -> bool:
    return position.with_price(asset, price_e36).short

"""What cures a position, and what would break it: exact amounts and prices, found by search over Morpho's integers."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import BreachPrice, Demand
from keeper.core.units import WAD, div_up
from keeper.protocols.morpho_blue.accrue import Owed
from keeper.protocols.morpho_blue.arithmetic import ORACLE_PRICE_SCALE, to_shares_down
from keeper.protocols.morpho_blue.health import Sheet, unpriced
from keeper.protocols.search import breach_edge, least, move_bps

_MOST_COLLATERAL = (1 << 128) - 1


def demands(sheet: Sheet, target_wad: int) -> tuple[Demand, ...]:
    """The smallest pledge, and the smallest repayment, that alone reaches the target.

    Nothing when the target is met already, nothing is owed, or the position cannot be judged. A pledge that the market
    cannot take, or that a worthless collateral asks for without end, is left out.
    """
    factor = sheet.factor_wad
    if unpriced(sheet) or factor is None or factor >= target_wad:
        return ()
    found = [_top_up(sheet, target_wad), _repayment(sheet, target_wad)]
    return tuple(demand for demand in found if demand is not None)


def _top_up(sheet: Sheet, target_wad: int) -> Demand | None:
    def after(assets: int) -> Sheet:
        return replace(sheet, collateral_assets=sheet.collateral_assets + assets)

    needed = div_up(target_wad * (sheet.borrowed or 0), WAD)

    def cured(assets: int) -> bool:
        limit = after(assets).limit
        return limit is not None and limit >= needed

    most = _MOST_COLLATERAL - sheet.collateral_assets
    if sheet.price_e36:
        while most > 1 and after(most).limit is None:
            most //= 2
    if most < 1 or not cured(most):
        return None
    assets = least(cured, 1, most, _pledge_of(needed, sheet) - sheet.collateral_assets)
    lending = sheet.lending
    return Demand(
        "add_collateral",
        lending.collateral,
        lending.collateral_symbol,
        lending.collateral_decimals,
        assets,
        after(assets).factor_wad,
    )


def _pledge_of(limit: int, sheet: Sheet) -> int:
    """About how much collateral allows owing so much, by the market's own threshold."""
    weighted = (sheet.price_e36 or 0) * sheet.lending.lltv_wad
    return limit * WAD * ORACLE_PRICE_SCALE // weighted if weighted else 0


def _repayment(sheet: Sheet, target_wad: int) -> Demand | None:
    borrowed = sheet.borrowed or 0

    def cured(assets: int) -> bool:
        factor = repaid(sheet, assets).factor_wad
        return factor is None or factor >= target_wad

    assets = least(cured, 1, borrowed, borrowed - (sheet.limit or 0) * WAD // target_wad)
    lending = sheet.lending
    return Demand(
        "repay",
        lending.loan,
        lending.loan_symbol,
        lending.loan_decimals,
        assets,
        repaid(sheet, assets).factor_wad,
    )


def repaid(sheet: Sheet, assets: int) -> Sheet:
    """After `repay` of so many raw units; all that is owed is repaid by shares, which leaves nothing."""
    owed = sheet.owed
    if owed is None or assets >= (sheet.borrowed or 0):
        return replace(sheet, borrow_shares=0)
    shares = min(to_shares_down(assets, owed.assets, owed.shares), sheet.borrow_shares)
    left = Owed(max(owed.assets - assets, 0), owed.shares - shares)
    return replace(sheet, owed=left, borrow_shares=sheet.borrow_shares - shares)


def breach_prices(sheet: Sheet) -> tuple[BreachPrice, ...]:
    """The highest price of the collateral, in the loan token, at which the position is liquidatable."""
    present = sheet.price_e36
    if unpriced(sheet) or not sheet.borrow_shares or not sheet.collateral_assets or not present:
        return ()
    worth = (sheet.borrowed or 0) * ORACLE_PRICE_SCALE * WAD
    near = worth // (sheet.collateral_assets * sheet.lending.lltv_wad)
    edge = breach_edge(lambda price: sheet.at_price(price).liquidatable, present, near)
    if edge is None:
        return ()
    lending = sheet.lending
    decimals = max(lending.price_decimals, 0)
    move = move_bps(present, edge)
    return (BreachPrice(lending.collateral, lending.collateral_symbol, edge, decimals, move, lending.loan_symbol),)

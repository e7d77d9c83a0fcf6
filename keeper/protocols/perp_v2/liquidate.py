"""Taking over positions of accounts below their maintenance margin.

A liquidation costs no token: the liquidator's own margin in the vault takes over the position at the mark price less a
discount, and must then still be enough for it. What is gained is the discount, less what leaving the position costs. So
the plan says how large a position it leaves us with, and none larger than configured is taken.
Source: ClearingHouse._liquidate, AccountBalance.getLiquidatablePositionSize.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keeper.core.types import LiquidationPair, LiquidationPlan, Skip, TxCall
from keeper.core.units import BPS, WAD, format_units
from keeper.protocols import words
from keeper.protocols.perp_v2 import abi
from keeper.protocols.perp_v2.logs import discount
from keeper.protocols.perp_v2.margin import PPM, Line, Sheet, towards_zero
from keeper.protocols.perp_v2.state import Market

_GAS = 1_200_000
_SMALL_VALUE_WAD = 100 * WAD  # AccountBalance._MIN_PARTIAL_LIQUIDATE_POSITION_VALUE


def liquidatable_size(position: Sheet, line: Line) -> int:
    """Base that may be taken over, with its sign: everything of a small or a deeply broken position, else at most half
    of all that the account has."""
    value = abs(line.value_wad)
    if not position.liquidatable or not line.size_wad:
        return 0
    if value <= _SMALL_VALUE_WAD:
        return line.size_wad
    ratio = PPM
    if position.account_value_wad >= towards_zero(position.requirement_wad, 2):
        ratio = min(position.notional_wad * PPM // (value * 2), PPM)
    return towards_zero(line.size_wad * ratio, PPM)


def plan(
    market: Market, key: bytes, position: Sheet, now: int, most_usd_wad: int, exit_cost_bps: int, receiver: bytes
) -> LiquidationPlan | Skip:
    """The most profitable market to take over a position in; or why there is none."""
    if position.unpriced:
        return Skip("unpriced", "no usable price of " + ", ".join("0x" + asset.hex() for asset in position.unpriced))
    if key == receiver:
        return Skip("own_account", "an account cannot take over its own position")
    if not position.liquidatable:
        return Skip("healthy", f"account value {position.account_value_wad} covers {position.requirement_wad}")
    if position.whole is not None:
        return Skip("open_orders", "its orders have to be cancelled first: ClearingHouse.cancelAllExcessOrders")
    if not most_usd_wad:
        return Skip("inherits_position", "a liquidation leaves us with the position; set max_inherited_usd to allow it")
    reasons: dict[str, str] = {}
    plans = list(_plans(market, key, position, now, most_usd_wad, exit_cost_bps, reasons))
    if plans:
        return max(plans, key=lambda one: one.profit_base)
    return next((Skip(code, detail) for code, detail in reasons.items()), Skip("nothing", "it has no position"))


def pairs(market: Market, position: Sheet) -> Sequence[LiquidationPair] | Skip:
    """None, whoever pays: the margin it takes cannot be borrowed for a moment."""
    if not position.liquidatable or position.unpriced:
        return Skip("healthy", f"account value {position.account_value_wad} covers {position.requirement_wad}")
    return Skip("needs_margin", "it takes margin in the vault, which no lender gives: the wallet's own account pays")


def _plans(
    market: Market,
    key: bytes,
    position: Sheet,
    now: int,
    most_usd_wad: int,
    exit_cost_bps: int,
    reasons: dict[str, str],
) -> Iterator[LiquidationPlan]:
    unit = position.unit
    for line in position.lines:
        if not line.size_wad:
            continue
        one = market.by_base[line.base]
        if not one.open:
            reasons.setdefault("closed", f"the market of {one.symbol} is not open")
            continue
        size = liquidatable_size(position, line)
        notional = abs(towards_zero(size * line.price_wad, WAD))
        if notional > most_usd_wad:
            reasons.setdefault(
                "inherits_too_much",
                f"it would leave us with {format_units(notional, 18, 2)} dollars of {one.symbol}, "
                f"max_inherited_usd is {format_units(most_usd_wad, 18)}",
            )
            continue
        gain = discount(notional, market.penalty_ppm, insolvent=position.account_value_wad < 0)
        profit = gain - notional * exit_cost_bps // BPS
        if profit <= 0:
            reasons.setdefault(
                "unprofitable",
                f"the discount on {one.symbol} is {format_units(gain, 18, 2)} dollars, leaving the position costs more",
            )
            continue
        yield LiquidationPlan(
            account=key,
            debt_asset=market.settlement,
            repay_assets=0,
            collateral_asset=market.settlement,
            expected_repaid_assets=0,
            expected_seized_assets=discount(notional, market.penalty_ppm, insolvent=False) // unit,
            profit_base=profit,
            judged_at=now,
            health_wad=position.health_wad,
            call=TxCall(market.clearing_house, words.encode(abi.LIQUIDATE, key, line.base)),
            approval=None,
            gas_limit_hint=_GAS,
        )

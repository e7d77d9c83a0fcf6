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
    if (refusal := _refusal(key, position, most_usd_wad, receiver)) is not None:
        return refusal
    reasons: dict[str, str] = {}
    planned = _plans if position.whole is None else _maker_plans
    plans = list(planned(market, key, position, now, most_usd_wad, exit_cost_bps, reasons))
    if plans:
        return max(plans, key=lambda one: one.profit_base)
    return next((Skip(code, detail) for code, detail in reasons.items()), Skip("nothing", "it has no position"))


def rejudge(
    market: Market,
    key: bytes,
    position: Sheet,
    now: int,
    most_usd_wad: int,
    exit_cost_bps: int,
    receiver: bytes,
    earlier: LiquidationPlan,
) -> LiquidationPlan | Skip:
    """An earlier plan with what its very call does now; or why it must not be sent. Exact, as `plan` is.

    The call names a market and no amount: the clearing house takes over as much as it may at the price of its block. So
    it keeps for accounts without orders; what orders must be cancelled first is never ready.
    """
    if (refusal := _refusal(key, position, most_usd_wad, receiver)) is not None:
        return refusal
    if position.whole is not None:
        return Skip("has_orders", "its orders have to be cancelled first")
    reasons: dict[str, str] = {}
    for one in _plans(market, key, position, now, most_usd_wad, exit_cost_bps, reasons):
        if one.call == earlier.call:
            return one
    return next((Skip(code, detail) for code, detail in reasons.items()), Skip("nothing", "it has no position there"))


def _refusal(key: bytes, position: Sheet, most_usd_wad: int, receiver: bytes) -> Skip | None:
    """Why nothing of it is taken over, in whatever market."""
    if position.unpriced:
        return Skip("unpriced", "no usable price of " + ", ".join("0x" + asset.hex() for asset in position.unpriced))
    if key == receiver:
        return Skip("own_account", "an account cannot take over its own position")
    if not position.liquidatable:
        return Skip("healthy", f"account value {position.account_value_wad} covers {position.requirement_wad}")
    if not most_usd_wad:
        return Skip("inherits_position", "a liquidation leaves us with the position; set max_inherited_usd to allow it")
    return None


def pairs(market: Market, position: Sheet) -> Sequence[LiquidationPair] | Skip:
    """None, whoever pays: the margin it takes cannot be borrowed for a moment."""
    if not position.liquidatable or position.unpriced:
        return Skip("healthy", f"account value {position.account_value_wad} covers {position.requirement_wad}")
    return Skip("needs_margin", "it takes margin in the vault, which no lender gives: the wallet's own account pays")


def _maker_plans(
    market: Market,
    key: bytes,
    position: Sheet,
    now: int,
    most_usd_wad: int,
    exit_cost_bps: int,
    reasons: dict[str, str],
) -> Iterator[LiquidationPlan]:
    """Of an account with orders, which anybody may cancel once it is below its margin, and has to before it can be
    liquidated. What it then holds in each market only the cancelling shows; all of it together is bounded by what its
    margin is required for, of which an account that is not deeply broken loses half at a time."""
    notional = position.requirement_wad * PPM // market.mm_ratio_ppm
    if notional > most_usd_wad:
        reasons.setdefault("inherits_too_much", _too_much(notional, "its markets", most_usd_wad))
        return
    traded = sorted(position.lines, key=lambda line: (-abs(line.size_wad), line.base))
    open_ones = [line for line in traded if market.by_base[line.base].open]
    if not open_ones:
        reasons.setdefault("closed", "none of its markets is open")
        return
    if position.account_value_wad >= towards_zero(position.requirement_wad, 2):
        notional //= 2
    gain = discount(notional, market.penalty_ppm, insolvent=position.account_value_wad < 0)
    cancel = tuple(
        TxCall(market.clearing_house, words.encode(abi.CANCEL_ALL_EXCESS_ORDERS, key, line.base)) for line in open_ones
    )
    profit = gain - notional * exit_cost_bps // BPS
    if profit <= 0:
        reasons.setdefault("unprofitable", _no_gain("its markets", gain))
        return
    yield _plan_of(market, key, position, open_ones[0].base, notional, profit, now, prepare=cancel)


def _too_much(notional_wad: int, what: str, most_usd_wad: int) -> str:
    return (
        f"it would leave us with {format_units(notional_wad, 18, 2)} dollars of {what}, "
        f"max_inherited_usd is {format_units(most_usd_wad, 18)}"
    )


def _no_gain(what: str, gain_wad: int) -> str:
    return f"the discount on {what} is {format_units(gain_wad, 18, 2)} dollars, leaving the position costs more"


def _plan_of(
    market: Market,
    key: bytes,
    position: Sheet,
    base: bytes,
    notional_wad: int,
    profit_wad: int,
    now: int,
    prepare: tuple[TxCall, ...] = (),
) -> LiquidationPlan:
    return LiquidationPlan(
        account=key,
        debt_asset=market.settlement,
        repay_assets=0,
        collateral_asset=market.settlement,
        expected_repaid_assets=0,
        expected_seized_assets=discount(notional_wad, market.penalty_ppm, insolvent=False) // position.unit,
        profit_base=profit_wad,
        judged_at=now,
        health_wad=position.health_wad,
        call=TxCall(market.clearing_house, words.encode(abi.LIQUIDATE, key, base)),
        approval=None,
        gas_limit_hint=_GAS,
        prepare=prepare,
    )


def _plans(
    market: Market,
    key: bytes,
    position: Sheet,
    now: int,
    most_usd_wad: int,
    exit_cost_bps: int,
    reasons: dict[str, str],
) -> Iterator[LiquidationPlan]:
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
            reasons.setdefault("inherits_too_much", _too_much(notional, one.symbol, most_usd_wad))
            continue
        gain = discount(notional, market.penalty_ppm, insolvent=position.account_value_wad < 0)
        profit = gain - notional * exit_cost_bps // BPS
        if profit <= 0:
            reasons.setdefault("unprofitable", _no_gain(one.symbol, gain))
            continue
        yield _plan_of(market, key, position, line.base, notional, profit, now)

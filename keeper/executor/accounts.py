"""What one liquidation turned over, to the last unit, and why it earned another profit than was expected. Pure.

    expected ─▶ interest ─▶ price ─▶ slippage ─▶ fee ─▶ gas ─▶ tip ─▶ other ─▶ realized

An expected statement becomes the realized one by one change after the other; a cause is what its change does to the
profit. So the causes add up to the difference exactly, whatever is rounded in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from keeper.core.types import Price, Prices
from keeper.core.units import BPS, WAD, mul_div_up
from keeper.executor.value import gas_value, value_down, value_up

CAUSES = ("interest", "price", "slippage", "fee", "gas", "tip", "other")
"""interest: more or less debt was repaid than planned, at the planned seizure per unit; a debt grows every second.
price: the protocol's prices moved: it seized more or less per unit repaid, and amounts and gas are worth another value.
slippage: the sale brought another amount for a unit sold. fee: of the loan. gas, tip: in native coin, at the planned
price. other: what the contract gained and no event explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnover:
    """Everything that moved. Raw units: repaid, proceeds, fee of the debt token, seized, sold of the collateral.

    other_debt, other_collateral: what we gained beyond that; zero with tokens that move what they say they move.
    gas_wei: a rollup's data fee included. tip_wei: to the block's builder, besides the priority fee.
    """

    repaid: int = 0
    seized: int = 0
    sold: int = 0
    proceeds: int = 0
    fee: int = 0
    other_debt: int = 0
    other_collateral: int = 0
    gas_wei: int = 0
    tip_wei: int = 0

    @property
    def debt_gain(self) -> int:
        """Raw units of the debt token that we have more; negative where the wallet pays."""
        return self.proceeds - self.repaid - self.fee + self.other_debt

    @property
    def collateral_gain(self) -> int:
        return self.seized - self.sold + self.other_collateral


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What amounts are worth at one block. haircut_bps: what of the value of collateral kept is not counted."""

    debt_asset: bytes
    debt_decimals: int
    debt: Price
    collateral_asset: bytes
    collateral_decimals: int
    collateral: Price
    native: Price
    base_decimals: int
    haircut_bps: int = 0


@dataclass(frozen=True, slots=True)
class Statement:
    turnover: Turnover
    rates: Rates

    @property
    def profit(self) -> int:
        """In base-currency units, after gas and tip. What we gain rounds down, what we lose rounds up."""
        moved, rates = self.turnover, self.rates
        base, haircut_bps = rates.base_decimals, rates.haircut_bps
        debt = _signed_value(moved.debt_gain, rates.debt_decimals, rates.debt, base)
        kept = _signed_value(moved.collateral_gain, rates.collateral_decimals, rates.collateral, base)
        if kept > 0:
            kept = kept * (BPS - haircut_bps) // BPS
        return debt + kept - gas_value(moved.gas_wei + moved.tip_wei, rates.native, base)

    @property
    def loss_wad(self) -> int:
        """The profit below zero, in whole units of the base currency scaled by 1e18; rounded up."""
        return mul_div_up(max(-self.profit, 0), WAD, 10**self.rates.base_decimals)


def rates_at(
    debt_asset: bytes,
    collateral_asset: bytes,
    native_asset: bytes | None,
    prices: Prices,
    decimals: Mapping[bytes, int],
    base_decimals: int,
    haircut_bps: int,
) -> Rates | None:
    """None when a price, or the decimals of a token, are not known. decimals: by token."""
    if native_asset is None or native_asset not in prices:
        return None
    if any(asset not in prices or asset not in decimals for asset in (debt_asset, collateral_asset)):
        return None
    return Rates(
        debt_asset=debt_asset,
        debt_decimals=decimals[debt_asset],
        debt=prices[debt_asset],
        collateral_asset=collateral_asset,
        collateral_decimals=decimals[collateral_asset],
        collateral=prices[collateral_asset],
        native=prices[native_asset],
        base_decimals=base_decimals,
        haircut_bps=haircut_bps,
    )


def difference(expected: Statement, realized: Statement) -> Mapping[str, int]:
    """By cause, in base-currency units; their sum is the realized profit less the expected one, exactly."""
    before, after = expected.turnover, realized.turnover
    interest = _repaying(before, after.repaid)
    seizure = _seizing(interest, after.seized)
    slippage = replace(seizure, sold=after.sold, proceeds=after.proceeds)
    fee = replace(slippage, fee=after.fee)
    gas = replace(fee, gas_wei=after.gas_wei)
    tip = replace(gas, tip_wei=after.tip_wei)
    other = replace(tip, other_debt=after.other_debt, other_collateral=after.other_collateral)
    steps = [before, interest, seizure, slippage, fee, gas, tip, other]
    profits = [Statement(step, expected.rates).profit for step in steps]
    moves = [then - now for now, then in pairwise(profits)]
    causes = dict(zip(CAUSES, moves, strict=True))
    causes["price"] += realized.profit - profits[-1]
    return causes


def _repaying(moved: Turnover, repaid: int) -> Turnover:
    seized = moved.seized * repaid // moved.repaid if moved.repaid else moved.seized
    return replace(_seizing(moved, seized), repaid=repaid)


def _seizing(moved: Turnover, seized: int) -> Turnover:
    """With another seizure. Where all of it is sold, more is sold for as much a unit."""
    if moved.sold != moved.seized or not moved.seized:
        return replace(moved, seized=seized)
    return replace(moved, seized=seized, sold=seized, proceeds=moved.proceeds * seized // moved.seized)


def _signed_value(amount: int, decimals: int, price: Price, base_decimals: int) -> int:
    if amount < 0:
        return -value_up(-amount, decimals, price, base_decimals)
    return value_down(amount, decimals, price, base_decimals)


# --- stored form ------------------------------------------------------------------------------------------------------


def dump_statement(statement: Statement) -> Mapping[str, Any]:
    """JSON-ready, and readable by itself: amounts are decimal strings, addresses hex."""
    moved, rates = statement.turnover, statement.rates
    gains = (
        (rates.debt_asset, rates.debt_decimals, rates.debt, moved.debt_gain),
        (rates.collateral_asset, rates.collateral_decimals, rates.collateral, moved.collateral_gain),
    )
    return {
        "profit": str(statement.profit),
        **{field.name: str(getattr(moved, field.name)) for field in fields(Turnover)},
        "gains": [
            {"asset": "0x" + asset.hex(), "decimals": decimals, "amount": str(amount), "price": _dump_price(price)}
            for asset, decimals, price, amount in gains
        ],
        "native_price": _dump_price(rates.native),
        "base_decimals": rates.base_decimals,
        "haircut_bps": rates.haircut_bps,
    }


def load_statement(stored: Mapping[str, Any]) -> Statement:
    debt, collateral = stored["gains"]
    return Statement(
        Turnover(**{field.name: int(stored[field.name]) for field in fields(Turnover)}),
        Rates(
            debt_asset=bytes.fromhex(debt["asset"][2:]),
            debt_decimals=debt["decimals"],
            debt=_load_price(debt["price"]),
            collateral_asset=bytes.fromhex(collateral["asset"][2:]),
            collateral_decimals=collateral["decimals"],
            collateral=_load_price(collateral["price"]),
            native=_load_price(stored["native_price"]),
            base_decimals=stored["base_decimals"],
            haircut_bps=stored["haircut_bps"],
        ),
    )


def _dump_price(price: Price) -> Mapping[str, Any]:
    return {"value": str(price.value), "decimals": price.decimals}


def _load_price(stored: Mapping[str, Any]) -> Price:
    return Price(int(stored["value"]), stored["decimals"])

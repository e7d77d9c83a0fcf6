"""Judging a position: its health, everything its owner may ask, and its weights in the vectorised screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from keeper.core.types import Assessment, Health, Holding, Linear, Price, Prices, Slack
from keeper.core.units import BPS, UINT256_MAX, WAD, mul_div_down, mul_div_up
from keeper.protocols.morpho_blue.accrue import Owed
from keeper.protocols.morpho_blue.arithmetic import (
    ORACLE_PRICE_SCALE,
    VIRTUAL_SHARES,
    liquidation_incentive,
    max_borrow,
)
from keeper.protocols.morpho_blue.offers import Offer
from keeper.protocols.morpho_blue.prices import BASE_DECIMALS
from keeper.protocols.morpho_blue.state import Lending, Market, Position

_WAD_PER_BPS = WAD // BPS


def borrowed(owed: Owed | None, shares: int) -> int | None:
    """Raw loan units that so many shares owe, rounded up; zero for none, whatever is unknown."""
    if not shares:
        return 0
    return None if owed is None else owed.by(shares)


def limit(collateral_assets: int, price_e36: int | None, lltv_wad: int) -> int | None:
    """The most that may be owed. None where the contract would revert: no price, or a product beyond 256 bits."""
    if price_e36 is None or collateral_assets * price_e36 > UINT256_MAX:
        return None
    return max_borrow(collateral_assets, price_e36, lltv_wad)


@dataclass(frozen=True, slots=True)
class Line:
    """A threshold that the owner has agreed to beside the market's. price_e36: of the offer's own oracle."""

    offer: Offer
    price_e36: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """One position at one moment. owed: all that its market owes, None when nobody can tell; price_e36: likewise.
    lines: of pre-liquidation contracts that its owner has authorized, and whose oracle answers."""

    lending: Lending
    owed: Owed | None
    price_e36: int | None
    borrow_shares: int
    collateral_assets: int
    lines: tuple[Line, ...] = ()

    @property
    def borrowed(self) -> int | None:
        return borrowed(self.owed, self.borrow_shares)

    @property
    def max_borrow(self) -> int | None:
        """By the market's own threshold."""
        return limit(self.collateral_assets, self.price_e36, self.lending.lltv_wad)

    @property
    def limit(self) -> int | None:
        """By the lowest threshold that its owner has agreed to. Health counts every offer, also one beyond its own end
        (`open_lines`): its oracle has only to see a little more collateral, or its owner to add some, and it opens."""
        limits = [
            self.max_borrow,
            *(limit(self.collateral_assets, one.price_e36, one.offer.pre_lltv_wad) for one in self.lines),
        ]
        known = [one for one in limits if one is not None]
        return min(known) if limits[0] is not None else None

    def at_price(self, price_e36: int) -> Sheet:
        """The same when the market's oracle says so."""
        lines = tuple(
            replace(one, price_e36=price_e36) if one.offer.oracle == self.lending.oracle else one for one in self.lines
        )
        return replace(self, price_e36=price_e36, lines=lines)

    @property
    def factor_wad(self) -> int | None:
        """limit over borrowed, rounded down; None when nothing is owed, or when nobody can tell."""
        most, owes = self.limit, self.borrowed
        return None if most is None or not owes else most * WAD // owes

    @property
    def liquidatable(self) -> bool:
        """By the contracts' own comparison: Morpho's, or that of one of `open_lines`. False when nobody can tell."""
        most, owes = self.max_borrow, self.borrowed
        return most is not None and owes is not None and (most < owes or bool(self.open_lines))

    @property
    def open_lines(self) -> tuple[Line, ...]:
        """Offers through which anybody may liquidate. One whose own oracle says that Morpho would refuses to, whatever
        Morpho's oracle says."""
        return tuple(line for line in self.lines if self._is_open(line))

    def _is_open(self, line: Line) -> bool:
        owes, lltv_wad = self.borrowed, self.lending.lltv_wad
        least = limit(self.collateral_assets, line.price_e36, line.offer.pre_lltv_wad)
        most = limit(self.collateral_assets, line.price_e36, lltv_wad)
        return owes is not None and least is not None and most is not None and least < owes <= most


def unpriced(sheet: Sheet) -> tuple[bytes, ...]:
    """What keeps a debt from being judged: the collateral, without an oracle that answers; the loan token, when its
    rate is unknown."""
    if not sheet.borrow_shares:
        return ()
    found = [sheet.lending.collateral] if sheet.max_borrow is None else []
    return tuple(dict.fromkeys([*found, *([sheet.lending.loan] if sheet.borrowed is None else [])]))


def collateral_in_loan(sheet: Sheet) -> int | None:
    """What the collateral is worth at the market's own price, in raw loan units, rounded down."""
    if sheet.price_e36 is None:
        return None
    return mul_div_down(sheet.collateral_assets, sheet.price_e36, ORACLE_PRICE_SCALE)


def base_value(lending: Lending, loan_assets: int | None, worth: Price | None, *, up: bool = False) -> int | None:
    """Base currency units of raw loan units; None without a reference for the loan token."""
    if worth is None or loan_assets is None:
        return None
    divide = mul_div_up if up else mul_div_down
    return divide(loan_assets * worth.value, 10**BASE_DECIMALS, 10 ** (lending.loan_decimals + worth.decimals))


def judge(sheet: Sheet, worth: Price | None) -> Health:
    """worth: of the loan token; without it the values are zero, and the health is as exact."""
    unknown = unpriced(sheet)
    lending = sheet.lending
    return Health(
        factor_wad=None if unknown else sheet.factor_wad,
        liquidatable=not unknown and sheet.liquidatable,
        collateral_value=base_value(lending, collateral_in_loan(sheet), worth) or 0,
        debt_value=base_value(lending, sheet.borrowed, worth, up=True) or 0,
        unpriced_assets=unknown,
    )


def assess(sheet: Sheet, worth: Price | None) -> Assessment:
    lending, owes = sheet.lending, sheet.borrowed
    threshold_bps = lending.lltv_wad // _WAD_PER_BPS
    collateral = Holding(
        asset=lending.collateral,
        symbol=lending.collateral_symbol,
        decimals=lending.collateral_decimals,
        amount=sheet.collateral_assets,
        value=base_value(lending, collateral_in_loan(sheet), worth),
        liquidation_threshold_bps=threshold_bps,
        loan_to_value_bps=threshold_bps,
        liquidation_penalty_bps=liquidation_incentive(lending.lltv_wad) // _WAD_PER_BPS - BPS,
    )
    debts: tuple[Holding, ...] = ()
    if sheet.borrow_shares and owes is not None:
        value = base_value(lending, owes, worth, up=True)
        debts = (Holding(lending.loan, lending.loan_symbol, lending.loan_decimals, owes, value),)
    return Assessment(
        health=judge(sheet, worth),
        collaterals=(collateral,) if sheet.collateral_assets else (),
        debts=debts,
        native=native(owes, sheet.collateral_assets, sheet.max_borrow),
        market_name=lending.name,
    )


def native(owes: int | None, collateral_assets: int, most: int | None) -> Mapping[str, int | bool | None]:
    """What `liquidate` would find, under its own names. None for what the contract could not tell either."""
    healthy: bool | None = True
    if owes != 0:
        healthy = None if most is None or owes is None else most >= owes
    return {"borrowAssets": owes, "collateral": collateral_assets, "maxBorrow": most, "isHealthy": healthy}


# --- the screen -------------------------------------------------------------------------------------------------------
#
# Slot 2k is the collateral of the k-th market, slot 2k + 1 its debt, both in raw units of its loan token: a row is of
# one market only, so rows need no common currency. The last slot is always NaN: it sends positions with thresholds of
# their own to exact judgement.


def linear(market: Market, position: Position) -> Linear:
    place = market.places.get(position.market)
    if place is None:
        return Linear((), ())
    weight = position.collateral_assets * (market.lendings[place].lltv_wad / WAD)
    required: tuple[tuple[int, float], ...] = ()
    if position.borrow_shares:
        required = ((2 * place + 1, float(position.borrow_shares)),)
    if position.borrow_shares and position.authorized:
        required = (*required, (2 * len(market.lendings), 1.0))
    return Linear(((2 * place, weight),), required)


def factors(market: Market, prices: Prices, owed: Callable[[Lending], Owed | None]) -> list[float]:
    """Raw loan units per raw unit of collateral, and per share. NaN where nobody can tell, or nothing is owed."""
    values: list[float] = []
    for lending in market.lendings:
        price = prices.get(lending.id)
        total = owed(lending) if lending.borrow_shares else None
        values.append(float("nan") if price is None else price.value / ORACLE_PRICE_SCALE)
        values.append(float("nan") if total is None else (total.assets + 1) / (total.shares + VIRTUAL_SHARES))
    return [*values, float("nan")]


def slack(market: Market) -> Slack:
    """Each of three roundings costs at most one raw loan unit; for thresholds of health below 16."""
    return Slack(relative=1e-9, absolute=32.0, grains=(0.0,) * (2 * len(market.lendings) + 1))


def same_weights(before: Market, after: Market) -> bool:
    return before is after or [one.id for one in before.lendings] == [one.id for one in after.lendings]

"""A position as a balance sheet at one moment. Judging it, and asking "what if", both work on this one value.

Source: Comptroller._getHypotheticalLiquiditySnapshot; of Compound v2, getHypotheticalAccountLiquidityInternal.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from keeper.core.types import Prices
from keeper.core.units import WAD
from keeper.protocols.venus.interest import Accrued, accrue, owed, slot_at, soonest_slot, stored
from keeper.protocols.venus.state import Account, Market, VMarket

Accrual = Callable[[VMarket], Accrued]


@dataclass(frozen=True, slots=True)
class Line:
    """One entered market. price: dollars per raw unit, scaled by 1e36, as the pool's oracle says."""

    market: VMarket
    accrued: Accrued
    tokens: int
    owed_assets: int
    price_e36: int

    @property
    def token_price(self) -> int:
        return self.accrued.exchange_rate_wad * self.price_e36 // WAD

    def weighted_price(self, *, isolated: bool) -> int:
        """What a vToken counts for: three factors, each product rounded down, in another order on Compound v2."""
        threshold = self.market.liquidation_threshold_wad
        if isolated:
            return threshold * self.token_price // WAD
        return threshold * self.accrued.exchange_rate_wad // WAD * self.price_e36 // WAD

    @property
    def held_assets(self) -> int:
        """Underlying that the vTokens are worth, rounded down."""
        return self.tokens * self.accrued.exchange_rate_wad // WAD


@dataclass(frozen=True, slots=True)
class Totals:
    """Dollars scaled by 1e18."""

    collateral: int
    weighted: int
    borrows: int

    @property
    def liquidity(self) -> int:
        return max(self.weighted - self.borrows, 0)

    @property
    def shortfall(self) -> int:
        return max(self.borrows - self.weighted, 0)

    @property
    def health_wad(self) -> int | None:
        """None when nothing is owed. Below 1e18 exactly when there is a shortfall, for debts of a dollar or more."""
        return self.weighted * WAD // self.borrows if self.borrows else None


@dataclass(frozen=True, slots=True)
class Sheet:
    """Lines of every entered market. unpriced: their assets without a usable price; they have no line."""

    lines: tuple[Line, ...]
    unpriced: tuple[bytes, ...] = ()
    isolated: bool = True

    def totals(self) -> Totals:
        collateral = weighted = borrows = 0
        for line in self.lines:
            price = line.token_price
            weighted += line.weighted_price(isolated=self.isolated) * line.tokens // WAD
            collateral += price * line.tokens // WAD
            borrows += line.price_e36 * line.owed_assets // WAD
        return Totals(collateral, weighted, borrows)

    def line(self, vtoken: bytes) -> Line:
        return next(line for line in self.lines if line.market.vtoken == vtoken)

    def with_line(self, changed: Line) -> Sheet:
        same = changed.market.vtoken
        return replace(self, lines=tuple(changed if line.market.vtoken == same else line for line in self.lines))

    def with_price(self, asset: bytes, price_e36: int) -> Sheet:
        lines = (replace(one, price_e36=price_e36) if one.market.asset == asset else one for one in self.lines)
        return replace(self, lines=tuple(lines))

    @property
    def forced(self) -> bool:
        """Whether it owes in a market whose debts may be liquidated however healthy the account is."""
        return any(line.market.forced and line.owed_assets for line in self.lines)


def sheet(market: Market, prices: Prices, account: Account, accrual: Accrual) -> Sheet:
    lines: list[Line] = []
    unpriced: set[bytes] = set()
    supplies, debts = dict(account.supplies), {debt.vtoken: debt for debt in account.debts}
    for vtoken in account.entered:
        if (one := market.by_vtoken.get(vtoken)) is None:
            continue
        price = prices.get(one.asset)
        if price is None:  # the pool itself refuses to judge then, whatever is held in the market
            unpriced.add(one.asset)
            continue
        now, debt = accrual(one), debts.get(vtoken)
        amount = 0 if debt is None else owed(debt, now.borrow_index_wad)
        lines.append(Line(one, now, supplies.get(vtoken, 0), amount, price.value))
    return Sheet(tuple(lines), tuple(sorted(unpriced)), market.isolated)


def accrued_at(market: Market, prices: Prices, now: int) -> Accrual:
    """What a liquidation at this time sees, once every market has accrued."""
    known: dict[bytes, Accrued] = {}

    def accrual(one: VMarket) -> Accrued:
        found = known.get(one.vtoken)
        if found is None:
            found = known[one.vtoken] = accrue(one, slot_at(market, one, prices, now))
        return found

    return accrual


def accrued_soonest(market: Market, prices: Prices, now: int) -> Accrual:
    """The same in the earliest block that a transaction expected at this time can be in."""
    return lambda one: accrue(one, soonest_slot(market, one, prices, now))


def accrued_only(fresh: Accrual, touched: Container[bytes]) -> Accrual:
    """What `liquidateBorrow` sees: it accrues the two markets concerned, and takes the others as stored."""
    return lambda one: fresh(one) if one.vtoken in touched else stored(one)

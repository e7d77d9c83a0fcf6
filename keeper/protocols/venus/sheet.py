"""A position as a balance sheet at one moment. Judging it, and asking "what if", both work on this one value.

Interest is added market by market, whenever one is touched, and a call that liquidates touches only some: the same
account at the same moment has more than one health. Whoever liquidates chooses; so the least of them is the account's
(`Sheet.views`).
Source: Comptroller._getHypotheticalLiquiditySnapshot; of Compound v2, getHypotheticalAccountLiquidityInternal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from keeper.core.types import Prices
from keeper.core.units import WAD
from keeper.protocols.venus.interest import Accrued, accrue, owed, slot_at, soonest_slot
from keeper.protocols.venus.state import Account, Market, VMarket

Accrual = Callable[[VMarket], Accrued]
Counts = tuple[int, int, int]  # collateral, weighted, borrows, as in `Totals`


@dataclass(frozen=True, slots=True)
class Line:
    """One entered market. price: dollars per raw unit, scaled by 1e36, as the pool's oracle says.

    stored_owed_assets: without the interest that waits (`Accrued.before`); of no meaning where none does.
    """

    market: VMarket
    accrued: Accrued
    tokens: int
    owed_assets: int
    price_e36: int
    stored_owed_assets: int = 0

    @property
    def token_price(self) -> int:
        return self.accrued.exchange_rate_wad * self.price_e36 // WAD

    @property
    def touched(self) -> Line:
        """The same as its market's next transaction leaves it: no interest waits."""
        return self if self.accrued.before is None else replace(self, accrued=replace(self.accrued, before=None))

    def counts(self, *, isolated: bool) -> Counts:
        """What it adds to the account's totals."""
        return self._counts(self.accrued.exchange_rate_wad, self.owed_assets, isolated)

    def stored_counts(self, *, isolated: bool) -> Counts:
        """The same without the interest that waits."""
        before = self.accrued.before
        if before is None:
            return self.counts(isolated=isolated)
        return self._counts(before.exchange_rate_wad, self.stored_owed_assets, isolated)

    @property
    def waits(self) -> bool:
        """Whether interest waits that could make a difference."""
        return self.accrued.before is not None and bool(self.tokens or self.owed_assets)

    def _counts(self, rate_wad: int, owed_assets: int, isolated: bool) -> Counts:
        """A vToken counts for three factors, each product rounded down, in another order on Compound v2."""
        price_e36, tokens = self.price_e36, self.tokens
        borrows = price_e36 * owed_assets // WAD
        if not tokens:
            return 0, 0, borrows
        price, threshold = rate_wad * price_e36 // WAD, self.market.liquidation_threshold_wad
        weight = threshold * price // WAD if isolated else threshold * rate_wad // WAD * price_e36 // WAD
        return price * tokens // WAD, weight * tokens // WAD, borrows


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

    market: Market
    lines: tuple[Line, ...]
    unpriced: tuple[bytes, ...] = ()

    def totals(self) -> Totals:
        """Once every market has accrued, which anybody may have done in the block that liquidates."""
        return _total(line.counts(isolated=self.market.isolated) for line in self.lines)

    def seen(self, *touched: bytes) -> Totals:
        """With the interest of these vTokens' markets only. Of a debt's and a collateral's it is what `liquidateBorrow`
        sees, of none what `liquidateAccount` does."""
        isolated = self.market.isolated
        return _total(
            line.counts(isolated=isolated) if line.market.vtoken in touched else line.stored_counts(isolated=isolated)
            for line in self.lines
        )

    def views(self) -> list[Totals]:
        """What a liquidation may find: every market accrued, or each debt's and collateral's only, or, for an account
        so small that it is liquidated whole, none. Equal ones may be left out.

        The pool's least collateral decides by which call an account is liquidated; which views exist besides the last
        does not depend on it, since anybody may have any two markets accrue before.
        """
        isolated = self.market.isolated
        fresh = [line.counts(isolated=isolated) for line in self.lines]
        found = [_total(fresh)]
        waiting = {place for place, line in enumerate(self.lines) if line.waits}
        if not waiting:
            return found
        then = [line.stored_counts(isolated=isolated) for line in self.lines]
        stored = _total(then)
        if isolated and stored.collateral <= self.market.min_collateral_usd_wad:
            found.append(stored)
        pledged = [place for place, line in enumerate(self.lines) if line.tokens]
        for debt, line in enumerate(self.lines):
            for collateral in pledged if line.owed_assets else ():
                pair = (debt, collateral)
                if not waiting.issubset(pair):
                    found.append(_total(fresh[at] if at in pair else then[at] for at in range(len(then))))
        return found

    @property
    def health_wad(self) -> int | None:
        return least_health(self.views())

    @property
    def short(self) -> bool:
        """Whether any view has a shortfall, so that the pool lets the account be liquidated."""
        return any(view.shortfall for view in self.views())

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


def least_health(views: Iterable[Totals]) -> int | None:
    """None when nothing is owed in any."""
    return min((one for one in (view.health_wad for view in views) if one is not None), default=None)


def _total(counts: Iterable[Counts]) -> Totals:
    collateral = weighted = borrows = 0
    for one in counts:
        collateral += one[0]
        weighted += one[1]
        borrows += one[2]
    return Totals(collateral, weighted, borrows)


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
        before = owed(debt, now.before.borrow_index_wad) if debt is not None and now.before is not None else 0
        lines.append(Line(one, now, supplies.get(vtoken, 0), amount, price.value, before))
    return Sheet(market, tuple(lines), tuple(sorted(unpriced)))


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

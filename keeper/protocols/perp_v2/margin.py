"""An account's margin at one moment, in the contracts' own integers.

Dollars and base amounts are scaled by 1e18. Solidity's signed divisions truncate toward zero; amounts of the settlement
token are rounded down.
Source: Vault.getAccountValue, AccountBalance.getMarginRequirementForLiquidation and getPnlAndPendingFee,
Exchange.getPendingFundingPayment (@perp/curie-contract 2.8.4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from keeper.core.types import Prices
from keeper.core.units import WAD, div_up
from keeper.protocols.perp_v2.state import Account, Market, Reference

Q96 = 1 << 96
PPM = 1_000_000
DAY_S = 86_400
DUST_WAD = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A position. size_wad: as the contracts count it, without dust. funding_wad: what it owes, or is owed below 0."""

    base: bytes
    size_wad: int
    open_notional_wad: int
    funding_wad: int
    price_wad: int

    @property
    def value_wad(self) -> int:
        return towards_zero(self.size_wad * self.price_wad, WAD)


@dataclass(frozen=True, slots=True)
class Sheet:
    """deposits_wad: what collateral besides the settlement token counts for.

    whole: of an account with orders, the contracts' account value less its balance, and their requirement; its lines
    then tell only its part as a taker. unpriced: markets and tokens without a usable price.
    """

    unit: int  # of the settlement token, in 1e18ths of a dollar
    mm_ratio_ppm: int
    balance: int
    owed_pnl_wad: int
    deposits_wad: int
    lines: tuple[Line, ...]
    unpriced: tuple[bytes, ...] = ()
    whole: tuple[int, int] | None = None

    @property
    def account_value_wad(self) -> int:
        """Rounded down to the settlement token."""
        if self.whole is not None:
            return self.whole[0] + self.balance * self.unit
        funding = sum(line.funding_wad for line in self.lines)
        pnl = sum(line.value_wad + line.open_notional_wad for line in self.lines)
        value = self.deposits_wad + self.balance * self.unit - funding + self.owed_pnl_wad + pnl
        return value // self.unit * self.unit

    @property
    def notional_wad(self) -> int:
        return sum(abs(line.value_wad) for line in self.lines)

    @property
    def requirement_wad(self) -> int:
        if self.whole is not None:
            return self.whole[1]
        return self.notional_wad * self.mm_ratio_ppm // PPM

    @property
    def health_wad(self) -> int | None:
        """Account value over maintenance margin, rounded down; None when no margin is required."""
        return self.account_value_wad * WAD // self.requirement_wad if self.requirement_wad else None

    @property
    def liquidatable(self) -> bool:
        return self.account_value_wad < self.requirement_wad

    def with_deposit(self, assets: int) -> Sheet:
        """More of the settlement token, raw units."""
        return replace(self, balance=self.balance + assets)

    def with_price(self, base: bytes, price_wad: int) -> Sheet:
        lines = (replace(line, price_wad=price_wad) if line.base == base else line for line in self.lines)
        return replace(self, lines=tuple(lines))


def sheet(market: Market, prices: Prices, account: Account) -> Sheet:
    """At the judged block. Mark prices and funding of a later moment are not known."""
    unit = 10 ** (18 - market.settlement_decimals)
    unpriced: set[bytes] = set()
    lines = []
    for taken in account.positions:
        one, price = market.by_base.get(taken.base), prices.get(taken.base)
        size = 0 if abs(taken.size_wad) < DUST_WAD else taken.size_wad
        if one is None or (price is None and size):
            unpriced.add(taken.base)
            continue
        grown = one.growth_x96 - taken.growth_x96
        funding = towards_zero(towards_zero(taken.size_wad * grown, Q96), DAY_S)
        lines.append(Line(taken.base, size, taken.open_notional_wad, funding, 0 if price is None else price.value))
    deposits = 0
    for token, assets in account.deposits:
        kind, price = market.by_collateral.get(token), prices.get(token)
        if kind is None or price is None:
            unpriced.add(token)
            continue
        scaled = assets * 10 ** (18 - kind.decimals) if kind.decimals <= 18 else assets // 10 ** (kind.decimals - 18)
        deposits += scaled * price.value // 10**kind.price_decimals * kind.ratio_ppm // PPM
    whole = None
    if account.orders:
        view = market.maker_views.get(account.owner)
        if view is None:
            unpriced.add(market.settlement)
        else:
            whole = (view.account_value_wad - account.balance * unit, view.requirement_wad)
    terms = (unit, market.mm_ratio_ppm, account.balance, account.owed_pnl_wad, deposits)
    return Sheet(*terms, tuple(lines), tuple(sorted(unpriced)), whole)


def inferred(reference: Reference, payment_wad: int) -> int:
    """The growth that makes the reference owe this payment: the least change of it that does.

    The true one lies less than one unit of payment away. Whoever has a smaller position owes no more than one 1e-18th
    of a dollar more or less by it, and account values are rounded to a millionth: they differ only where a sum lies
    that near to such a step.
    """
    if not payment_wad or not reference.size_wad:
        return reference.growth_x96
    change = div_up(abs(payment_wad) * DAY_S * Q96, abs(reference.size_wad))
    return reference.growth_x96 + (change if (payment_wad > 0) == (reference.size_wad > 0) else -change)


def towards_zero(value: int, divisor: int) -> int:
    """value / divisor as Solidity divides signed numbers."""
    return value // divisor if value >= 0 else -(-value // divisor)

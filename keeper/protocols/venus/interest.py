"""Interest, exchange rates and what both make of a position, in the contracts' own integers.

Source: VToken.accrueInterest, _exchangeRateStored, _borrowBalanceStored; ExponentialNoError (isolated-pools 4.4.0).
"""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.types import Prices
from keeper.core.units import WAD
from keeper.protocols.venus.state import Debt, Market, VMarket

_YEAR_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Accrued:
    """A market's totals at one slot. before: as the contract holds them, when interest waits to be added to them."""

    borrow_index_wad: int
    total_borrows: int
    total_reserves: int
    total_supply: int
    cash: int
    exchange_rate_wad: int
    before: Accrued | None = None


def stored(one: VMarket) -> Accrued:
    """As the contract's views tell it, without interest since it was last touched."""
    totals = (one.borrow_index_wad, one.total_borrows, one.total_reserves, one.total_supply, one.cash)
    return Accrued(*totals, exchange_rate(one, one.total_borrows, one.total_reserves, one.total_supply, one.cash))


def accrue(one: VMarket, slot: int) -> Accrued:
    """As `accrueInterest` in this slot would leave it. A slot before the last accrual adds nothing."""
    slots, before = slot - one.accrued_slot, stored(one)
    if slots <= 0:
        return before
    factor_wad = one.borrow_rate_wad * slots
    interest = factor_wad * one.total_borrows // WAD
    borrows = interest + one.total_borrows
    reserves = one.reserve_factor_wad * interest // WAD + one.total_reserves
    index_wad = factor_wad * one.borrow_index_wad // WAD + one.borrow_index_wad
    rate_wad = exchange_rate(one, borrows, reserves, one.total_supply, one.cash)
    return Accrued(index_wad, borrows, reserves, one.total_supply, one.cash, rate_wad, before)


def exchange_rate(one: VMarket, borrows: int, reserves: int, supply: int, cash: int) -> int:
    """Underlying per vToken, raw over raw, scaled by 1e18, rounded down."""
    if supply == 0:
        return one.idle_rate_wad
    return (cash + borrows + one.bad_debt - reserves) * WAD // supply


def owed(debt: Debt, index_wad: int) -> int:
    """Raw units, rounded down as the contract does."""
    return debt.principal_assets * index_wad // debt.index_wad


def soonest_slot(market: Market, one: VMarket, prices: Prices, now: int) -> int:
    """The earliest slot that a transaction sent at the judged block can be in, for one expected at `now`.

    `slot_at` counts blocks by the market's own estimate, which pools keep for years while chains become faster, and
    skips what an uneven chain does not; and chains of several blocks a second give the next block the same second.
    What has to hold whenever it lands is judged here as well.
    """
    clock = prices.get(market.comptroller)
    slot = slot_at(market, one, prices, now)
    if clock is None:
        return slot
    return min(slot, (clock.updated_at or now) if one.time_based else clock.value + 1)


def slot_at(market: Market, one: VMarket, prices: Prices, now: int) -> int:
    """The slot at a time: seconds themselves, or a block number counted on from the judged block.

    Prices carry the judged block as the "price" of the comptroller (`reading.clock`). The next block is one further;
    beyond that, as many as the market's own estimate of blocks in a year.
    """
    if one.time_based:
        return now
    clock = prices.get(market.comptroller)
    if clock is None:
        return one.accrued_slot
    ahead_s = now - (clock.updated_at or now)
    return clock.value + (max(1, ahead_s * one.slots_per_year // _YEAR_S) if ahead_s > 0 else 0)

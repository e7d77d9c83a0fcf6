"""Interest: what a market owes at a moment, as Morpho would find it had it been touched then."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.types import Prices
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.arithmetic import taylor_compounded, to_assets_up, w_mul_down
from keeper.protocols.morpho_blue.irm import adaptive_curve_rate
from keeper.protocols.morpho_blue.prices import rate_key
from keeper.protocols.morpho_blue.state import Lending


@dataclass(frozen=True, slots=True)
class Owed:
    """All that is borrowed in a market, in raw units and in shares of it."""

    assets: int
    shares: int

    def by(self, shares: int) -> int:
        """What so many shares owe, rounded up."""
        return to_assets_up(shares, self.assets, self.shares)


def accrued(lending: Lending, prices: Prices, now: int) -> Owed | None:
    """None when interest has run since the market was touched and its model does not say at which rate: then nobody
    can liquidate there either."""
    elapsed = now - lending.updated_at
    if elapsed <= 0 or lending.irm == abi.ZERO or not lending.borrow_shares:
        return Owed(lending.borrow_assets, lending.borrow_shares)
    rate = borrow_rate(lending, prices, elapsed)
    if rate is None:
        return None
    interest = w_mul_down(lending.borrow_assets, taylor_compounded(rate, elapsed))
    return Owed(lending.borrow_assets + interest, lending.borrow_shares)


def borrow_rate(lending: Lending, prices: Prices, elapsed_s: int) -> int | None:
    """Per second (wad), on average since the market was touched. A model that is not computed here said it for the
    block it was asked at; for a moment after that its answer is taken to hold."""
    if lending.adaptive:
        return adaptive_curve_rate(lending.supply_assets, lending.borrow_assets, lending.rate_at_target_wad, elapsed_s)
    said = prices.get(rate_key(lending.id))
    return None if said is None else said.value

"""What a liquidation is worth after gas, and what it therefore offers for a place in a block. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from keeper.core.types import LiquidationPlan, Price
from keeper.executor.accounts import Rates, rates_at
from keeper.executor.fees import Fees, forecast_base_fee, tip_from_profit
from keeper.executor.ports import Settings, Venue
from keeper.executor.upkeep import Market


def native_price(venue: Venue, native_asset: bytes | None) -> Price | None:
    """None without a native asset, or without the venue's price for it."""
    return None if native_asset is None else venue.prices.get(native_asset)


def rates_of(
    venue: Venue, plan: LiquidationPlan, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> Rates | None:
    """At the venue's prices; None when a price, or the decimals of a token, are not known. decimals: by token."""
    return rates_at(
        plan.debt_asset,
        plan.collateral_asset,
        native_asset,
        venue.prices,
        decimals,
        venue.adapter.base_decimals(venue.book.market),
        plan.haircut_bps if plan.financing is None else plan.financing.haircut_bps,
    )


def bid(profit_wei: int, spare_wei: int, gas: int, market: Market, settings: Settings) -> Fees:
    """More than others offer where it earns more. spare_wei: what of the profit may be offered. gas: expected."""
    tip = tip_from_profit(
        profit_wei,
        spare_wei,
        gas,
        typical_wei=market.typical_tip_wei,
        share_bps=settings.tip_share_bps,
        ceiling_wei=min(settings.first_tip_wei, market.cap_wei - market.base_fee_wei),
    )
    most_wei = forecast_base_fee(market.base_fee_wei, settings.forecast_blocks) + tip
    return Fees(max(min(most_wei, market.first_cap_wei), market.base_fee_wei + tip), tip)


def padded_gas(gas_used: int) -> int:
    """A limit for a call that was charged so much: refunds (a fifth at most) come after, state may grow in between."""
    return gas_used * 3 // 2 + 30_000

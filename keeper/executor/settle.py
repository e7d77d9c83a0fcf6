"""What a mined liquidation brought, and why a reverted one did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from keeper.core.errors import DecodeError
from keeper.core.records import Intent
from keeper.executor.lifecycle import Receipt
from keeper.executor.ports import Venue
from keeper.executor.value import gas_value, value_down, value_up

log = structlog.get_logger(__name__)


def realize(
    intent: Intent, receipt: Receipt, venue: Venue, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> Intent:
    """The intent with what its transaction's logs say was repaid and seized, and the profit at the venue's prices: the
    block's at which the inclusion was seen. The profit stays unknown when a price or a token's decimals are.

    decimals: by token.
    """
    try:
        seen = [
            liquidation
            for liquidation in venue.adapter.liquidations(venue.book.market, receipt.logs)
            if liquidation.account == intent.account and liquidation.debt_asset == intent.debt_asset
        ]
    except DecodeError as error:
        log.warning("liquidation_receipt_not_decoded", intent=intent.id, error=str(error))
        return intent
    repaid, seized = sum(one.repaid_assets for one in seen), sum(one.seized_assets for one in seen)
    intent = replace(intent, repaid_assets=repaid, seized_assets=seized)
    return replace(intent, profit_realized=_profit(intent, receipt, venue, decimals, native_asset))


def _profit(
    intent: Intent, receipt: Receipt, venue: Venue, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> int | None:
    debt, collateral = intent.debt_asset, intent.collateral_asset
    if debt is None or collateral is None or intent.repaid_assets is None or intent.seized_assets is None:
        return None
    prices = venue.prices
    native = None if native_asset is None else prices.get(native_asset)
    if native is None or debt not in prices or collateral not in prices:
        return None
    if debt not in decimals or collateral not in decimals:
        return None
    base = venue.adapter.base_decimals(venue.book.market)
    seized = value_down(intent.seized_assets, decimals[collateral], prices[collateral], base)
    repaid = value_up(intent.repaid_assets, decimals[debt], prices[debt], base)
    return seized - repaid - gas_value(receipt.cost_wei, native, base)

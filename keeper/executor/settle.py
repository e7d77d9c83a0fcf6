"""What a mined liquidation brought, and why a reverted one did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from keeper.core.errors import DecodeError
from keeper.core.records import Intent
from keeper.core.types import LiquidationPlan, Price, RawLog
from keeper.core.units import BPS
from keeper.executor.lifecycle import Receipt
from keeper.executor.liquidator_calls import read_executed
from keeper.executor.ports import Venue
from keeper.executor.value import gas_value, value_down, value_up

log = structlog.get_logger(__name__)


def realize(
    intent: Intent, receipt: Receipt, venue: Venue, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> Intent:
    """The intent with what its transaction's logs say was repaid and seized, and the profit at the venue's prices: the
    block's at which the inclusion was seen. The profit stays unknown when a price or a token's decimals are.

    What our contract carried out brought what the contract says that it gained. decimals: by token.
    """
    try:
        seen = [
            liquidation
            for liquidation in venue.adapter.liquidations(venue.book.market, receipt.logs)
            if venue.adapter.position_id(liquidation.key) == intent.position
            and liquidation.debt_asset == intent.debt_asset
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
    base = venue.adapter.base_decimals(venue.book.market)
    native = None if native_asset is None else prices.get(native_asset)
    if (financing := intent.plan.get("financing")) is not None:
        gained = gained_value(financing, receipt.logs, venue)
        return None if native is None or gained is None else gained - gas_value(receipt.cost_wei, native, base)
    if native is None or debt not in prices or collateral not in prices:
        return None
    if debt not in decimals or collateral not in decimals:
        return None
    seized = value_down(intent.seized_assets, decimals[collateral], prices[collateral], base)
    repaid = value_up(intent.repaid_assets, decimals[debt], prices[debt], base)
    return seized - repaid - gas_value(receipt.cost_wei, native, base)


def gained_value(financing: Mapping[str, Any], logs: Iterable[RawLog], venue: Venue) -> int | None:
    """Base units that our contract says it gained by a plan, before gas; None when it does not say, or without a price.

    financing: of a stored plan.
    """
    token = bytes.fromhex(financing["gain_token"][2:])
    gain = _gain(logs, bytes.fromhex(financing["contract"][2:]), token)
    if gain is None or (price := venue.prices.get(token)) is None:
        return None
    return _value(gain, int(financing["gain_decimals"]), int(financing["haircut_bps"]), price, venue)


def as_simulated(plan: LiquidationPlan, logs: Iterable[RawLog], venue: Venue) -> LiquidationPlan:
    """A plan for our contract with the gain that its simulation showed, which knows what ran before it in the block."""
    financing = plan.financing
    if financing is None or (price := venue.prices.get(financing.gain_token)) is None:
        return plan
    gain = _gain(logs, plan.call.to, financing.gain_token)
    if gain is None:
        return plan
    profit = _value(gain, financing.gain_decimals, financing.haircut_bps, price, venue)
    return replace(plan, profit_base=profit, financing=replace(financing, gain_assets=gain))


def _value(gain: int, decimals: int, haircut_bps: int, price: Price, venue: Venue) -> int:
    base = venue.adapter.base_decimals(venue.book.market)
    return value_down(gain, decimals, price, base) * (BPS - haircut_bps) // BPS


def _gain(logs: Iterable[RawLog], contract: bytes, token: bytes) -> int | None:
    """What the contract says that it gained of the token; None when it does not say."""
    said = (read_executed(log) for log in logs if log.address == "0x" + contract.hex())
    gains = [executed.gain for executed in said if executed is not None and executed.token == token]
    return sum(gains) if gains else None

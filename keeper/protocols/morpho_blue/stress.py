"""What makes a position liquidatable on a fork: interest that came all at once, or another answer of its oracle.

A market's threshold is a part of its name and cannot be changed. What moves instead, while prices stay equal to those
of the pools, is what its borrowers owe: the total is written where Morpho keeps it, as if long left alone.
Source: the storage layout of Morpho in @morpho-org/morpho-blue 1.0.0 (MorphoStorageLib).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eth_hash.auto import keccak

from keeper.core.stress import CodeSet, Override, StorageSet, constant_feed
from keeper.core.types import Prices, Skip
from keeper.core.units import WAD
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.health import Sheet, limit, unpriced
from keeper.protocols.search import least

_MARKETS_SLOT = 3
_OPEN_WAD = WAD - WAD // 10**6  # interest moves health by less than this until the liquidation lands
_UINT128 = 1 << 128


def by_debt(morpho: bytes, sheet: Sheet, prices: Prices, now: int) -> Sequence[Override] | Skip:
    """The least by which all that its market owes must have grown; what suppliers are owed grows as much."""
    if (refusal := _hopeless(sheet)) is not None or sheet.liquidatable:
        return refusal or []
    lending, sheet = sheet.lending, _without_closed_offers(sheet)

    def grown(by: int) -> Sheet:
        more = replace(lending, supply_assets=lending.supply_assets + by, borrow_assets=lending.borrow_assets + by)
        return replace(sheet, owed=accrued(more, prices, now))

    def opened(by: int) -> bool:
        factor = grown(by).factor_wad
        return factor is not None and factor < _OPEN_WAD

    most = _UINT128 - 1 - max(lending.supply_assets, lending.borrow_assets)
    while most > 1 and opened(most // 2):
        most //= 2
    if most < 1 or not opened(most):
        return Skip("out_of_reach", "no debt that Morpho can hold opens it; rehearse it by price")
    by = least(opened, 1, most)
    first = int.from_bytes(keccak(lending.id + _MARKETS_SLOT.to_bytes(32, "big")), "big")
    return [
        StorageSet(morpho, first, _packed(lending.supply_assets + by, lending.supply_shares)),
        StorageSet(morpho, first + 1, _packed(lending.borrow_assets + by, lending.borrow_shares)),
    ]


def by_price(sheet: Sheet) -> Sequence[Override] | Skip:
    """The highest answer of its oracle that opens it."""
    if (refusal := _hopeless(sheet)) is not None or sheet.liquidatable:
        return refusal or []
    sheet = _without_closed_offers(sheet)

    def healthy(price: int) -> bool:
        factor = sheet.at_price(price).factor_wad
        return factor is None or factor >= _OPEN_WAD

    price = least(healthy, 1, sheet.price_e36 or 1) - 1
    if not price:
        return Skip("out_of_reach", "only a collateral that is worth nothing opens it")
    return [CodeSet(sheet.lending.oracle, constant_feed(price))]


def _without_closed_offers(sheet: Sheet) -> Sheet:
    """Of a position that nobody may liquidate: without offers that lower its health and open nothing."""
    owes = sheet.borrowed or 0
    most = (limit(sheet.collateral_assets, one.price_e36, one.offer.pre_lltv_wad) for one in sheet.lines)
    kept = (one for one, allowed in zip(sheet.lines, most, strict=True) if allowed is None or allowed >= owes)
    return replace(sheet, lines=tuple(kept))


def _hopeless(sheet: Sheet) -> Skip | None:
    """Why nothing opens it, whatever the lever."""
    if unknown := unpriced(sheet):
        return Skip("unpriced", f"no usable price or rate of {', '.join('0x' + asset.hex() for asset in unknown)}")
    if not sheet.borrow_shares:
        return Skip("no_debt", "it owes nothing")
    if not sheet.collateral_assets:
        return Skip("nothing_pledged", "no collateral is left")
    return None


def _packed(low: int, high: int) -> bytes:
    return (high << 128 | low).to_bytes(32, "big")

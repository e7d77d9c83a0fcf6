"""What makes an account liquidatable on a fork: lower liquidation thresholds, or lower prices, of what it has pledged.

Whoever may set thresholds is decided by the pool's AccessControlManager; on a fork that is replaced by code which says
yes to everybody, so no role has to be found, and no storage slot known. Prices of all its markets a pool asks of one
oracle, in whose place code answers for each of them.
Source: Comptroller.setCollateralFactor, _checkAccessAllowed, _safeGetUnderlyingPrice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keeper.core.ports import Reads
from keeper.core.stress import CodeSet, Lever, Override, SentAs, answers_about, constant_feed
from keeper.core.types import Prices, Skip, TxCall
from keeper.protocols import words
from keeper.protocols.search import least
from keeper.protocols.venus import abi
from keeper.protocols.venus.reading import ask
from keeper.protocols.venus.sheet import Sheet
from keeper.protocols.venus.state import Market
from keeper.protocols.words import call

_SCALE = 10**9  # in how many steps all are lowered together
_MARGIN = 10**6  # interest moves health by less than one part in this until the liquidation lands
_YES = 1


def overrides(market: Market, prices: Prices, position: Sheet, lever: Lever) -> Reads[Sequence[Override] | Skip]:
    """All thresholds of its collateral lowered by one factor, the largest that opens the position."""
    if position.unpriced:
        return Skip("unpriced", f"no usable price of {', '.join('0x' + asset.hex() for asset in position.unpriced)}")
    if not any(line.owed_assets for line in position.lines):
        return Skip("no_debt", "it owes nothing")
    if position.short or position.forced:
        return []

    if lever is Lever.PRICE:
        return _by_price(market, prices, position)

    def healthy(factor: int) -> bool:
        totals = _lowered(position, factor).totals()
        return totals.weighted * _MARGIN >= totals.borrows * (_MARGIN - 1)

    if healthy(0):
        return Skip("owes_too_little", "it stays healthy whatever its thresholds are")
    lowered = _lowered(position, least(healthy, 1, _SCALE) - 1)
    answers = yield from ask({"access": call(market.comptroller, abi.ACCESS_CONTROL_MANAGER)})
    access = words.maybe_address(answers["access"])
    if not access:
        return Skip("no_access_control", "the pool has no access control that could be replaced on a fork")
    said: list[Override] = [CodeSet(access, constant_feed(_YES))]
    for line in lowered.lines:
        if line.tokens:
            one, threshold = line.market, line.market.liquidation_threshold_wad
            factor = min(one.collateral_factor_wad, threshold)
            data = words.encode(abi.SET_COLLATERAL_FACTOR, one.vtoken, factor, threshold)
            said.append(SentAs(market.comptroller, TxCall(market.comptroller, data)))
    return said


def _by_price(market: Market, prices: Prices, position: Sheet) -> Sequence[Override] | Skip:
    """The prices of all its collateral that it does not also owe lowered by one factor, the largest that opens it."""
    owed = {line.market.asset for line in position.lines if line.owed_assets}
    falling = {line.market.asset: line.price_e36 for line in position.lines if line.tokens}
    falling = {asset: price for asset, price in falling.items() if asset not in owed}

    def cheaper(factor: int) -> dict[bytes, int]:
        return {asset: max(price * factor // _SCALE, 1) for asset, price in falling.items()}

    def healthy(factor: int) -> bool:
        after = position
        for asset, price in cheaper(factor).items():
            after = after.with_price(asset, price)
        totals = after.totals()
        return totals.weighted * _MARGIN >= totals.borrows * (_MARGIN - 1)

    if not falling:
        return Skip("same_assets", "it owes whatever it has pledged, so no price breaches it; rehearse it by threshold")
    if healthy(0):
        return Skip("other_collateral", "what it has pledged of the assets it owes covers the debt; try the threshold")
    lowered = cheaper(least(healthy, 1, _SCALE) - 1)
    said = {one.vtoken: prices[one.asset].value for one in market.markets if one.asset in prices}
    for one in market.markets:
        if one.asset in lowered:
            said[one.vtoken] = lowered[one.asset]
    return [CodeSet(market.oracle, answers_about(said))]


def _lowered(position: Sheet, factor: int) -> Sheet:
    lines = tuple(
        replace(
            line,
            market=replace(
                line.market, liquidation_threshold_wad=line.market.liquidation_threshold_wad * factor // _SCALE
            ),
        )
        for line in position.lines
    )
    return replace(position, lines=lines)

"""What makes an account liquidatable on a fork: lower liquidation thresholds of what it has pledged.

Whoever may set them is decided by the pool's AccessControlManager; on a fork that is replaced by code which says yes to
everybody, so no role has to be found, and no storage slot known.
Source: Comptroller.setCollateralFactor, _checkAccessAllowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keeper.core.ports import Reads
from keeper.core.stress import CodeSet, Lever, Override, SentAs, constant_feed
from keeper.core.types import Skip, TxCall
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


def overrides(market: Market, position: Sheet, lever: Lever) -> Reads[Sequence[Override] | Skip]:
    """All thresholds of its collateral lowered by one factor, the largest that opens the position."""
    if lever is Lever.PRICE:
        return Skip("not_by_price", "a Venus pool's oracle cannot be made to say another price; rehearse by threshold")
    if position.unpriced:
        return Skip("unpriced", f"no usable price of {', '.join('0x' + asset.hex() for asset in position.unpriced)}")
    if not any(line.owed_assets for line in position.lines):
        return Skip("no_debt", "it owes nothing")
    if position.totals().shortfall or position.forced:
        return []

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

"""What makes an account liquidatable on a fork: lower thresholds, or lower answers of the feeds of its collateral.

The pool takes a reserve's configuration from its PoolConfigurator without checking it, in every version of v3; so what
governance could not do (a threshold below the loan-to-value, a single basis point) can be done in its name. No role
has to be found, and no storage slot known.
Source: Pool.setConfiguration, Pool.configureEModeCategory of @aave-dao/aave-v3-origin 3.6.0 and @aave/core-v3 1.19.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from keeper.core.ports import Reads
from keeper.core.stress import CodeSet, Override, SentAs, constant_feed
from keeper.core.types import Call, Skip, TxCall
from keeper.core.units import WAD
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.discover import ask
from keeper.protocols.aave_v3.sheet import Line, Sheet
from keeper.protocols.aave_v3.state import EMode, Market, Reserve
from keeper.protocols.search import least

_SCALE = 10**9  # in how many steps all are lowered together
_OPEN_WAD = WAD - WAD // 10**6  # interest moves health by less than this until the liquidation lands
_THRESHOLD_BITS = 0xFFFF << 16
_LTV_BITS = 0xFFFF


def by_threshold(market: Market, position: Sheet) -> Reads[Sequence[Override] | Skip]:
    """All thresholds of its collateral lowered by one factor, the largest that opens the position."""
    if (refusal := _hopeless(position)) is not None or position.liquidatable:
        return refusal or []
    factor = _largest(lambda factor: _with_thresholds(position, factor))
    if factor is None:
        return Skip("owes_too_little", "it stays healthy with thresholds of one basis point; rehearse it by price")
    lowered = {line.reserve.id: line for line in _with_thresholds(position, factor).collateral}
    emode = position.emode
    in_emode = [line for line in lowered.values() if emode is not None and emode.covers(line.reserve.id)]
    alone = [line for line in lowered.values() if line not in in_emode]
    data = yield from ask({line.reserve.asset: _data(market, line.reserve) for line in alone})
    overrides = [_configured(market, line, abi.uint(data[line.reserve.asset], "getReserveData")) for line in alone]
    if emode is not None and in_emode:
        overrides.append(_category(market, replace(emode, liquidation_threshold_bps=in_emode[0].threshold_bps)))
    return overrides


def by_price(market: Market, position: Sheet) -> Reads[Sequence[Override] | Skip]:
    """The prices of all its collateral that it does not also owe lowered by one factor, the largest that opens it."""
    if (refusal := _hopeless(position)) is not None or position.liquidatable:
        return refusal or []
    owed = {line.reserve.asset for line in position.debts}
    falling = [line.reserve.asset for line in position.collateral if line.reserve.asset not in owed]
    if not falling:
        return Skip("same_assets", "it owes whatever it has pledged, so no price breaches it; rehearse it by threshold")
    factor = _largest(lambda factor: _with_prices(position, falling, factor))
    if factor is None:
        return Skip("other_collateral", "what it has pledged of the assets it owes covers the debt; try the threshold")
    sources = yield from ask({asset: abi.call(market.oracle, abi.GET_SOURCE_OF_ASSET, asset) for asset in falling})
    overrides: list[Override] = []
    for line in _with_prices(position, falling, factor).collateral:
        if line.reserve.asset not in falling:
            continue
        source = abi.maybe_address(sources[line.reserve.asset])
        if not source:
            return Skip("no_feed", f"the oracle has no feed of {line.reserve.symbol} that could answer otherwise")
        overrides.append(CodeSet(source, constant_feed(line.price)))
    return overrides


def _hopeless(position: Sheet) -> Skip | None:
    """Why nothing opens it, whatever the lever."""
    if position.unpriced:
        return Skip("unpriced", f"no usable price of {', '.join('0x' + asset.hex() for asset in position.unpriced)}")
    if not any(line.assets for line in position.debts):
        return Skip("no_debt", "it owes nothing")
    return None


def _largest(lowered: Callable[[int], Sheet]) -> int | None:
    """The largest factor, in parts of _SCALE, at which it is liquidatable; None when it is at none.

    Where an older pool truncates the average threshold, health is a sawtooth: what is found opens the position all the
    same, a hair below the largest that does.
    """

    def healthy(factor: int) -> bool:
        return lowered(factor).health_wad >= _OPEN_WAD

    if healthy(0):
        return None
    return least(healthy, 1, _SCALE) - 1


def _with_thresholds(position: Sheet, factor: int) -> Sheet:
    """Never less than a basis point: collateral with none does not count, and cannot be liquidated."""
    lines = tuple(
        replace(line, threshold_bps=max(line.threshold_bps * factor // _SCALE, min(line.threshold_bps, 1)))
        for line in position.collateral
    )
    return replace(position, collateral=lines)


def _with_prices(position: Sheet, assets: Sequence[bytes], factor: int) -> Sheet:
    lines = tuple(
        replace(line, price=max(line.price * factor // _SCALE, 1)) if line.reserve.asset in assets else line
        for line in position.collateral
    )
    return replace(position, collateral=lines)


def _data(market: Market, reserve: Reserve) -> Call:
    return abi.call(market.pool, abi.GET_RESERVE_DATA, reserve.asset)


def _configured(market: Market, line: Line, configuration: int) -> SentAs:
    """configuration: the reserve's present bitmap."""
    bits = configuration & ~(_THRESHOLD_BITS | _LTV_BITS) | line.threshold_bps << 16
    bits |= min(configuration & _LTV_BITS, line.threshold_bps)
    call = abi.encode(abi.SET_CONFIGURATION, line.reserve.asset, bits)
    return SentAs(market.configurator, TxCall(market.pool, call))


def _category(market: Market, emode: EMode) -> SentAs:
    """Its loan-to-value and its name do not matter to a liquidation."""
    threshold = emode.liquidation_threshold_bps
    terms: list[bytes | int] = [threshold, threshold, emode.liquidation_bonus_bps]
    selector = abi.CONFIGURE_EMODE
    if any(reserve.emode for reserve in market.reserves):  # until v3.1: with a price source
        selector = abi.CONFIGURE_EMODE_WITH_SOURCE
        terms.append(emode.price_source or abi.ZERO)
    name_at, no_name = 32 * (len(terms) + 1), 0
    call = abi.encode(selector, emode.id, 64, *terms, name_at, no_name)
    return SentAs(market.configurator, TxCall(market.pool, call))

"""Prices of every asset, asked of the pool's own oracle at every block, and the age of the feed behind each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from keeper.core.errors import DecodeError
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, Price, Prices
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.abi import call
from keeper.protocols.aave_v3.state import Account, Market
from keeper.protocols.feeds import aggregators


def head_calls(market: Market) -> list[Call]:
    """Prices by asset, then clocks, then the sentinel: a number that depends on the market alone."""
    calls = [call(market.oracle, abi.GET_ASSET_PRICE, asset) for asset in _priced(market)]
    calls += [Call(reserve.clock[:20], reserve.clock[20:]) for reserve in market.reserves if reserve.clock]
    if market.sentinel:
        calls.append(call(market.sentinel, abi.IS_LIQUIDATION_ALLOWED))
    return calls


def read_head(market: Market, results: Sequence[CallResult]) -> tuple[Prices, Market]:
    """Usable prices, and the market with the sentinel's present answer.

    A price that is zero, or whose call reverted, is absent: one broken feed leaves the other assets judged.
    """
    assets = _priced(market)
    clocked = [reserve.asset for reserve in market.reserves if reserve.clock]
    expected = len(assets) + len(clocked) + bool(market.sentinel)
    if len(results) != expected:
        raise DecodeError(f"{len(results)} results for the {expected} head calls of pool 0x{market.pool.hex()}")
    times = dict(zip(clocked, map(_updated_at, results[len(assets) :]), strict=False))
    prices = {}
    for asset, result in zip(assets, results, strict=False):
        if value := abi.maybe_uint(result):
            prices[asset] = Price(value, market.base_decimals, times.get(asset))
    return prices, _with_sentinel(market, results[-1]) if market.sentinel else market


def places(market: Market, accounts: Iterable[Account], assets: Collection[bytes]) -> list[int]:
    """Of the head calls, the prices of these assets and of what these accounts' flags and e-modes name, and the
    sentinel. Clocks only say whether a price is stale, which the pool does not ask."""
    wanted = set(assets)
    for account in accounts:
        wanted |= {market.by_id[one].asset for one, _, _ in account.flagged() if one in market.by_id}
        emode = market.by_category.get(account.emode)
        if emode is not None and emode.price_source:
            wanted.add(emode.price_source)
    found = [place for place, asset in enumerate(_priced(market)) if asset in wanted]
    return [*found, len(head_calls(market)) - 1] if market.sentinel else found


def read_places(
    market: Market, before: Prices, places: Sequence[int], results: Sequence[CallResult]
) -> tuple[Market, Prices]:
    """What `read_head` says where the other head calls return what they did before."""
    assets, found = _priced(market), dict(before)
    for place, result in zip(places, results, strict=True):
        if place >= len(assets):
            market = _with_sentinel(market, result)
        elif value := abi.maybe_uint(result):
            had = found.get(assets[place])
            found[assets[place]] = Price(value, market.base_decimals, None if had is None else had.updated_at)
        else:
            found.pop(assets[place], None)
    return market, found


def _with_sentinel(market: Market, result: CallResult) -> Market:
    is_open = abi.maybe_uint(result) == 1
    return market if is_open == market.sentinel_open else replace(market, sentinel_open=is_open)


def feeds(market: Market) -> Reads[dict[bytes, tuple[bytes, ...]]]:
    """What the oracle's sources stand on. A source that is set later comes with the next time this is asked."""
    assets = _priced(market)
    sources = yield [call(market.oracle, abi.GET_SOURCE_OF_ASSET, asset) for asset in assets]
    return (yield from aggregators({a: [abi.maybe_address(s)] for a, s in zip(assets, sources, strict=True)}))


def _priced(market: Market) -> list[bytes]:
    """Every listed asset, and what old e-mode categories are valued by."""
    assets = [reserve.asset for reserve in market.reserves]
    return assets + sorted({emode.price_source for emode in market.emodes if emode.price_source} - set(assets))


def _updated_at(result: CallResult) -> int | None:
    """From latestRoundData() or latestTimestamp(), told apart by their length. Zero is a feed without a round."""
    if result is None or len(result) < 32:
        return None
    at = 96 if len(result) >= 160 else 0
    return int.from_bytes(result[at : at + 32], "big") or None

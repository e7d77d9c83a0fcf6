"""Reading a pool: everything at first, later what a log says has changed.

Prices and borrow rates are asked at every block, since both move without a log that is ours: an interest rate model can
be set anew, and where a market counts its token balance as cash, anybody can give it more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from keeper.core.errors import ConfigError, DecodeError
from keeper.core.ports import Reads
from keeper.core.types import Block, Call, CallResult, Price, Prices
from keeper.core.units import UINT256_MAX
from keeper.protocols import words
from keeper.protocols.addresses import checksummed
from keeper.protocols.feeds import aggregators
from keeper.protocols.venus import abi
from keeper.protocols.venus.state import Action, Market, VMarket
from keeper.protocols.words import call

K = TypeVar("K")

_STATE = {
    "accrued_slot": abi.ACCRUAL_SLOT,
    "borrow_index_wad": abi.BORROW_INDEX,
    "total_borrows": abi.TOTAL_BORROWS,
    "total_reserves": abi.TOTAL_RESERVES,
    "total_supply": abi.TOTAL_SUPPLY,
    "cash": abi.GET_CASH,
    "borrow_rate_wad": abi.BORROW_RATE,
    "idle_rate_wad": abi.EXCHANGE_RATE_STORED,
}
_HEAD = (abi.BORROW_RATE, abi.GET_CASH)


def ask(calls: Mapping[K, Call]) -> Reads[dict[K, CallResult]]:
    """One round trip; answers by the same keys."""
    results = yield list(calls.values())
    return dict(zip(calls, results, strict=True))


def bootstrap(comptroller: bytes) -> Reads[Market]:
    """The whole pool, from nothing but its Comptroller. Three round trips. Raises ConfigError when it is none."""
    answers = yield from ask(
        {
            "markets": call(comptroller, abi.GET_ALL_MARKETS),
            "oracle": call(comptroller, abi.ORACLE),
            "close_factor": call(comptroller, abi.CLOSE_FACTOR),
            "incentive": call(comptroller, abi.LIQUIDATION_INCENTIVE),
            "least": call(comptroller, abi.MIN_LIQUIDATABLE_COLLATERAL),
        }
    )
    oracle = words.maybe_address(answers["oracle"])
    if answers["markets"] is None or not oracle:
        raise ConfigError(
            f"comptroller {checksummed(comptroller)} does not answer getAllMarkets() and oracle(); "
            "is it the Comptroller of a Venus pool on this chain?"
        )
    vtokens = words.address_list(answers["markets"], "getAllMarkets()")
    least = words.maybe_uint(answers["least"])
    isolated = least is not None
    markets = yield from _markets(comptroller, vtokens, isolated=isolated)
    return Market(
        comptroller=comptroller,
        oracle=oracle,
        isolated=isolated,
        close_factor_wad=words.uint(answers["close_factor"], "closeFactorMantissa()"),
        incentive_wad=words.uint(answers["incentive"], "liquidationIncentiveMantissa()"),
        min_collateral_usd_wad=least or 0,
        markets=markets,
    )


def _markets(comptroller: bytes, vtokens: Sequence[bytes], *, isolated: bool) -> Reads[tuple[VMarket, ...]]:
    calls: dict[Any, Call] = {}
    for vtoken in vtokens:
        calls |= _state_calls(vtoken)
        calls |= {
            (vtoken, "terms"): call(comptroller, abi.MARKETS, vtoken),
            (vtoken, "forced"): call(comptroller, abi.IS_FORCED_LIQUIDATION_ENABLED, vtoken),
            (vtoken, "cap"): call(comptroller, abi.SUPPLY_CAPS, vtoken),
            (vtoken, "asset"): call(vtoken, abi.UNDERLYING),
            (vtoken, "factor"): call(vtoken, abi.RESERVE_FACTOR),
            (vtoken, "share"): call(vtoken, abi.PROTOCOL_SEIZE_SHARE),
            (vtoken, "time_based"): call(vtoken, abi.IS_TIME_BASED),
            (vtoken, "year"): call(vtoken, abi.SLOTS_PER_YEAR),
        }
        calls |= {(vtoken, action): call(comptroller, abi.ACTION_PAUSED, vtoken, action) for action in Action}
    answers = yield from ask(calls)
    assets = {vtoken: words.maybe_address(answers[vtoken, "asset"]) for vtoken in vtokens}
    names = yield from ask(
        {(asset, what): call(asset, what) for asset in assets.values() if asset for what in (abi.SYMBOL, abi.DECIMALS)}
    )
    found = []
    for vtoken in vtokens:
        listed, collateral_factor, *more = words.words(answers[vtoken, "terms"], 3 if isolated else 2, "markets()")
        asset = assets[vtoken]
        decimals = words.maybe_uint(names.get((asset, abi.DECIMALS)))
        if not listed or not asset or decimals is None or decimals > 36:
            continue  # unlisted; or native coin, of which nothing can be approved
        found.append(
            VMarket(
                vtoken=vtoken,
                asset=asset,
                symbol=words.text(names[asset, abi.SYMBOL]) or "token",
                decimals=decimals,
                collateral_factor_wad=collateral_factor,
                liquidation_threshold_wad=more[0] if isolated else collateral_factor,
                reserve_factor_wad=words.uint(answers[vtoken, "factor"], "reserveFactorMantissa()"),
                seize_share_wad=words.maybe_uint(answers[vtoken, "share"]) or 0,
                forced=words.maybe_uint(answers[vtoken, "forced"]) == 1,
                paused=sum(1 << action for action in Action if words.maybe_uint(answers[vtoken, action]) == 1),
                supply_cap_assets=_or(words.maybe_uint(answers[vtoken, "cap"]), UINT256_MAX),
                time_based=words.maybe_uint(answers[vtoken, "time_based"]) == 1,
                slots_per_year=words.maybe_uint(answers[vtoken, "year"]) or 0,
                **_state(vtoken, answers),
            )
        )
    return tuple(found)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


# --- what moves -------------------------------------------------------------------------------------------------------


def _state_calls(vtoken: bytes) -> dict[Any, Call]:
    asked = {(vtoken, name): call(vtoken, selector) for name, selector in _STATE.items()}
    return asked | {(vtoken, "bad_debt"): call(vtoken, abi.BAD_DEBT)}


def _state(vtoken: bytes, answers: Mapping[Any, CallResult]) -> dict[str, Any]:
    state: dict[str, Any] = {name: words.uint(answers[vtoken, name], f"{name} of 0x{vtoken.hex()}") for name in _STATE}
    if state["total_supply"]:
        state["idle_rate_wad"] = 0  # only what is told while nothing is supplied
    return {**state, "bad_debt": words.maybe_uint(answers[vtoken, "bad_debt"]) or 0}


def moved_calls(vtokens: Iterable[bytes]) -> dict[Any, Call]:
    calls: dict[Any, Call] = {}
    for vtoken in vtokens:
        calls |= _state_calls(vtoken)
    return calls


def moved(market: Market, vtokens: Iterable[bytes], answers: Mapping[Any, CallResult]) -> Market:
    """The pool with these markets as they are now."""
    return market.with_markets(replace(market.by_vtoken[one], **_state(one, answers)) for one in vtokens)


# --- every block ------------------------------------------------------------------------------------------------------


def head_calls(market: Market) -> list[Call]:
    """Prices of all markets, then rate and cash of each: a number that depends on the market alone."""
    prices = [call(market.oracle, abi.GET_UNDERLYING_PRICE, one.vtoken) for one in market.markets]
    return prices + [call(one.vtoken, selector) for one in market.markets for selector in _HEAD]


def read_head(market: Market, block: Block, results: Sequence[CallResult]) -> tuple[Prices, Market]:
    """Usable prices, and the market with present rates. A price that is zero, or whose call reverted, is absent."""
    count = len(market.markets)
    if len(results) != count * (1 + len(_HEAD)):
        raise DecodeError(
            f"{len(results)} results for the {count * (1 + len(_HEAD))} head calls of 0x{market.comptroller.hex()}"
        )
    prices: dict[bytes, Price] = {}
    changed = []
    for place, one in enumerate(market.markets):
        if value := words.maybe_uint(results[place]):
            prices[one.asset] = Price(value, 36 - one.decimals)
        rate, cash = (words.maybe_uint(result) for result in results[count + 2 * place : count + 2 * place + 2])
        if rate is None or cash is None:
            prices.pop(one.asset, None)  # it cannot accrue, so nobody in it can be judged
        elif (rate, cash) != (one.borrow_rate_wad, one.cash):
            changed.append(replace(one, borrow_rate_wad=rate, cash=cash))
    prices[market.comptroller] = clock(block)
    return prices, market.with_markets(changed) if changed else market


def clock(block: Block) -> Price:
    """The block as the "price" of the pool: judging is told only when a transaction is expected to land. Interest is
    counted by block numbers, or by seconds, of which the next block may have the same."""
    return Price(block.number, 0, block.timestamp)


def feeds(market: Market) -> Reads[dict[bytes, tuple[bytes, ...]]]:
    """What the oracle's sources stand on: the main oracle of each asset, and the feed that this is configured with."""
    assets = [one.asset for one in market.markets]
    configs = yield [call(market.oracle, abi.GET_TOKEN_CONFIG, asset) for asset in assets]
    mains = [_word_address(config, 1) or market.oracle for config in configs]
    sources = yield [call(main, abi.TOKEN_CONFIGS, asset) for main, asset in zip(mains, assets, strict=True)]
    found = {asset: [_word_address(source, 1)] for asset, source in zip(assets, sources, strict=True)}
    return (yield from aggregators(found))


def _word_address(result: CallResult, place: int) -> bytes:
    return b"" if result is None else words.maybe_address(result[32 * place : 32 * place + 32])

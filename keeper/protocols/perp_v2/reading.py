"""Reading a clearing house: its parts at first, its quotes at every block, markets and tokens when somebody uses them.

The contracts list no markets. Whoever has a position or a deposit names the market and the token, and that is early
enough: what nobody uses backs and breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from keeper.core.errors import ConfigError, DecodeError
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, Price, Prices
from keeper.protocols import words
from keeper.protocols.addresses import checksummed
from keeper.protocols.perp_v2 import abi
from keeper.protocols.perp_v2.margin import inferred
from keeper.protocols.perp_v2.state import BaseMarket, Collateral, MakerView, Market, Native, Reference
from keeper.protocols.words import call

K = TypeVar("K")

COLLATERAL_TWAP_S = 900
"""Vault._COLLATERAL_TWAP_INTERVAL."""

_SETTLEMENT_PRICE = Price(10**8, 8)
_SIGN = 1 << 255


def signed(result: CallResult, place: int, what: str) -> int:
    """An int256 of an answer."""
    value = words.words(result, place + 1, what)[place]
    return value - (1 << 256) if value & _SIGN else value


def ask(calls: Mapping[K, Call]) -> Reads[dict[K, CallResult]]:
    """One round trip; answers by the same keys."""
    results = yield list(calls.values())
    return dict(zip(calls, results, strict=True))


def bootstrap(clearing_house: bytes, native: tuple[bytes, bytes], known: Market | None) -> Reads[Market]:
    """Three round trips, one more for markets and tokens that were known. Raises ConfigError when it is none.

    native: the wrapped native coin and its feed, empty where gas is not to be valued.
    """
    parts = yield from ask(
        {
            "vault": call(clearing_house, abi.GET_VAULT),
            "account_balance": call(clearing_house, abi.GET_ACCOUNT_BALANCE),
            "config": call(clearing_house, abi.GET_CLEARING_HOUSE_CONFIG),
            "exchange": call(clearing_house, abi.GET_EXCHANGE),
            "insurance_fund": call(clearing_house, abi.GET_INSURANCE_FUND),
        }
    )
    found: dict[str, Any] = {name: words.maybe_address(result) for name, result in parts.items()}
    if missing := [name for name, address in found.items() if not address]:
        raise ConfigError(
            f"clearing_house {checksummed(clearing_house)} names no {', '.join(missing)}; "
            "is it the ClearingHouse of Perpetual Protocol v2 on this chain?"
        )
    answers = yield from ask(
        {
            "settlement": call(found["vault"], abi.GET_SETTLEMENT_TOKEN),
            "manager": call(found["vault"], abi.GET_COLLATERAL_MANAGER),
            "mm": call(found["config"], abi.GET_MM_RATIO),
            "im": call(found["config"], abi.GET_IM_RATIO),
            "penalty": call(found["config"], abi.GET_LIQUIDATION_PENALTY_RATIO),
        }
    )
    settlement = words.maybe_address(answers["settlement"])
    token, feed = native
    named = {"symbol": call(settlement, abi.SYMBOL), "decimals": call(settlement, abi.DECIMALS)}
    names = yield from ask({**named, **({"feed": call(feed, abi.DECIMALS)} if feed else {})})
    feed_decimals = words.maybe_uint(names.get("feed"))
    if feed and feed_decimals is None:
        raise ConfigError(f"native_feed {checksummed(feed)} tells no decimals(); is it a Chainlink-style feed?")
    decimals = words.uint(names["decimals"], "decimals() of the settlement token")
    if decimals > 18:
        raise ConfigError(f"the settlement token has {decimals} decimals; at most 18 are supported")
    market = Market(
        clearing_house=clearing_house,
        **found,
        collateral_manager=words.maybe_address(answers["manager"]),
        settlement=settlement,
        native=None if feed_decimals is None else Native(token, feed, feed_decimals),
        settlement_symbol=words.text(names["symbol"]) or "token",
        settlement_decimals=decimals,
        mm_ratio_ppm=words.uint(answers["mm"], "getMmRatio()"),
        im_ratio_ppm=words.uint(answers["im"], "getImRatio()"),
        penalty_ppm=words.uint(answers["penalty"], "getLiquidationPenaltyRatio()"),
    )
    if known is None:
        return market
    market = yield from learn(market, known.by_base, known.by_collateral)
    bases = tuple(
        replace(one, reference=known.by_base[one.base].reference, growth_x96=known.by_base[one.base].growth_x96)
        for one in market.bases
    )
    return replace(market, bases=bases, makers=known.makers)


def learn(market: Market, bases: Iterable[bytes], tokens: Iterable[bytes]) -> Reads[Market]:
    """The market with these markets and tokens as well; their quotes come with the next head. One round trip."""
    new_bases = [base for base in bases if base not in market.by_base]
    new_tokens = [token for token in tokens if token not in market.by_collateral]
    if not new_bases and not new_tokens:
        return market
    calls: dict[Any, Call] = {}
    for base in new_bases:
        for selector in (abi.SYMBOL, abi.IS_OPEN, abi.IS_CLOSED, abi.GET_CLOSED_PRICE, abi.GET_PAUSED_INDEX_PRICE):
            calls[base, selector] = call(base, selector)
    for token in new_tokens:
        calls |= {(token, selector): call(token, selector) for selector in (abi.SYMBOL, abi.DECIMALS)}
        for selector in (abi.GET_COLLATERAL_CONFIG, abi.GET_PRICE_FEED_DECIMALS):
            calls[token, selector] = call(market.collateral_manager, selector, token)
    answers = yield from ask(calls)
    return replace(
        market,
        bases=tuple(sorted((*market.bases, *(_base(one, answers) for one in new_bases)), key=lambda one: one.base)),
        collaterals=tuple(
            sorted((*market.collaterals, *(_token(one, answers) for one in new_tokens)), key=lambda one: one.token)
        ),
    )


def _base(base: bytes, answers: Mapping[Any, CallResult]) -> BaseMarket:
    fixed = None
    if words.maybe_uint(answers[base, abi.IS_OPEN]) != 1:
        closed = words.maybe_uint(answers[base, abi.IS_CLOSED]) == 1
        selector = abi.GET_CLOSED_PRICE if closed else abi.GET_PAUSED_INDEX_PRICE
        fixed = words.maybe_uint(answers[base, selector]) or 0
    return BaseMarket(base, words.text(answers[base, abi.SYMBOL]) or "base", fixed)


def _token(token: bytes, answers: Mapping[Any, CallResult]) -> Collateral:
    _, ratio = words.words(answers[token, abi.GET_COLLATERAL_CONFIG], 2, "getCollateralConfig()")
    return Collateral(
        token,
        words.text(answers[token, abi.SYMBOL]) or "token",
        words.uint(answers[token, abi.DECIMALS], "decimals() of a collateral token"),
        ratio,
        words.uint(answers[token, abi.GET_PRICE_FEED_DECIMALS], "getPriceFeedDecimals()"),
    )


# --- every block ------------------------------------------------------------------------------------------------------


def head_calls(market: Market) -> list[Call]:
    """Quotes of every market, prices of every token, margins of every account with orders: a number that depends on the
    market alone."""
    calls = [] if market.native is None else [call(market.native.feed, abi.LATEST_ROUND_DATA)]
    calls += [call(market.account_balance, abi.GET_MARK_PRICE, one.base) for one in market.bases]
    calls += [call(one.base, abi.IS_OPEN) for one in market.bases]
    calls += [funding_call(market, ref.owner, one.base) for one, ref in _referenced(market)]
    calls += [
        call(market.collateral_manager, abi.GET_COLLATERAL_PRICE, one.token, COLLATERAL_TWAP_S)
        for one in market.collaterals
    ]
    return calls + [asked for maker, _ in market.makers for asked in margin_calls(market, maker)]


def funding_call(market: Market, account: bytes, base: bytes) -> Call:
    return call(market.exchange, abi.GET_PENDING_FUNDING, account, base)


def _referenced(market: Market) -> list[tuple[BaseMarket, Reference]]:
    return [(one, one.reference) for one in market.bases if one.reference is not None]


def margin_calls(market: Market, account: bytes) -> list[Call]:
    return [
        call(market.clearing_house, abi.GET_ACCOUNT_VALUE, account),
        call(market.account_balance, abi.GET_MARGIN_REQUIREMENT, account),
    ]


def read_head(market: Market, results: Sequence[CallResult]) -> tuple[Prices, Market]:
    """Prices (mark prices of open markets, fixed ones of others), and the market with its quotes of this block."""
    referenced = _referenced(market)
    expected = (
        (market.native is not None)
        + 2 * len(market.bases)
        + len(referenced)
        + len(market.collaterals)
        + 2 * len(market.makers)
    )
    if len(results) != expected:
        raise DecodeError(f"{len(results)} results for the {expected} head calls of 0x{market.clearing_house.hex()}")
    prices: dict[bytes, Price] = {market.settlement: _SETTLEMENT_PRICE}
    rest = iter(results)
    if market.native is not None:
        round_data = next(rest)
        if round_data is not None and len(round_data) >= 160 and (answer := signed(round_data, 1, "feed")) > 0:
            updated_at = int.from_bytes(round_data[96:128], "big")
            prices[market.native.token] = Price(answer, market.native.decimals, updated_at)
    for one in market.bases:
        mark = next(rest)
        if value := words.maybe_uint(mark) if one.open else one.fixed_price_wad:
            prices[one.base] = Price(value, 18)
    for one in market.bases:
        if (words.maybe_uint(next(rest)) == 1) != one.open:
            prices.pop(one.base, None)  # it opened or closed: `reopened` has it read again
    bases = {one.base: one for one in market.bases}
    for one, reference in referenced:
        payment = next(rest)
        if payment is None or len(payment) < 32:
            prices.pop(one.base, None)  # the contracts judge nobody in this market either
        else:
            growth = inferred(reference, signed(payment, 0, "getPendingFundingPayment()"))
            bases[one.base] = replace(one, growth_x96=growth)
    for token in market.collaterals:
        if value := words.maybe_uint(next(rest)):
            prices[token.token] = Price(value, token.price_decimals)
    makers = tuple((maker, maker_view([next(rest), next(rest)])) for maker, _ in market.makers)
    return prices, replace(market, bases=tuple(bases.values()), makers=makers)


def reopened(market: Market, results: Sequence[CallResult]) -> bool:
    """Whether a market opened, paused or closed since it was read."""
    first = (market.native is not None) + len(market.bases)
    told = results[first : first + len(market.bases)]
    return any((words.maybe_uint(is_open) == 1) != one.open for one, is_open in zip(market.bases, told, strict=True))


def maker_view(results: Sequence[CallResult]) -> MakerView | None:
    """None where the contracts refuse to say."""
    if any(result is None or len(result) < 32 for result in results):
        return None
    return MakerView(signed(results[0], 0, "getAccountValue()"), signed(results[1], 0, "margin requirement"))

"""What is asked in every block: oracles, rates of models that are not computed here, and what tokens are worth.

Oracles answer in loan tokens, so a market is judged without knowing what anything is worth in dollars. What tokens are
worth decides only whether a liquidation pays for its gas, and is believed of nobody but the configuration: anybody can
deploy a token that calls itself USDC, and a market whose oracle says what they like.

Keys of prices: a market's id for its oracle's answer, "rate" and the id for its model's, "pre" and the contract for
that of an offer's own oracle, a token for its worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.errors import DecodeError
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, Price, Prices
from keeper.protocols.feeds import aggregators
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.offers import Offer
from keeper.protocols.morpho_blue.state import Lending, Market
from keeper.protocols.words import maybe_uint

BASE_DECIMALS = 8
_MOST_FEED_DECIMALS = 36
_INT256_SIGN = 1 << 255


@dataclass(frozen=True, slots=True)
class Reference:
    """What a token is worth in the base currency: an amount with BASE_DECIMALS, or what a Chainlink-style feed says."""

    token: bytes
    constant: int | None
    feed: bytes = b""


def rate_key(id_: bytes) -> bytes:
    return b"rate" + id_


def offer_price(market: Market, offer: Offer, prices: Prices) -> int | None:
    """What the oracle of an offer says, which is mostly the market's own; None when it says nothing."""
    lending = market.by_id.get(offer.market)
    own = lending is None or lending.oracle != offer.oracle
    said = prices.get(b"pre" + offer.contract if own else offer.market)
    return None if said is None else said.value


def _own_oracles(market: Market) -> Iterator[tuple[Offer, Lending]]:
    """Offers in force that have an oracle of their own."""
    for offer in market.offers:
        lending = market.by_id.get(offer.market)
        if offer.used and lending is not None and lending.oracle != offer.oracle:
            yield offer, lending


def head_calls(market: Market, references: Sequence[Reference]) -> list[Call]:
    """Each once, in an order that depends on the market alone."""
    return list(dict.fromkeys(_all_calls(market, references)))


def _all_calls(market: Market, references: Sequence[Reference]) -> Iterator[Call]:
    for reference in references:
        if reference.constant is None:
            yield Call(reference.feed, abi.LATEST_ROUND_DATA)
            yield Call(reference.feed, abi.DECIMALS)
    for lending in market.lendings:
        if lending.priced:
            yield _price_call(lending)
        if lending.asks_rate:
            yield rate_call(lending)
    for offer, _ in _own_oracles(market):
        yield _price_by(offer.oracle)


def feeds(market: Market, references: Sequence[Reference]) -> Reads[dict[bytes, tuple[bytes, ...]]]:
    """What the oracles of markets in use stand on, and the references."""
    sources = {lending.id: [lending.oracle] for lending in market.lendings if lending.priced}
    worth = {one.token: [one.feed] for one in references if one.constant is None}
    own = {b"pre" + offer.contract: [offer.oracle] for offer, _ in _own_oracles(market)}
    return aggregators({**sources, **worth, **own})


def _price_by(oracle: bytes) -> Call:
    return Call(oracle, abi.PRICE, anybody=True)


def _price_call(lending: Lending) -> Call:
    return _price_by(lending.oracle)


def rate_call(lending: Lending) -> Call:
    return abi.borrow_rate_view(lending.irm, lending.params, lending.totals)


def answered(calls: Sequence[Call], results: Sequence[CallResult]) -> dict[Call, CallResult]:
    if len(calls) != len(results):
        raise DecodeError(f"{len(results)} results for {len(calls)} head calls of Morpho")
    return dict(zip(calls, results, strict=True))


def read_head(market: Market, references: Sequence[Reference], answers: Mapping[Call, CallResult]) -> Prices:
    """What answered. An oracle that reverts, or has no code, leaves its market without a price: marked, not judged.

    An oracle's zero is an answer: Morpho itself takes it for a price.
    """
    prices: dict[bytes, Price] = {}
    for reference in references:
        worth = _worth(reference, answers)
        if worth is not None:
            prices[reference.token] = worth
    for lending in market.lendings:
        if lending.priced and (value := maybe_uint(answers.get(_price_call(lending)))) is not None:
            prices[lending.id] = Price(value, max(lending.price_decimals, 0))
        if lending.asks_rate and (rate := maybe_uint(answers.get(rate_call(lending)))) is not None:
            prices[rate_key(lending.id)] = Price(rate, 18)
    for offer, lending in _own_oracles(market):
        if (value := maybe_uint(answers.get(_price_by(offer.oracle)))) is not None:
            prices[b"pre" + offer.contract] = Price(value, max(lending.price_decimals, 0))
    return prices


def at_price(lending: Lending, prices: Prices, price_e36: int) -> Prices | None:
    """When the oracle of a market says so: the collateral's reference, where it has one, moves as much."""
    said, worth = prices.get(lending.id), prices.get(lending.collateral)
    if said is None or not said.value:
        return None
    moved = {**prices, lending.id: replace(said, value=price_e36)}
    if worth is not None:
        moved[lending.collateral] = replace(worth, value=max(worth.value * price_e36 // said.value, 1))
    return moved


def _worth(reference: Reference, answers: Mapping[Call, CallResult]) -> Price | None:
    if reference.constant is not None:
        return Price(reference.constant, BASE_DECIMALS)
    round_, decimals = (
        answers.get(Call(reference.feed, selector)) for selector in (abi.LATEST_ROUND_DATA, abi.DECIMALS)
    )
    places = maybe_uint(decimals)
    if round_ is None or len(round_) < 160 or places is None or places > _MOST_FEED_DECIMALS:
        return None
    answer, updated_at = (int.from_bytes(round_[at : at + 32], "big") for at in (32, 96))
    return Price(answer, places, updated_at or None) if 0 < answer < _INT256_SIGN else None

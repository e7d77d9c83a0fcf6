"""Morpho's state as Keeper holds it, and its stored form: every market with what it owes, and positions in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from keeper.core.errors import DecodeError
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.offers import Offer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lending:
    """One isolated market: one loan token against one collateral token.

    adaptive: whether its model is the adaptive curve, which is computed here; else its rate is asked in every block.
    Totals are as of `updated_at`, without interest since then. rate_at_target_wad: of an adaptive curve, else zero.
    used: whether anybody has pledged or borrowed here, so that its price is worth asking for.
    """

    id: bytes
    loan: bytes
    collateral: bytes
    oracle: bytes
    irm: bytes
    lltv_wad: int
    loan_symbol: str
    loan_decimals: int
    collateral_symbol: str
    collateral_decimals: int
    adaptive: bool
    supply_assets: int
    supply_shares: int
    borrow_assets: int
    borrow_shares: int
    updated_at: int
    fee_wad: int
    rate_at_target_wad: int
    used: bool

    @property
    def params(self) -> tuple[bytes | int, ...]:
        """As Morpho's functions are told the market."""
        return self.loan, self.collateral, self.oracle, self.irm, self.lltv_wad

    @property
    def totals(self) -> tuple[int, ...]:
        return (
            self.supply_assets,
            self.supply_shares,
            self.borrow_assets,
            self.borrow_shares,
            self.updated_at,
            self.fee_wad,
        )

    @property
    def name(self) -> str:
        """What people call it: collateral, loan, and the liquidation loan-to-value."""
        return f"{self.collateral_symbol or '?'}/{self.loan_symbol or '?'} {self.lltv_wad / 10**16:g}%"

    @property
    def price_decimals(self) -> int:
        """Of its oracle's price: whole loan tokens per whole collateral token."""
        return 36 + self.loan_decimals - self.collateral_decimals

    @property
    def priced(self) -> bool:
        """Whether its oracle is asked in every block."""
        return self.used and self.oracle != abi.ZERO

    @property
    def asks_rate(self) -> bool:
        """Whether its model is asked in every block."""
        return self.borrow_shares > 0 and not self.adaptive and self.irm != abi.ZERO


@dataclass(frozen=True)
class Market:
    """One Morpho and all its markets, by ascending id; and pre-liquidation contracts, by ascending address."""

    morpho: bytes
    lendings: tuple[Lending, ...]
    offers: tuple[Offer, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[bytes, Lending]:
        return {lending.id: lending for lending in self.lendings}

    @cached_property
    def places(self) -> Mapping[bytes, int]:
        return {lending.id: place for place, lending in enumerate(self.lendings)}

    def with_lendings(self, changed: Mapping[bytes, Lending]) -> Market:
        """The same with these replaced or added."""
        if not changed:
            return self
        kept = {**self.by_id, **changed}
        return replace(self, lendings=tuple(kept[id_] for id_ in sorted(kept)))

    @cached_property
    def by_contract(self) -> Mapping[bytes, Offer]:
        return {offer.contract: offer for offer in self.offers}

    @cached_property
    def offers_for(self) -> Mapping[bytes, tuple[Offer, ...]]:
        """By market."""
        ids = {offer.market for offer in self.offers}
        return {id_: tuple(offer for offer in self.offers if offer.market == id_) for id_ in ids}

    def with_offers(self, changed: Mapping[bytes, Offer]) -> Market:
        """The same with these, by contract, replaced or added."""
        if not changed:
            return self
        kept = {**self.by_contract, **changed}
        return replace(self, offers=tuple(kept[contract] for contract in sorted(kept)))


@dataclass(frozen=True, slots=True)
class Position:
    """One account in one market, in raw units; what it owes is shares of the market's debt.

    authorized: pre-liquidation contracts of this market that its owner has authorized, in ascending order.
    """

    market: bytes
    borrow_shares: int
    collateral_assets: int
    authorized: tuple[bytes, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.borrow_shares or self.collateral_assets)


# --- stored form ------------------------------------------------------------------------------------------------------


def dump_market(market: Market) -> bytes:
    """Each market is written once and remembered: a block changes a few of hundreds."""
    lendings, offers = (",".join(map(_dump, rows)) for rows in (market.lendings, market.offers))
    return f'["{market.morpho.hex()}",[{lendings}],[{offers}]]'.encode()


@lru_cache(maxsize=1 << 13)
def _dump(one: Lending | Offer) -> str:
    values = (getattr(one, field.name) for field in fields(one))
    row = [value.hex() if isinstance(value, bytes) else value for value in values]
    return json.dumps(row, separators=(",", ":"))


def load_market(payload: bytes) -> Market:
    """Raises DecodeError when the payload was not written by `dump_market`."""
    try:
        morpho, lendings, offers = json.loads(payload)
        return Market(
            bytes.fromhex(morpho),
            tuple(_load(Lending, row) for row in lendings),
            tuple(_load(Offer, row) for row in offers),
        )
    except (ValueError, TypeError) as error:
        raise DecodeError(
            f"a stored morpho_blue market does not read ({error}); index again from start_block"
        ) from error


def _load(kind: type[T], row: list[Any]) -> T:
    known = list(getattr(kind, "__dataclass_fields__", {}).values())
    if len(row) != len(known):
        raise ValueError(f"{kind.__name__} has {len(known)} fields, {len(row)} were stored")
    values: list[Any] = [
        bytes.fromhex(value) if field.type == "bytes" else value for field, value in zip(known, row, strict=True)
    ]
    return kind(*values)


def dump_position(position: Position) -> bytes:
    authorized = [contract.hex() for contract in position.authorized]
    row = [position.market.hex(), position.borrow_shares, position.collateral_assets, authorized]
    return json.dumps(row, separators=(",", ":")).encode()


def load_position(payload: bytes) -> Position:
    """Raises DecodeError when the payload was not written by `dump_position`."""
    try:
        market, shares, collateral, authorized = json.loads(payload)
        return Position(bytes.fromhex(market), shares, collateral, tuple(map(bytes.fromhex, authorized)))
    except (ValueError, TypeError) as error:
        raise DecodeError(
            f"a stored morpho_blue position does not read ({error}); index again from start_block"
        ) from error

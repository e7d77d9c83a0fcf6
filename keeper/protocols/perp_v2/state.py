"""What Keeper knows of a clearing house: markets and their present quotes, and each account's raw state.

Mark prices and funding are functions of time that only the contracts evaluate (TWAPs of a pool and of a feed), so they
are read at every block. So is the whole margin of accounts with orders in a pool: their size follows its price.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from keeper.core.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Reference:
    """size_wad, growth_x96: as in `Taken`."""

    owner: bytes
    size_wad: int
    growth_x96: int


@dataclass(frozen=True, slots=True)
class BaseMarket:
    """One market. fixed_price_wad: of a paused or closed one, else None.

    growth_x96: premium times seconds per base, accumulated; what funding is counted by. No view tells it, so it is
    inferred from what `reference`, the largest position whose owner has no orders, owes of it: see `margin.inferred`.
    """

    base: bytes
    symbol: str
    fixed_price_wad: int | None = None
    reference: Reference | None = None
    growth_x96: int = 0

    @property
    def open(self) -> bool:
        return self.fixed_price_wad is None


@dataclass(frozen=True, slots=True)
class Collateral:
    """A token that margin may be in besides the settlement token; ratio_ppm: what of its value counts."""

    token: bytes
    symbol: str
    decimals: int
    ratio_ppm: int
    price_decimals: int


@dataclass(frozen=True, slots=True)
class MakerView:
    """What the contracts say of an account with open orders at the judged block. Dollars scaled by 1e18."""

    account_value_wad: int
    requirement_wad: int


@dataclass(frozen=True, slots=True)
class Native:
    """What values gas: the wrapped native coin and the feed of its price."""

    token: bytes
    feed: bytes
    decimals: int


@dataclass(frozen=True)
class Market:
    """A clearing house at one block. *_ppm: parts per million, as its config counts."""

    clearing_house: bytes
    vault: bytes
    account_balance: bytes
    config: bytes
    exchange: bytes
    insurance_fund: bytes
    collateral_manager: bytes
    settlement: bytes
    native: Native | None
    settlement_symbol: str
    settlement_decimals: int
    mm_ratio_ppm: int
    im_ratio_ppm: int
    penalty_ppm: int
    bases: tuple[BaseMarket, ...] = ()
    collaterals: tuple[Collateral, ...] = ()
    makers: tuple[tuple[bytes, MakerView | None], ...] = ()

    @cached_property
    def by_base(self) -> Mapping[bytes, BaseMarket]:
        return {one.base: one for one in self.bases}

    @cached_property
    def by_collateral(self) -> Mapping[bytes, Collateral]:
        return {one.token: one for one in self.collaterals}

    @cached_property
    def maker_views(self) -> Mapping[bytes, MakerView | None]:
        """None: the contracts refused to say."""
        return dict(self.makers)


@dataclass(frozen=True, slots=True)
class Taken:
    """A taker position. size_wad: base, negative when short. open_notional_wad: quote it cost, negative when long.
    growth_x96: of the market when its funding was last settled."""

    base: bytes
    size_wad: int
    open_notional_wad: int
    growth_x96: int


@dataclass(frozen=True, slots=True)
class Account:
    """One account's raw state. balance: settlement token, raw units, negative for a debt. owed_pnl_wad: realized and
    not yet in the balance. deposits: raw units of other collateral. orders: it has some in a pool. Sorted by token."""

    owner: bytes
    balance: int
    owed_pnl_wad: int
    positions: tuple[Taken, ...]
    deposits: tuple[tuple[bytes, int], ...] = ()
    orders: bool = False

    @property
    def empty(self) -> bool:
        return not (self.balance or self.owed_pnl_wad or self.positions or self.deposits or self.orders)


# --- stored form ------------------------------------------------------------------------------------------------------


def dump_market(market: Market) -> bytes:
    rows = {field.name: _plain(getattr(market, field.name)) for field in fields(market)}
    return json.dumps(rows, separators=(",", ":")).encode()


_ADDRESSES = (
    "clearing_house",
    "vault",
    "account_balance",
    "config",
    "exchange",
    "insurance_fund",
    "collateral_manager",
    "settlement",
)


def load_market(payload: bytes) -> Market:
    """Raises DecodeError when the payload was not written by `dump_market`."""
    try:
        rows = json.loads(payload)
        return Market(
            **{name: bytes.fromhex(rows[name]) for name in _ADDRESSES},
            native=_native(rows["native"]),
            settlement_symbol=rows["settlement_symbol"],
            settlement_decimals=rows["settlement_decimals"],
            mm_ratio_ppm=rows["mm_ratio_ppm"],
            im_ratio_ppm=rows["im_ratio_ppm"],
            penalty_ppm=rows["penalty_ppm"],
            bases=tuple(
                BaseMarket(bytes.fromhex(base), symbol, fixed, _reference(reference), growth)
                for base, symbol, fixed, reference, growth in rows["bases"]
            ),
            collaterals=tuple(Collateral(bytes.fromhex(token), *rest) for token, *rest in rows["collaterals"]),
            makers=tuple(
                (bytes.fromhex(key), None if view is None else MakerView(*view)) for key, view in rows["makers"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"a stored perp_v2 market does not read ({error}); index again from start_block") from error


def _native(row: list[Any] | None) -> Native | None:
    if row is None:
        return None
    token, feed, decimals = row
    return Native(bytes.fromhex(token), bytes.fromhex(feed), decimals)


def _reference(row: list[Any] | None) -> Reference | None:
    if row is None:
        return None
    owner, size, growth = row
    return Reference(bytes.fromhex(owner), size, growth)


def dump_account(account: Account) -> bytes:
    return json.dumps(
        [_plain(getattr(account, field.name)) for field in fields(account)], separators=(",", ":")
    ).encode()


def load_account(payload: bytes) -> Account:
    """Raises DecodeError when the payload was not written by `dump_account`."""
    try:
        owner, balance, owed, positions, deposits, orders = json.loads(payload)
        return Account(
            bytes.fromhex(owner),
            balance,
            owed,
            tuple(Taken(bytes.fromhex(base), *rest) for base, *rest in positions),
            tuple((bytes.fromhex(token), amount) for token, amount in deposits),
            orders,
        )
    except (ValueError, TypeError) as error:
        raise DecodeError(f"a stored perp_v2 position does not read ({error}); index again from start_block") from error


def _plain(value: Any) -> Any:
    """bytes as hex, dataclasses as the list of their fields."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "__dataclass_fields__"):
        return [_plain(getattr(value, name)) for name in value.__dataclass_fields__]
    return value

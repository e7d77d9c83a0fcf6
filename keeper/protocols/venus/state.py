"""What Keeper knows of a pool: its markets, and each account's raw state. Frozen values, stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

from keeper.core.errors import DecodeError


class Action(IntEnum):
    """What a pool can pause (ComptrollerInterface.Action)."""

    MINT = 0
    REDEEM = 1
    BORROW = 2
    REPAY = 3
    SEIZE = 4
    LIQUIDATE = 5


@dataclass(frozen=True, slots=True)
class VMarket:
    """One market of the pool: its vToken, what that holds, and what it owes as of `accrued_slot`.

    Interest is counted by slots: blocks, or seconds where the market is time-based. *_wad are scaled by 1e18, also the
    rate per slot and the index. Amounts are raw units of the underlying, total_supply of the vToken.
    idle_rate_wad: exchange rate while nothing is supplied. paused: a bitmap of `Action`.
    """

    vtoken: bytes
    asset: bytes
    symbol: str
    decimals: int
    collateral_factor_wad: int
    liquidation_threshold_wad: int
    reserve_factor_wad: int
    seize_share_wad: int
    forced: bool
    paused: int
    supply_cap_assets: int
    time_based: bool
    slots_per_year: int
    accrued_slot: int
    borrow_index_wad: int
    borrow_rate_wad: int
    total_borrows: int
    total_reserves: int
    bad_debt: int
    total_supply: int
    cash: int
    idle_rate_wad: int

    def is_paused(self, action: Action) -> bool:
        return bool(self.paused >> action & 1)


@dataclass(frozen=True)
class Market:
    """A pool at one block.

    isolated: it has the rules of Venus' isolated pools (a least collateral, below which accounts are liquidated whole
    or healed); without them it is a plain Compound v2 comptroller.

    min_collateral_usd_wad: accounts with no more collateral than this are liquidated whole.
    """

    comptroller: bytes
    oracle: bytes
    isolated: bool
    close_factor_wad: int
    incentive_wad: int
    min_collateral_usd_wad: int
    markets: tuple[VMarket, ...]

    @cached_property
    def by_vtoken(self) -> Mapping[bytes, VMarket]:
        return {one.vtoken: one for one in self.markets}

    @cached_property
    def by_asset(self) -> Mapping[bytes, VMarket]:
        return {one.asset: one for one in self.markets}

    @cached_property
    def places(self) -> Mapping[bytes, int]:
        """Places in `markets` by vToken."""
        return {one.vtoken: place for place, one in enumerate(self.markets)}

    def with_markets(self, changed: Iterable[VMarket]) -> Market:
        now = {one.vtoken: one for one in changed}
        return replace(self, markets=tuple(now.get(one.vtoken, one) for one in self.markets))


@dataclass(frozen=True, slots=True)
class Debt:
    """What was owed when the index stood there; since then it grows with the market's index."""

    vtoken: bytes
    principal_assets: int
    index_wad: int


@dataclass(frozen=True, slots=True)
class Account:
    """entered: markets whose supply counts as collateral. supplies: vTokens held. Sorted by vToken, without zeros."""

    entered: tuple[bytes, ...]
    supplies: tuple[tuple[bytes, int], ...]
    debts: tuple[Debt, ...]

    @property
    def empty(self) -> bool:
        return not (self.supplies or self.debts)


# --- stored form ------------------------------------------------------------------------------------------------------


def dump_market(market: Market) -> bytes:
    rows = {field.name: _plain(getattr(market, field.name)) for field in fields(market)}
    return json.dumps(rows, separators=(",", ":")).encode()


def load_market(payload: bytes) -> Market:
    """Raises DecodeError when the payload was not written by `dump_market`."""
    try:
        rows = json.loads(payload)
        return Market(
            comptroller=bytes.fromhex(rows["comptroller"]),
            oracle=bytes.fromhex(rows["oracle"]),
            isolated=rows["isolated"],
            close_factor_wad=rows["close_factor_wad"],
            incentive_wad=rows["incentive_wad"],
            min_collateral_usd_wad=rows["min_collateral_usd_wad"],
            markets=tuple(
                VMarket(bytes.fromhex(vtoken), bytes.fromhex(asset), *rest) for vtoken, asset, *rest in rows["markets"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"a stored venus market does not read ({error}); index again from start_block") from error


def dump_account(account: Account) -> bytes:
    rows = [
        [vtoken.hex() for vtoken in account.entered],
        [[vtoken.hex(), tokens] for vtoken, tokens in account.supplies],
        [[debt.vtoken.hex(), debt.principal_assets, debt.index_wad] for debt in account.debts],
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def load_account(payload: bytes) -> Account:
    """Raises DecodeError when the payload was not written by `dump_account`."""
    try:
        entered, supplies, debts = json.loads(payload)
        return Account(
            tuple(bytes.fromhex(vtoken) for vtoken in entered),
            tuple((bytes.fromhex(vtoken), tokens) for vtoken, tokens in supplies),
            tuple(Debt(bytes.fromhex(vtoken), principal, index) for vtoken, principal, index in debts),
        )
    except (ValueError, TypeError) as error:
        raise DecodeError(f"a stored venus position does not read ({error}); index again from start_block") from error


def _plain(value: Any) -> Any:
    """bytes as hex, dataclasses as the list of their fields."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, VMarket):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    return value

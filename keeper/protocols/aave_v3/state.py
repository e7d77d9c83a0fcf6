"""What Keeper knows of a pool: the market all share, and each account's raw state. Frozen values.

Markets are stored as JSON, accounts packed: a million of them are read at a start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

from keeper.core.errors import DecodeError
from keeper.protocols.aave_v3 import packed
from keeper.protocols.aave_v3.rules import Rules

T = TypeVar("T")


_UNITS: Sequence[int] = tuple(10**decimals for decimals in range(256))


@dataclass(frozen=True, slots=True)
class Reserve:
    """One asset of the pool.

    id: its place in the pool's list and in every bitmap. s_token: stable debt token until v3.1, else empty.
    emode: the single category of the asset until v3.1, else 0. opaque: its tokens count by rules of their own (GHO's
    discount until v3.3, or anything that contradicts the pool's rules), so nobody it counts for can be judged.
    Indices and rates are rays as of `updated_at` (unix seconds). liquidity_assets can be withdrawn at present.
    grace_until: liquidations wait until after this time. clock: the call (target and selector) that tells the age of
    the price, empty where the source does not tell. loan_to_value_bps: None in what an older release stored.
    supply_cap_assets: 0 where there is none, and in what an older release stored. What counts against it is the
    aToken's scaled_supply with treasury_scaled, which is promised to the treasury and not minted yet.
    """

    id: int
    asset: bytes
    symbol: str
    decimals: int
    a_token: bytes
    v_token: bytes
    s_token: bytes
    opaque: bool
    liquidation_threshold_bps: int
    liquidation_bonus_bps: int
    protocol_fee_bps: int
    active: bool
    frozen: bool
    paused: bool
    emode: int
    grace_until: int
    liquidity_index_ray: int
    liquidity_rate_ray: int
    debt_index_ray: int
    debt_rate_ray: int
    updated_at: int
    liquidity_assets: int
    clock: bytes
    loan_to_value_bps: int | None = None
    reserve_factor_bps: int = 0
    supply_cap_assets: int = 0
    scaled_supply: int = 0
    treasury_scaled: int = 0

    @property
    def unit(self) -> int:
        return _UNITS[self.decimals]


@dataclass(frozen=True, slots=True)
class EMode:
    """An e-mode category: other terms for the collateral in its bitmap.

    price_source: until v3.1, the asset by whose price the category's assets are valued; else empty.
    loan_to_value_bps: None in what an older release stored. ltvzero_bitmap: its collateral that nothing may be borrowed
    against anew (v3.6).
    """

    id: int
    liquidation_threshold_bps: int
    liquidation_bonus_bps: int
    collateral_bitmap: int
    price_source: bytes = b""
    loan_to_value_bps: int | None = None
    ltvzero_bitmap: int = 0

    def covers(self, reserve_id: int) -> bool:
        return bool(self.collateral_bitmap >> reserve_id & 1)


@dataclass(frozen=True, slots=True)
class CloseFactor:
    """When a liquidation may repay everything, and what it must not leave behind; values in base currency units."""

    hf_threshold_wad: int = 95 * 10**16
    small_value: int = 2000 * 10**8
    least_leftover_value: int = 1000 * 10**8


@dataclass(frozen=True)
class Market:
    """A pool's parameters and indices at one block. sentinel: empty where there is none; sentinel_open: its answer."""

    provider: bytes
    pool: bytes
    configurator: bytes
    oracle: bytes
    sentinel: bytes
    sentinel_open: bool
    base_decimals: int
    flash_premium_bps: int
    rules: Rules
    close_factor: CloseFactor
    reserves: tuple[Reserve, ...]
    emodes: tuple[EMode, ...]

    @cached_property
    def by_id(self) -> Mapping[int, Reserve]:
        return {reserve.id: reserve for reserve in self.reserves}

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Places in `reserves` by reserve id."""
        return {reserve.id: place for place, reserve in enumerate(self.reserves)}

    @cached_property
    def by_asset(self) -> Mapping[bytes, Reserve]:
        return {reserve.asset: reserve for reserve in self.reserves}

    @cached_property
    def by_category(self) -> Mapping[int, EMode]:
        return {emode.id: emode for emode in self.emodes}

    @cached_property
    def by_token(self) -> Mapping[bytes, Reserve]:
        """Reserves by the address of their supply and debt tokens."""
        return {token: reserve for reserve in self.reserves for token in tokens_of(reserve)}

    def with_reserves(self, changed: Mapping[bytes, Reserve | None]) -> Market:
        """The same market with these reserves (by asset) replaced, added, or removed (None)."""
        kept = {**self.by_asset, **changed}
        present = sorted((reserve for reserve in kept.values() if reserve is not None), key=lambda r: r.id)
        return replace(self, reserves=tuple(present))


def tokens_of(reserve: Reserve) -> tuple[bytes, ...]:
    return tuple(token for token in (reserve.a_token, reserve.v_token, reserve.s_token) if token)


@dataclass(frozen=True, slots=True)
class StableDebt:
    """Debt at a rate of its own, fixed when it was last touched (until v3.1)."""

    reserve_id: int
    principal_assets: int
    rate_ray: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Account:
    """One account's raw state: scaled balances by reserve id, in ascending order, without zeros.

    flags: the pool's configuration bitmap; bit 2i: owes reserve i, bit 2i + 1: its supply of reserve i is collateral.
    """

    flags: int
    emode: int
    supplies: tuple[tuple[int, int], ...]
    debts: tuple[tuple[int, int], ...]
    stables: tuple[StableDebt, ...] = ()

    def owes(self, reserve_id: int) -> bool:
        return bool(self.flags >> 2 * reserve_id & 1)

    def pledges(self, reserve_id: int) -> bool:
        return bool(self.flags >> 2 * reserve_id & 2)

    def flagged(self) -> list[tuple[int, bool, bool]]:
        """(reserve id, owed, collateral) of every reserve that is either, in ascending order."""
        found, flags = [], self.flags
        while flags:
            reserve_id = ((flags & -flags).bit_length() - 1) >> 1
            pair = flags >> 2 * reserve_id
            found.append((reserve_id, bool(pair & 1), bool(pair & 2)))
            flags &= ~(3 << 2 * reserve_id)
        return found

    @property
    def empty(self) -> bool:
        return not (self.supplies or self.debts or self.stables)


# --- stored form ------------------------------------------------------------------------------------------------------


def dump_market(market: Market) -> bytes:
    rows = {field.name: _plain(getattr(market, field.name)) for field in fields(market)}
    return json.dumps(rows, separators=(",", ":")).encode()


def load_market(payload: bytes) -> Market:
    """Raises DecodeError when the payload was not written by `dump_market`."""
    try:
        rows = json.loads(payload)
        return Market(
            provider=bytes.fromhex(rows["provider"]),
            pool=bytes.fromhex(rows["pool"]),
            configurator=bytes.fromhex(rows["configurator"]),
            oracle=bytes.fromhex(rows["oracle"]),
            sentinel=bytes.fromhex(rows["sentinel"]),
            sentinel_open=rows["sentinel_open"],
            base_decimals=rows["base_decimals"],
            flash_premium_bps=rows["flash_premium_bps"],
            rules=_built(Rules, rows["rules"]),
            close_factor=_built(CloseFactor, rows["close_factor"]),
            reserves=tuple(_built(Reserve, row) for row in rows["reserves"]),
            emodes=tuple(_built(EMode, row) for row in rows["emodes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"a stored aave_v3 market does not read ({error}); index again from start_block") from error


def dump_account(account: Account) -> bytes:
    """Packed (`packed`) where it fits, else JSON."""
    balances = (*account.supplies, *account.debts)
    fits = not account.stables and account.flags < 1 << 256 and account.emode < 256 and len(balances) < 256
    if not fits or any(reserve_id > 255 or scaled >= 1 << 128 for reserve_id, scaled in balances):
        stables = [[s.reserve_id, s.principal_assets, s.rate_ray, s.updated_at] for s in account.stables]
        rows = [account.flags, account.emode, account.supplies, account.debts, stables]
        return json.dumps(rows, separators=(",", ":")).encode()
    return b"".join(
        (
            bytes((packed.MARK, account.emode, len(account.supplies), len(account.debts))),
            account.flags.to_bytes(packed.FLAGS, "little"),
            *(bytes((reserve_id,)) + scaled.to_bytes(packed.SCALED, "little") for reserve_id, scaled in balances),
        )
    )


def load_account(payload: bytes) -> Account:
    """Raises DecodeError when the payload was not written by `dump_account`, of this release or an older one."""
    try:
        if payload[0] == packed.MARK:
            return _unpacked(payload)
        flags, emode, supplies, debts, stables = json.loads(payload)
        return Account(
            flags,
            emode,
            tuple((reserve_id, scaled) for reserve_id, scaled in supplies),
            tuple((reserve_id, scaled) for reserve_id, scaled in debts),
            tuple(StableDebt(*row) for row in stables),
        )
    except (ValueError, TypeError, IndexError) as error:
        raise DecodeError(f"a stored aave_v3 position does not read ({error}); index again from start_block") from error


def _unpacked(payload: bytes) -> Account:
    emode, supplies, debts = payload[1:4]
    if len(payload) != packed.HEAD + packed.ENTRY * (supplies + debts):
        raise ValueError(f"{len(payload)} bytes for {supplies} supplies and {debts} debts")
    balances = tuple(
        (payload[at], int.from_bytes(payload[at + 1 : at + packed.ENTRY], "little"))
        for at in range(packed.HEAD, len(payload), packed.ENTRY)
    )
    flags = int.from_bytes(payload[4 : packed.HEAD], "little")
    return Account(flags, emode, balances[:supplies], balances[supplies:])


def _plain(value: Any) -> Any:
    """bytes as hex, dataclasses as the list of their fields."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "__dataclass_fields__"):
        return [_plain(getattr(value, name)) for name in value.__dataclass_fields__]
    return value


def _built(kind: type[T], row: list[Any]) -> T:
    """What an older release stored has no value for the newest fields: those have defaults."""
    names = list(getattr(kind, "__dataclass_fields__", {}).values())
    required = sum(field.default is MISSING for field in names)
    if not required <= len(row) <= len(names):
        raise ValueError(f"{kind.__name__} has {len(names)} fields, {len(row)} were stored")
    return kind(
        *(bytes.fromhex(value) if field.type == "bytes" else value for field, value in zip(names, row, strict=False))
    )

"""Aave markets and accounts made of what matters, and random ones for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from keeper.core.types import Price
from keeper.core.units import RAY
from keeper.protocols.aave_v3.rules import Rules
from keeper.protocols.aave_v3.state import Account, CloseFactor, EMode, Market, Reserve, StableDebt

NOW = 1_800_000_000
POOL = b"\x01" * 20

V36 = Rules(
    directed_rounding=True,
    taylor_interest=True,
    health_from_sums=True,
    zero_threshold_counts=True,
    whole_position=True,
    floored_seizure=False,
    self_liquidation=False,
)
V37 = Rules(True, True, True, True, True, True, False)
V33 = Rules(False, False, False, False, True, False, True)
V30 = Rules(False, False, False, False, False, False, True)


def asset(reserve_id: int) -> bytes:
    return bytes([0xA0 + reserve_id]) * 20


def reserve(reserve_id: int, **changed: Any) -> Reserve:
    fields = {
        "id": reserve_id,
        "asset": asset(reserve_id),
        "symbol": f"T{reserve_id}",
        "decimals": 18,
        "a_token": bytes([0xB0 + reserve_id]) * 20,
        "v_token": bytes([0xC0 + reserve_id]) * 20,
        "s_token": b"",
        "opaque": False,
        "liquidation_threshold_bps": 8250,
        "liquidation_bonus_bps": 10500,
        "protocol_fee_bps": 1000,
        "active": True,
        "frozen": False,
        "paused": False,
        "emode": 0,
        "grace_until": 0,
        "liquidity_index_ray": RAY,
        "liquidity_rate_ray": 0,
        "debt_index_ray": RAY,
        "debt_rate_ray": 0,
        "updated_at": NOW,
        "liquidity_assets": 1 << 120,
        "clock": b"",
    }
    return Reserve(**(fields | changed))


def market(*reserves: Reserve, rules: Rules = V36, emodes: tuple[EMode, ...] = (), **changed: Any) -> Market:
    fields = {
        "provider": b"\x02" * 20,
        "pool": POOL,
        "configurator": b"\x03" * 20,
        "oracle": b"\x04" * 20,
        "sentinel": b"",
        "sentinel_open": True,
        "base_decimals": 8,
        "flash_premium_bps": 5,
        "rules": rules,
        "close_factor": CloseFactor(),
        "reserves": reserves,
        "emodes": emodes,
    }
    return Market(**(fields | changed))


def account(
    supplies: dict[int, int], debts: dict[int, int], emode: int = 0, stables: tuple[StableDebt, ...] = ()
) -> Account:
    """Everything supplied is collateral."""
    flags = sum(2 << 2 * i for i in supplies) | sum(1 << 2 * i for i in {*debts, *(s.reserve_id for s in stables)})
    return Account(flags, emode, tuple(sorted(supplies.items())), tuple(sorted(debts.items())), stables)


def prices(**by_symbol: int) -> dict[bytes, Price]:
    """T0=2000_00000000: price with 8 decimals of reserve 0."""
    return {asset(int(symbol[1:])): Price(value, 8) for symbol, value in by_symbol.items()}


# --- random ones ------------------------------------------------------------------------------------------------------

rules = st.sampled_from((V36, V37, V33, V30))
_index = st.integers(RAY, 3 * RAY)
_rate = st.integers(0, RAY)
_scaled = st.one_of(st.integers(1, 1000), st.integers(1, 10**14), st.integers(1, 10**24))


@st.composite
def worlds(draw: st.DrawFn, any_rules: st.SearchStrategy[Rules] = rules) -> tuple[Market, dict[bytes, Price], Account]:
    """A market of up to four reserves with interest running, its prices, and an account in it."""
    count = draw(st.integers(2, 4))
    reserves = tuple(
        reserve(
            i,
            decimals=draw(st.sampled_from((6, 8, 18))),
            liquidation_threshold_bps=draw(st.integers(1000, 9800)),
            liquidation_bonus_bps=draw(st.integers(10100, 11500)),
            protocol_fee_bps=draw(st.sampled_from((0, 1000, 3000))),
            liquidity_index_ray=draw(_index),
            liquidity_rate_ray=draw(_rate),
            debt_index_ray=draw(_index),
            debt_rate_ray=draw(_rate),
            updated_at=NOW - draw(st.integers(0, 10**7)),
        )
        for i in range(count)
    )
    emodes = ()
    if draw(st.booleans()):
        emodes = (EMode(1, draw(st.integers(9000, 9900)), 10100, draw(st.integers(0, (1 << count) - 1))),)
    priced = {r.asset: Price(draw(st.integers(10**4, 10**13)), 8) for r in reserves}
    supplies = draw(st.dictionaries(st.integers(0, count - 1), _scaled, min_size=1, max_size=3))
    debts = draw(st.dictionaries(st.integers(0, count - 1), _scaled, min_size=1, max_size=3))
    emode = 1 if emodes and draw(st.booleans()) else 0
    return market(*reserves, rules=draw(any_rules), emodes=emodes), priced, account(supplies, debts, emode)


@st.composite
def near_health(
    draw: st.DrawFn, low: float, high: float, any_rules: st.SearchStrategy[Rules] = rules
) -> tuple[Market, dict[bytes, Price], Account]:
    """A world whose account has about this health, by scaling its debts; dust and whales alike."""
    from keeper.protocols.aave_v3.sheet import sheet

    state, priced, holder = draw(worlds(any_rules))
    totals = sheet(state, priced, holder, NOW).totals()
    wanted = draw(st.floats(low, high))
    if totals.debt_value == 0 or totals.health_wad == 0:
        return state, priced, holder
    factor = totals.health_wad / 1e18 / wanted
    debts = tuple((i, min(max(1, int(scaled * factor)), 1 << 110)) for i, scaled in holder.debts)
    return state, priced, Account(holder.flags, holder.emode, holder.supplies, debts)

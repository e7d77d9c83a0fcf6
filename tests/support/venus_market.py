"""Venus pools and accounts made of what matters, and random ones for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from keeper.core.types import Price, Prices
from keeper.core.units import UINT256_MAX, WAD
from keeper.protocols.venus import Venus, build
from keeper.protocols.venus.state import Account, Debt, Market, VMarket

NOW = 1_800_000_000
BLOCK = 40_000_000
COMPTROLLER = b"\x01" * 20
ACCOUNT = b"\x11" * 20
_YEAR_BLOCKS = 10_512_000


def adapter() -> Venus:
    return build({"name": "venus", "start_block": 0, "comptroller": COMPTROLLER})


def vtoken(number: int) -> bytes:
    return bytes([0xB0 + number]) * 20


def asset(number: int) -> bytes:
    return bytes([0xA0 + number]) * 20


def vmarket(number: int, **changed: Any) -> VMarket:
    fields: dict[str, Any] = {
        "vtoken": vtoken(number),
        "asset": asset(number),
        "symbol": f"T{number}",
        "decimals": 18,
        "collateral_factor_wad": 75 * 10**16,
        "liquidation_threshold_wad": 80 * 10**16,
        "reserve_factor_wad": 10**17,
        "seize_share_wad": 5 * 10**16,
        "forced": False,
        "paused": 0,
        "supply_cap_assets": UINT256_MAX,
        "time_based": False,
        "slots_per_year": _YEAR_BLOCKS,
        "accrued_slot": BLOCK,
        "borrow_index_wad": WAD,
        "borrow_rate_wad": 0,
        "total_borrows": 10**24,
        "total_reserves": 10**20,
        "bad_debt": 0,
        "total_supply": 10**16,
        "cash": 10**24,
        "idle_rate_wad": 0,
    }
    return VMarket(**{**fields, **changed})


def market(*markets: VMarket, **changed: Any) -> Market:
    fields: dict[str, Any] = {
        "comptroller": COMPTROLLER,
        "oracle": b"\x02" * 20,
        "isolated": True,
        "close_factor_wad": WAD // 2,
        "incentive_wad": 11 * 10**17,
        "min_collateral_usd_wad": 100 * WAD,
    }
    return Market(markets=markets, **{**fields, **changed})


def prices(pool: Market, dollars: dict[int, float], block: int = BLOCK) -> Prices:
    """Dollars per whole token, by the market's number."""
    found = {COMPTROLLER: Price(block, 0, NOW)}
    for number, price in dollars.items():
        decimals = pool.by_vtoken[vtoken(number)].decimals
        found[asset(number)] = Price(round(price * 10**9) * 10 ** (27 - decimals), 36 - decimals)
    return found


@st.composite
def vmarkets(draw: st.DrawFn, number: int) -> VMarket:
    decimals = draw(st.sampled_from((6, 8, 18)))
    threshold = draw(st.integers(0, 95)) * 10**16
    unit = 10**decimals
    borrows, cash = draw(st.integers(1, 10**7)) * unit, draw(st.integers(10**3, 10**7)) * unit
    reserves = borrows // draw(st.integers(20, 1000))
    rate = 10 ** (decimals + 18 - 8) * draw(st.integers(10**6, 2 * 10**6)) // 10**6
    time_based = draw(st.booleans())
    return vmarket(
        number,
        decimals=decimals,
        liquidation_threshold_wad=threshold,
        collateral_factor_wad=min(threshold, 75 * 10**16),
        forced=draw(st.sampled_from((False,) * 9 + (True,))),
        time_based=time_based,
        slots_per_year=31_536_000 if time_based else _YEAR_BLOCKS,
        accrued_slot=(NOW if time_based else BLOCK) - draw(st.integers(0, 100_000)),
        borrow_index_wad=draw(st.integers(WAD, 3 * WAD)),
        borrow_rate_wad=draw(st.integers(0, 10**11)),
        total_borrows=borrows,
        total_reserves=reserves,
        bad_debt=draw(st.sampled_from((0, 0, 17 * unit))),
        cash=cash,
        total_supply=(cash + borrows - reserves) * WAD // rate,
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Market, Prices, Account]:
    """An account near the line, in up to three markets, large or small."""
    count = draw(st.integers(2, 3))
    pool = market(*(draw(vmarkets(number)) for number in range(count)))
    priced = prices(pool, {number: draw(st.integers(10**5, 10**14)) / 10**9 for number in range(count)})
    held = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=2, unique=True))
    owing = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=2, unique=True))
    value = 10 ** draw(st.floats(0.5, 6))
    supplies, backing = [], 0.0
    for number in sorted(held):
        one = pool.markets[number]
        rate = (one.cash + one.total_borrows + one.bad_debt - one.total_reserves) / one.total_supply
        tokens = int(value * 1e36 / priced[one.asset].value / rate) + draw(st.integers(0, 5))
        supplies.append((one.vtoken, tokens))
        backing += value * one.liquidation_threshold_wad / WAD
    debts = []
    for number in sorted(owing):
        one = pool.markets[number]
        share = max(backing, value / 10) / len(owing) / draw(st.floats(0.5, 1.4))
        index = draw(st.integers(WAD, one.borrow_index_wad))
        owed = int(share * 1e36 / priced[one.asset].value * index / one.borrow_index_wad) + draw(st.integers(1, 5))
        debts.append(Debt(one.vtoken, owed, index))
    entered = tuple(sorted({vtoken(number) for number in (*held, *owing)}))
    return pool, priced, Account(entered, tuple(s for s in supplies if s[1]), tuple(debts))

"""Clearing houses and accounts made of what matters, and random ones for properties."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from keeper.core.types import Price, Prices
from keeper.core.units import WAD
from keeper.protocols.perp_v2 import PerpV2, build
from keeper.protocols.perp_v2.margin import Q96
from keeper.protocols.perp_v2.state import Account, BaseMarket, Collateral, MakerView, Market, Taken

NOW = 1_800_000_000
HOUSE = b"\x01" * 20
ACCOUNT = b"\x11" * 20
USDC = b"\x0c" * 20
TOKEN = b"\x0d" * 20
MM_PPM = 62_500


def adapter(most_usd: int = 10**9) -> PerpV2:
    options = {"clearing_house": HOUSE, "max_inherited_usd": Decimal(most_usd), "exit_cost_bps": 30}
    return build({"name": "perp", "start_block": 0, **options})


def base(number: int) -> bytes:
    return bytes([0xA0 + number]) * 20


def market(**changed: Any) -> Market:
    fields: dict[str, Any] = {
        "clearing_house": HOUSE,
        "vault": b"\x02" * 20,
        "account_balance": b"\x03" * 20,
        "config": b"\x04" * 20,
        "exchange": b"\x05" * 20,
        "insurance_fund": b"\x06" * 20,
        "collateral_manager": b"\x07" * 20,
        "settlement": USDC,
        "native": None,
        "settlement_symbol": "USDC",
        "settlement_decimals": 6,
        "mm_ratio_ppm": MM_PPM,
        "im_ratio_ppm": 100_000,
        "penalty_ppm": 25_000,
        "bases": (BaseMarket(base(0), "vETH"), BaseMarket(base(1), "vBTC")),
        "collaterals": (Collateral(TOKEN, "WETH", 18, 700_000, 8),),
    }
    return Market(**{**fields, **changed})


def prices(*dollars: int) -> Prices:
    found = {USDC: Price(10**8, 8), TOKEN: Price(2_000 * 10**8, 8)}
    return {**found, **{base(number): Price(price * WAD, 18) for number, price in enumerate(dollars)}}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Market, Prices, Account]:
    """An account around its maintenance margin, long and short, with funding pending, now and then with orders."""
    growths = [draw(st.integers(-(10**9), 10**9)) * Q96 for _ in range(2)]
    dollars = [draw(st.integers(1, 100_000)) for _ in range(2)]
    bases = tuple(BaseMarket(base(number), f"v{number}", None, None, growths[number]) for number in range(2))
    positions, notional, result = [], 0, 0
    for number in sorted(draw(st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True))):
        value = draw(st.integers(10**15, 10**24))
        size = value // dollars[number] * draw(st.sampled_from((1, -1)))
        worth = size * dollars[number]
        cost = worth * draw(st.integers(950, 1050)) // 1_000
        positions.append(Taken(base(number), size, -cost, growths[number] - draw(st.integers(-(10**6), 10**6)) * Q96))
        notional += abs(worth)
        result += worth - cost
    ratio = draw(st.integers(-20_000, 110_000))
    balance = (notional * ratio // 10**6 - result) // 10**12 + draw(st.integers(-2, 2))
    balance = max(balance, notional * 15_000 // 10**6 // 10**12 + 1)  # enough for a discount to come out of it
    deposits = ((TOKEN, draw(st.integers(1, 10**20))),) if draw(st.sampled_from((False, False, True))) else ()
    orders = draw(st.sampled_from((False,) * 5 + (True,)))
    account = Account(ACCOUNT, balance, draw(st.integers(-(10**15), 10**15)), tuple(positions), deposits, orders)
    makers = ()
    if orders:
        makers = (
            (
                ACCOUNT,
                MakerView(
                    draw(st.integers(-(10**6), 10**9)) * 10**12, draw(st.integers(0, notional * MM_PPM // 10**6))
                ),
            ),
        )
    return market(bases=bases, makers=makers), prices(*dollars), account

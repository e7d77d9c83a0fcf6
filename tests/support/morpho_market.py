"""Morpho markets and positions made of what matters, and random ones for properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from keeper.core.types import Price, Prices
from keeper.core.units import WAD
from keeper.protocols.morpho_blue import MorphoBlue, build
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.arithmetic import ORACLE_PRICE_SCALE
from keeper.protocols.morpho_blue.offers import Offer
from keeper.protocols.morpho_blue.prices import rate_key
from keeper.protocols.morpho_blue.state import Lending, Market, Position

NOW = 1_800_000_000
MORPHO = b"\xbb" * 20
LOAN, COLLATERAL = b"\xa0" * 20, b"\xa1" * 20
ID = b"\x1d" * 32
FACTORY = b"\xfa" * 20
OFFER = b"\x0f" * 20
ACCOUNT = b"\x11" * 20
KEY = ID + ACCOUNT


def adapter(**options: Any) -> MorphoBlue:
    """Its loan token is worth a dollar."""
    known = {
        "name": "morpho",
        "start_block": 0,
        "morpho": MORPHO,
        "pre_liquidation_factory": FACTORY,
        "price_references": {"0x" + LOAN.hex(): "1"},
    }
    return build(known | options)


def lending(**changed: Any) -> Lending:
    """USDC against WETH at 86 %, without interest, a million dollars borrowed of two."""
    fields = {
        "id": ID,
        "loan": LOAN,
        "collateral": COLLATERAL,
        "oracle": b"\x0c" * 20,
        "irm": b"\x0d" * 20,
        "lltv_wad": 86 * WAD // 100,
        "loan_symbol": "USDC",
        "loan_decimals": 6,
        "collateral_symbol": "WETH",
        "collateral_decimals": 18,
        "adaptive": False,
        "supply_assets": 2 * 10**12,
        "supply_shares": 2 * 10**18,
        "borrow_assets": 10**12,
        "borrow_shares": 10**18,
        "updated_at": NOW,
        "fee_wad": 0,
        "rate_at_target_wad": 0,
        "used": True,
    }
    return Lending(**(fields | changed))


def market(*lendings: Lending) -> Market:
    return Market(MORPHO, ()).with_lendings({one.id: one for one in lendings or (lending(),)})


def prices(price_e36: int | None = 2_000 * 10**24, rate_wad: int | None = 0, **worth: int) -> Prices:
    """2000 * 10**24: dollars with 6 decimals per ether with 18."""
    found: dict[bytes, Price] = {LOAN: Price(worth.get("worth", 10**8), 8)}
    if price_e36 is not None:
        found[ID] = Price(price_e36, 24)
    if rate_wad is not None:
        found[rate_key(ID)] = Price(rate_wad, 18)
    return found


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Market, Prices, Position]:
    """A market with interest running, by either kind of model, and a position of a health around one."""
    borrow = draw(st.one_of(st.integers(1, 10**6), st.integers(10**6, 10**30)))
    adaptive = draw(st.booleans())
    one = lending(
        lltv_wad=draw(st.integers(1, 999)) * WAD // 1000,
        loan_decimals=draw(st.sampled_from((6, 8, 18))),
        collateral_decimals=draw(st.sampled_from((6, 8, 18))),
        adaptive=adaptive,
        borrow_assets=borrow,
        borrow_shares=draw(st.integers(borrow * 5 * 10**5, borrow * 10**6)),
        supply_assets=int(borrow * draw(st.floats(1.0, 4.0))) + 1,
        updated_at=NOW - draw(st.integers(0, 10**7)),
        rate_at_target_wad=draw(st.integers(31_709_791, 63_419_583_967)) if adaptive else 0,
    )
    priced = prices(draw(st.integers(10**18, 10**40)), None if adaptive else draw(st.integers(0, 10**10)))
    priced = {**priced, ID: Price(priced[ID].value, one.price_decimals)}
    owed = accrued(one, priced, NOW)
    assert owed is not None
    shares = draw(st.integers(1, one.borrow_shares))
    wanted = draw(st.one_of(st.floats(0.3, 1.5), st.sampled_from((1.0, 1.03, 1.1, 1.25))))
    needed = int(owed.by(shares) * wanted) * WAD // one.lltv_wad * ORACLE_PRICE_SCALE // priced[ID].value
    collateral = min(max(needed + draw(st.integers(-2, 2)), 0), (1 << 127))
    if not draw(st.booleans()):
        return market(one), priced, Position(ID, shares, collateral)
    offer = draw(offers(one))
    if draw(st.booleans()):
        offer = replace(offer, oracle=one.oracle)
    else:
        priced = {**priced, b"pre" + OFFER: Price(priced[ID].value * draw(st.integers(90, 110)) // 100, 18)}
    offered = market(one).with_offers({OFFER: offer})
    return offered, priced, Position(ID, shares, collateral, (OFFER,))


@st.composite
def offers(draw: st.DrawFn, one: Lending) -> Offer:
    """Terms that the contract's constructor accepts, with an oracle of its own."""
    most = WAD * WAD // one.lltv_wad
    incentives = sorted(draw(st.tuples(st.integers(WAD, most), st.integers(WAD, most))))
    closes = sorted(draw(st.tuples(st.integers(1, WAD), st.integers(1, 2 * WAD))))
    lltv = draw(st.integers(one.lltv_wad // 2, one.lltv_wad - 1))
    return Offer(OFFER, ID, lltv, *closes, *incentives, b"\x0e" * 20, used=True)

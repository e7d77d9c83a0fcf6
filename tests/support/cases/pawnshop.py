"""The toy protocol for the adapters' contract suite, which runs on it once it is put where adapters are found."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from keeper.core.types import Demand, Log, Price
from keeper.protocols import pawnshop  # type: ignore[attr-defined]
from tests.support.cases import Case, Situation, data, topic

_OWNER = b"\x11" * 20
_MARKET = pawnshop.Market(b"\x01" * 20, b"\x02" * 20, b"\x03" * 20, b"\x04" * 20)


@st.composite
def _situations(draw: st.DrawFn) -> Situation:
    collateral, price = draw(st.integers(10**12, 10**24)), draw(st.integers(10**6, 10**12))
    worth = collateral * price // 10**18 * 8 // 1000
    health = draw(st.one_of(st.floats(0.7, 1.5), st.sampled_from((1.0, 1.03, 1.1, 1.25))))
    debt = max(int(worth / health) + draw(st.integers(-3, 3)), 0)
    prices = {_MARKET.token: Price(price, 8), _MARKET.dollar: Price(10**8, 8)}
    return Situation(
        _MARKET, prices, _OWNER, pawnshop.Pawn(collateral, debt), 1_800_000_000, {_MARKET.dollar: 1 << 100}
    )


def _obeyed(situation: Situation, demand: Demand, amount: int) -> Situation:
    pawn = situation.position
    if demand.action == "repay":
        return replace(situation, position=replace(pawn, debt=pawn.debt - amount))
    return replace(situation, position=replace(pawn, collateral=pawn.collateral + amount))


def case() -> Case:
    shop = "0x" + _MARKET.shop.hex()
    return Case(
        adapter=pawnshop.build({"name": "pawn", "start_block": 0, "shop": _MARKET.shop}),
        situations=_situations(),
        log_market=_MARKET,
        logs=(
            Log(shop, (pawnshop.CHANGED, topic(_OWNER))),
            Log(shop, (pawnshop.LIQUIDATED, topic(_OWNER), topic(b"\x12" * 20)), data(5, 6)),
        ),
        obeyed=_obeyed,
    )

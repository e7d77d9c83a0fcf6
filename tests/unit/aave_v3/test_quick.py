"""A few of the head calls decide about a position; whoever asks these alone decides as if all had been asked."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import Book, CallResult, LiquidationPlan, Price
from keeper.protocols.aave_v3 import abi, liquidate
from keeper.protocols.aave_v3.prices import head_calls, places, read_places
from keeper.protocols.aave_v3.sheet import sheet
from keeper.protocols.aave_v3.state import Account, EMode, Market
from keeper.protocols.aave_v3.track import sync
from tests.support import aave_market as build
from tests.support.aave_market import NOW

OWNER, ME = b"\x0e" * 20, b"\x0f" * 20
World = tuple[Market, dict[bytes, Price], Account]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[World, list[CallResult]]:
    """A world, and what the head calls of its next block return: some prices moved, some broken, the sentinel turned,
    clocks ticking."""
    market, prices, account = draw(build.near_health(0.8, 1.2))
    market = replace(market, sentinel=draw(st.sampled_from((b"", b"\x05" * 20))), sentinel_open=draw(st.booleans()))
    if draw(st.booleans()):
        clocked = tuple(replace(r, clock=r.asset + b"\x01\x02\x03\x04") for r in market.reserves)
        market = replace(market, reserves=clocked)
    if draw(st.booleans()):
        priced_by = EMode(2, 9_000, 10_200, 15, price_source=build.asset(draw(st.integers(0, 3))))
        market = replace(market, emodes=(*market.emodes, priced_by))
        account = replace(account, emode=draw(st.sampled_from((account.emode, 2))))
    moves = st.one_of(st.integers(8_000, 12_000), st.just(0))
    results: list[CallResult] = []
    for call in head_calls(market):
        if call.data[:4] == abi.GET_ASSET_PRICE[:4]:
            before = prices.get(call.data[-20:])
            value = 10**8 if before is None else before.value * draw(moves) // 10_000
            results.append(
                draw(st.sampled_from((value.to_bytes(32, "big"), None)))
                if draw(st.booleans())
                else value.to_bytes(32, "big")
            )
        elif call.target == market.sentinel:
            results.append(draw(st.booleans()).to_bytes(32, "big"))
        else:
            results.append(NOW.to_bytes(32, "big"))
    return (market, prices, account), results


@given(blocks(), st.integers(0, 60))
def test_what_few_calls_say_decides_as_all_of_them_do(block: tuple[World, list[CallResult]], later: int) -> None:
    (market, prices, account), results = block
    native = frozenset({build.asset(0)})
    asked = places(market, [account], native)
    assert list(asked) == sorted(set(asked))
    read, few = read_places(market, prices, asked, [results[place] for place in asked])
    reading = sync(market, Book(market, prices, {OWNER: account}), (), results)
    try:
        next(reading)
        raise AssertionError("a block without logs is read at once")
    except StopIteration as done:
        update = done.value
    whole = market if update.market is None else update.market
    assert read == whole
    positions = [sheet(state, said, account, NOW + later) for state, said in ((read, few), (whole, update.prices))]
    assert positions[0] == positions[1]
    rich = {build.asset(i): 1 << 130 for i in range(4)}
    planned = liquidate.plan(whole, OWNER, positions[1], NOW + later, rich, ME)
    event("open" if isinstance(planned, LiquidationPlan) else "not open")
    if isinstance(planned, LiquidationPlan):
        again = [
            liquidate.rejudge(m, OWNER, p, NOW + later, planned, ME)
            for m, p in ((read, positions[0]), (whole, positions[1]))
        ]
        assert again[0] == again[1]
    assert [few.get(a) and few[a].value for a in native] == [
        update.prices.get(a) and update.prices[a].value for a in native
    ]

"""Which positions are searched when there are more than can be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from keeper.core.reads import drive
from keeper.core.types import Book, LiquidationPair, LiquidationPlan, Price, Skip
from keeper.executor.planning.planner import Planner
from keeper.executor.ports import Opportunity, Venue
from tests.support.model_exchange import Answering, ModelLender, ModelPool, ModelVenue, model_pair

USDC, WETH, WBTC, CONTRACT = (bytes([n]) * 20 for n in (1, 2, 3, 12))
PRICES = {USDC: Price(10**8, 8), WETH: Price(2_000 * 10**8, 8), WBTC: Price(60_000 * 10**8, 8)}
DOLLAR = 10**6


@dataclass(frozen=True)
class Adapter:
    """A position's key is its collateral, and how many thousand dollars are owed."""

    name: str = "pool"
    decimals: int = 8

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:{key.hex()}"

    def base_decimals(self, market: object) -> int:
        return self.decimals

    def pairs(self, market: object, prices: object, key: bytes, *_: object) -> Sequence[LiquidationPair]:
        collateral, most = key[:20], key[20] * 1_000 * DOLLAR
        price, unit = (2_000, 10**18) if collateral == WETH else (60_000, 10**8)
        rate = (unit, price * DOLLAR)
        profit = most * 5 // 100 * 10 ** (self.decimals - 6)
        pair = model_pair(USDC, collateral, most, owed=most, held=1 << 200, rate=rate, bonus_bps=10_500)

        def plan(offer: int) -> LiquidationPlan | Skip:
            found = pair.plan(offer)
            return replace(found, profit_base=profit * offer // most) if isinstance(found, LiquidationPlan) else found

        return [LiquidationPair(USDC, collateral, most, plan)]


LARGE, SMALL = WBTC + b"\x64", WETH + b"\x0a"


async def codes(limit: int, in_vain: Mapping[str, int], small: Adapter = Adapter()) -> dict[str, str]:
    """By key: "planned", or why not. No pool buys the large one's collateral. small: where the small one is."""
    book = Book(market=object(), prices=PRICES, positions={LARGE: None, SMALL: None})
    at = {LARGE: Adapter(), SMALL: small}
    pool = ModelPool(b"\xd0" * 20, 10**9 * 10**18 // 2_000, 10**9 * DOLLAR)
    lender = ModelLender(USDC, 1 << 100)
    planner = Planner(CONTRACT, [ModelVenue({(WETH, USDC): [pool]})], [cast(Any, lender)], None, None, 5_000)
    search = planner.plan(
        [Opportunity(Venue(cast(Any, at[key]), cast(Any, book)), key) for key in (LARGE, SMALL)],
        0,
        gas_price_wei=10**9,
        native_asset=WETH,
        decimals={USDC: 6, WETH: 18, WBTC: 8},
        limit=limit,
        in_vain=in_vain,
    )
    [plans] = await drive([search], Answering())
    names = {f"liquidate:{at[key].name}:{key.hex()}": name for key, name in ((LARGE, "large"), (SMALL, "small"))}
    return {names[c]: one.code if isinstance(one, Skip) else "planned" for c, one in plans.items()}


async def test_what_is_worth_most_is_searched_first() -> None:
    assert await codes(1, {}) == {"large": "no_route", "small": "max_pending"}
    assert await codes(2, {}) == {"large": "no_route", "small": "planned"}


async def test_what_is_worth_most_is_searched_first_whatever_units_its_protocol_counts_in() -> None:
    assert await codes(1, {}, small=Adapter("fine", 18)) == {"large": "no_route", "small": "max_pending"}


async def test_what_was_searched_in_vain_comes_after_the_others() -> None:
    large = f"liquidate:pool:{LARGE.hex()}"
    assert await codes(1, {large: 7}) == {"large": "max_pending", "small": "planned"}

"""What of an opportunity our contract's plan is looked for first, from block to block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from keeper.core.types import BlockRef, Book, Call, CallResult, LiquidationPlan
from keeper.executor.financier import Financier
from keeper.executor.planning.planner import Planner
from keeper.executor.ports import Opportunity, Venue
from tests.support.model_exchange import Answering, ModelLender, ModelPool, ModelVenue
from tests.unit.executor.test_planner import CONTRACT, DOLLAR, PRICES, USDC, WETH, Adapter


class Node:
    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]:
        return await Answering()(calls)


def opportunities(*thousands: int) -> list[Opportunity]:
    keys = [WETH + bytes([owed]) for owed in thousands]
    book = Book(market=object(), prices=PRICES, positions=dict.fromkeys(keys))
    return [Opportunity(Venue(cast(Any, Adapter()), cast(Any, book)), key) for key in keys]


async def planned(found: Sequence[Opportunity], limit: int, turned_down: dict[str, int]) -> list[int]:
    """Thousands of dollars owed by those that have a plan."""
    pool = ModelPool(b"\xd0" * 20, 10**9 * 10**18 // 2_000, 10**9 * DOLLAR)
    lender = ModelLender(USDC, 1 << 100)
    planner = Planner(CONTRACT, [ModelVenue({(WETH, USDC): [pool]})], [cast(Any, lender)], None, None, 5_000)
    financier = Financier(planner, cast(Any, Node()), WETH, 5.0)
    offers = await financier.offers(
        found,
        BlockRef(1, b""),
        0,
        gas_price_wei=10**9,
        decimals={USDC: 6, WETH: 18},
        limit=limit,
        turned_down=turned_down,
    )
    return [one.key[20] for one in found if isinstance(offers.financed[one.cause], LiquidationPlan)]


async def test_plans_that_were_tried_out_in_vain_are_looked_for_after_all_others() -> None:
    """Twice as many are searched as can be sent; without that, those whose plan reverts would be the only ones."""
    found = opportunities(50, 40, 30, 20)
    assert await planned(found, 1, {}) == [50, 40]
    assert await planned(found, 1, {found[0].cause: 7, found[1].cause: 6}) == [30, 20]
    assert await planned(found, 1, {found[0].cause: 7, found[1].cause: 6, found[2].cause: 8}) == [40, 20]

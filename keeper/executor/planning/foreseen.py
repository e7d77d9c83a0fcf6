"""A plan for our contract made before the block that opens its position.

It is searched at prices that open the position, as if exchanges had followed the oracle, and made for the least that it
can then be: right at the edge, where a pool may take only a part of what is offered. What the call demands, of the sale
and of the gain, is a part of what the edge leaves; so the very same call is right at the edge and beyond it.
Whether it is right at a block, and what it brings there, is asked of the node at that block (`Armory.ask`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keeper.core.ports import Reads
from keeper.core.types import LiquidationPair, LiquidationPlan, Prices, Skip
from keeper.core.units import BPS
from keeper.executor.planning.assemble import assemble
from keeper.executor.planning.planner import Planner, purse_of
from keeper.executor.planning.ports import Pair
from keeper.executor.planning.search import Job, finance, search
from keeper.executor.ports import Opportunity

Again = Callable[[LiquidationPlan], LiquidationPlan | Skip]
Moves = Mapping[Pair, tuple[int, int]]


def foresee(
    planner: Planner,
    attempts: Sequence[tuple[Opportunity, int]],
    edge: Opportunity,
    today: Prices,
    again: Again,
    *,
    gas_price_wei: int,
    native_asset: bytes | None,
    decimals: Mapping[bytes, int],
) -> Reads[LiquidationPlan | Skip]:
    """The first of the attempts that still holds at the edge.

    attempts: the position at imagined prices, and at which time, likeliest first. today: prices that exchanges are at.
    again: what a plan's call does at the edge. Four round trips for each attempt; none for one that nothing opens.
    """
    refused = Skip("no_edge", "no price alone opens it")
    if planner.keep is not None:
        return Skip("keeps", "how much to sell, where the rest is kept, follows from the prices of the block")
    for imagined, at in attempts:
        native = None if native_asset is None else imagined.venue.prices.get(native_asset)
        open_pairs = planner.pairs(imagined, at)
        if isinstance(open_pairs, Skip):
            refused = open_pairs
            continue
        if native is None:
            return Skip("gas_unpriced", "without a price for chain.wrapped_native gas counts")
        moved = _moves(open_pairs, today, imagined.venue.prices)
        job = Job(open_pairs, purse_of(imagined, decimals, native, gas_price_wei), moved)
        [found] = yield from search([job], planner.venues, planner.fundings, at)
        if isinstance(found, Skip):
            refused = found
            continue
        least = again(found.plan)
        if isinstance(least, Skip):
            refused = least
            continue
        [result] = yield [found.route.quote(least.expected_seized_assets)]
        quoted = found.route.bought(result)
        if quoted is None:
            refused = Skip("no_route", "no pool sells what would be seized for what would be repaid")
            continue
        gas_coin = edge.venue.prices.get(native_asset, native) if native_asset is not None else native
        purse = purse_of(edge, decimals, gas_coin, gas_price_wei)
        pair = least.collateral_asset, least.debt_asset
        up, down = _moves(open_pairs, today, edge.venue.prices).get(pair, (1, 1))
        smallest = finance(least, found.route, found.loan, quoted * up // down, purse)
        if smallest.gain_assets <= 0:
            refused = Skip("price_impact", f"at the edge it would leave {smallest.gain_assets} raw units")
            continue
        # Halfway between the share that is asked for and all of it: so that, where it brings up to half as much again
        # (of a share of a half), what it demands is still that share of what it brings.
        demanded_bps = (planner.least_gain_bps + BPS) // 2
        return assemble(smallest, planner.contract, purse, demanded_bps, planner.builder_tip_bps)
    return refused


def _moves(pairs: Sequence[LiquidationPair], today: Prices, then: Prices) -> Moves:
    """By pair, by which fraction less, or more, a sale brings once exchanges have followed these prices."""
    moves: dict[Pair, tuple[int, int]] = {}
    for pair in pairs:
        sold, bought = pair.collateral_asset, pair.debt_asset
        if all(asset in prices for asset in (sold, bought) for prices in (today, then)):
            up, down = then[sold].value * today[bought].value, today[sold].value * then[bought].value
            if up and down:
                moves[sold, bought] = up, down
    return moves

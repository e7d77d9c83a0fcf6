"""Small liquidations of our contract together in one transaction, where that leaves more than each alone.

A transaction has a price of its own, and the first to touch a market pays for all that the others then find warm: on
the dev chain each further liquidation costs 250,000 gas instead of 440,000. What a large one saves so is nothing beside
the danger of being one of many, so only small ones are put together. Whether it pays is not guessed: both ways are
simulated in the same round trip. Each plan keeps its own demands, and one that dies takes no other down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from keeper.core.types import TxCall
from keeper.core.units import BPS
from keeper.executor.choose import Chosen
from keeper.executor.compose import Draft, Leg
from keeper.executor.legs import BATCH
from keeper.executor.liquidator_calls import MAX_PLANS, PLAN_SIZE, encode_execute_each, split_logs
from keeper.executor.offer import bid, native_price, padded_gas, rates_of
from keeper.executor.ports import Settings
from keeper.executor.settle import as_simulated, forecast
from keeper.executor.simulate import Verdict
from keeper.executor.upkeep import Market
from keeper.executor.value import gas_value, wei_value

_SAVED_GAS = 150_000  # at least, by each but the first
_WORTHWHILE_BPS = 500  # of what a liquidation brings, so much must be saved


def group(chosen: Sequence[Chosen], market: Market, settings: Settings) -> list[tuple[int, ...]]:
    """Which of them to try together, by index; each group is of one protocol and one contract, the best ones first."""
    most = min(settings.max_batch, MAX_PLANS)
    if most < 2:
        return []
    alike: dict[tuple[str, bytes], list[int]] = {}
    for index, one in enumerate(chosen):
        if _is_small(one, market, settings):
            alike.setdefault((one.opportunity.venue.name, one.plan.call.to), []).append(index)
    groups = [tuple(found[at : at + most]) for found in alike.values() for at in range(0, len(found), most)]
    return [one for one in groups if len(one) > 1]


def _is_small(one: Chosen, market: Market, settings: Settings) -> bool:
    """Whether what it would save is worth it. What pays its builder is to be fast, so it goes alone."""
    plan, venue = one.plan, one.opportunity.venue
    native = native_price(venue, settings.native_asset)
    if plan.financing is None or plan.call.value_wei or native is None or len(plan.call.data) - 4 > PLAN_SIZE:
        return False
    saved = gas_value(_SAVED_GAS * market.needed_fee_wei, native, venue.adapter.base_decimals(venue.book.market))
    return saved * BPS >= plan.profit_base * _WORTHWHILE_BPS


def call_of(members: Sequence[Chosen]) -> TxCall:
    return TxCall(members[0].plan.call.to, encode_execute_each([one.plan.call.data for one in members]))


def draft_batch(
    members: Sequence[Chosen],
    alone: Sequence[Verdict | None],
    together: Verdict | None,
    market: Market,
    decimals: Mapping[bytes, int],
    settings: Settings,
) -> Draft | None:
    """The transaction for all of them; None unless each succeeded in it, and brings enough for its part of the gas.

    alone: what the simulation of each by itself said, whose gas decides the parts. decimals: by token.
    """
    venue, call = members[0].opportunity.venue, call_of(members)
    native = native_price(venue, settings.native_asset)
    if native is None or together is None or not together.succeeded or not together.gas_used:
        return None
    weights = [verdict.gas_used or 0 for verdict in alone if verdict is not None]
    parts = split_logs(together.logs, call.to)
    if len(parts) != len(members) or len(weights) != len(members) or any(reason is not None for reason, _ in parts):
        return None
    plans = [as_simulated(one.plan, logs, venue) for one, (_, logs) in zip(members, parts, strict=True)]
    rates = [rates_of(venue, plan, decimals, settings.native_asset) for plan in plans]
    gas, total = together.gas_used, sum(weights) or 1

    def legs_at(fee_wei: int) -> list[Leg]:
        return [
            Leg(
                one.opportunity.cause,
                one.opportunity.position,
                plan,
                forecast(plan, rate, gas * weight * fee_wei // total),
            )
            for one, plan, rate, weight in zip(members, plans, rates, weights, strict=True)
            if rate is not None
        ]

    legs = legs_at(market.needed_fee_wei)
    if len(legs) != len(members) or any(
        leg.expected.profit < one.least_base for leg, one in zip(legs, members, strict=True)
    ):
        return None
    base = venue.adapter.base_decimals(venue.book.market)
    profit = sum(leg.expected.profit for leg in legs)
    spare = min(
        (leg.expected.profit - one.least_base) * total // (weight or 1)
        for leg, one, weight in zip(legs, members, weights, strict=True)
    )
    fees = bid(wei_value(max(profit, 0), native, base), wei_value(max(spare, 0), native, base), gas, market, settings)
    legs = legs_at(market.base_fee_wei + fees.tip_wei)
    return Draft(
        kind=BATCH,
        cause=f"batch:{sha256('|'.join(leg.cause for leg in legs).encode()).hexdigest()[:16]}",
        call=call,
        gas_limit=padded_gas(gas),
        protocol=venue.name,
        profit_expected=sum(leg.expected.profit for leg in legs),
        fees=fees,
        legs=tuple(legs),
    )

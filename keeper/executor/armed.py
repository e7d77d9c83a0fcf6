"""A transaction ready before the block that it is for: what it was made of, and whether it is still right. Pure.

Signed and durable ahead of time, it may leave at any moment without anything being written first. So whoever finds one
in the store after a crash cannot know whether it did: the chain is asked (`lifecycle`), as of every other transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from keeper.core.errors import StoreError
from keeper.core.ports import ProtocolAdapter, Rejudges, Reprices
from keeper.core.records import Intent
from keeper.core.types import BlockRef, BreachPrice, LiquidationPlan, Prices, Skip
from keeper.core.units import BPS
from keeper.executor.choose import Chosen
from keeper.executor.compose import Draft, dump_plan
from keeper.executor.fees import forecast_base_fee
from keeper.executor.lifecycle import uncertain
from keeper.executor.offer import native_price, rates_of
from keeper.executor.ports import Settings, Venue
from keeper.executor.settle import as_tried, forecast
from keeper.executor.simulate import Verdict
from keeper.executor.upkeep import Market
from keeper.executor.value import gas_value

LASTS_S = 1_800
"""How long a plan is good for: it is sized for the debt as it will be then, and the simulation that it passed is no
older. Whatever is older is made anew while nobody is waiting."""

_DEEP_BPS = 9_000

_FEES_LAST = 2


@dataclass(frozen=True, slots=True)
class Ready:
    """A plan that succeeded in a simulation of the state that opens its position.

    chosen: with the venue as it will be at the edge. position: the raw state that all of this rests on.
    planned_for: unix seconds of the block that it was first meant for.
    """

    chosen: Chosen
    verdict: Verdict
    key: bytes
    position: Any
    planned_for: int


@dataclass(frozen=True, slots=True)
class Armed:
    """Signed, and durable. draft: what was signed."""

    ready: Ready
    draft: Draft
    intent: Intent

    @property
    def nonce(self) -> int:
        return self.intent.attempts[0].nonce


@dataclass(frozen=True, slots=True)
class Fired:
    """What is to be sent because of a block. venue: with its book. is_durable: else it was signed again, for another
    nonce, and has to be journalled first. fee_wei: per gas, in the next block."""

    block: BlockRef
    intent: Intent
    draft: Draft
    venue: Venue
    gas_used: int
    fee_wei: int
    is_durable: bool


@dataclass(frozen=True, slots=True)
class View:
    """A protocol as one block leaves it, before anything in memory follows. changed: keys of positions that the block
    touched. may_open: screens all of them; keys of what may be open, never one too few among the others."""

    venue: Venue
    changed: Collection[bytes]
    may_open: Callable[[], Container[bytes]]


def scenarios(adapter: ProtocolAdapter[Any, Any], market: Any, prices: Prices, position: Any, now: int) -> list[Prices]:
    """Prices that open a position, likeliest first for planning: far enough beyond that all of it may be repaid at
    once, and right at the edge, which comes last. None where no single price opens it."""
    found = []
    for breach in adapter.breach_prices(market, prices, position, now):
        rising = breach.move_bps > 0
        deep = breach.price * BPS // _DEEP_BPS if rising else breach.price * _DEEP_BPS // BPS
        imagined = [_at_price(adapter, market, prices, position, breach, max(one, 1)) for one in (deep, breach.price)]
        if (known := [one for one in imagined if one is not None]) == imagined:
            found.append((abs(breach.move_bps), known))
    return min(found, key=lambda one: one[0])[1] if found else []


def _at_price(
    adapter: ProtocolAdapter[Any, Any], market: Any, prices: Prices, position: Any, breach: BreachPrice, price: int
) -> Prices | None:
    if isinstance(adapter, Reprices):
        return adapter.at_price(market, prices, position, breach, price)
    known = prices.get(breach.asset)
    if breach.quote or known is None or known.decimals != breach.decimals:
        return None
    return {**prices, breach.asset: replace(known, value=price)}


def documented(fired: Fired, decimals: Mapping[bytes, int], settings: Settings) -> Intent:
    """The intent with what its call was judged to do at the block that it was sent because of."""
    plan, venue, cost_wei = fired.draft.plan, fired.venue, fired.gas_used * fired.fee_wei
    assert plan is not None
    rates = rates_of(venue, plan, decimals, settings.native_asset)
    expected = None if rates is None else forecast(plan, rates, cost_wei)
    return replace(
        fired.intent,
        judged_number=fired.block.number,
        judged_hash=fired.block.hash,
        plan=dump_plan(plan, expected),
        profit_expected=fired.draft.profit_expected if expected is None else expected.profit,
    )


def rejudge(
    plan: LiquidationPlan, venue: Venue, key: bytes, position: Any, landing_at: int, account: bytes
) -> LiquidationPlan | Skip:
    """What a plan's very call does in a block; or why it must not be sent. An adapter that cannot say it of a call has
    to come to the same call by itself."""
    adapter, book = venue.adapter, venue.book
    if isinstance(adapter, Rejudges):
        return adapter.rejudge(book.market, book.prices, key, position, landing_at, plan, account)
    wallet = {plan.debt_asset: plan.repay_assets}
    again = adapter.plan(book.market, book.prices, key, position, landing_at, wallet, account)
    if isinstance(again, Skip) or again.call == plan.call:
        return again
    return Skip("another_call", "planned at this block, it is another call")


def is_financed(ready: Ready) -> bool:
    """Whether our contract pays: exchanges set the price of what it does, so it is tried out at the block itself."""
    return ready.chosen.plan.financing is not None


def is_open(ready: Ready, view: View, landing_at: int) -> bool:
    """Whether what it rests on is still so, and its position open to liquidation in a block. Exact."""
    adapter, book = view.venue.adapter, view.venue.book
    position = book.positions.get(ready.key)
    if ready.key in view.changed or not lasts(ready, position, landing_at):
        return False
    return adapter.health(book.market, book.prices, position, landing_at).liquidatable


def tried(
    ready: Ready, view: View, landing_at: int, verdict: Verdict | None, settings: Settings
) -> LiquidationPlan | Skip:
    """What the call of our contract does in a block, as it was seen to do on it; or why it must not be sent. What it
    rests on is still so (`lasts`)."""
    venue = view.venue
    if verdict is None:
        return Skip("not_simulated", "the node did not say whether it would succeed")
    health = venue.adapter.health(venue.book.market, venue.prices, ready.position, landing_at)
    if not health.liquidatable:
        return Skip("healthy", "it is not open to liquidation")
    if not verdict.succeeded:
        return Skip("would_revert", venue.adapter.explain_revert(verdict.revert))
    native = native_price(venue, settings.native_asset)
    if native is None:
        return Skip("gas_unpriced", "the protocol has no price for chain.wrapped_native, so gas cannot be valued")
    plan = as_tried(ready.chosen.plan, verdict.logs, ready.key, venue, native)
    if plan is None or verdict.gas_used is None:
        return Skip("not_told", "the node did not say what it would bring")
    if not demands_enough(plan, settings.least_gain_bps):
        return Skip("demands_too_little", "it brings so much more than at the edge that another plan is made")
    return replace(plan, judged_at=landing_at, health_wad=health.factor_wad)


def demands_enough(plan: LiquidationPlan, least_gain_bps: int) -> bool:
    """Whether its call reverts when it gains less than that share of what it was seen to gain. What is demanded is
    fixed when a call is made, and the rest is there to be taken by whoever trades in between."""
    financing = plan.financing
    return financing is None or financing.least_gain_assets * BPS >= financing.gain_assets * least_gain_bps


def profit_at(plan: LiquidationPlan, gas_used: int, fee_wei: int, venue: Venue, settings: Settings) -> int | None:
    """Base units after gas; None where gas has no price."""
    native = native_price(venue, settings.native_asset)
    if native is None:
        return None
    return plan.profit_base - gas_value(gas_used * fee_wei, native, venue.adapter.base_decimals(venue.book.market))


def lasts(ready: Ready, position: Any, landing_at: int) -> bool:
    """Whether what it rests on is still so."""
    return ready.position == position and 0 <= landing_at - ready.planned_for < LASTS_S


def is_well_paid(draft: Draft, market: Market) -> bool:
    """Whether its fees are still what one would offer: enough for some blocks to come, and no more than is usual."""
    fees, usual = draft.fees, market.fresh
    if fees is None or usual is None or fees.max_fee_wei > market.cap_wei:
        return False
    lasting = forecast_base_fee(market.base_fee_wei, _FEES_LAST) + fees.tip_wei
    enough = max(min(lasting, market.first_cap_wei), market.base_fee_wei + fees.tip_wei)
    return enough <= fees.max_fee_wei <= 2 * usual.max_fee_wei + fees.tip_wei and fees.tip_wei >= usual.tip_wei


# --- stored -----------------------------------------------------------------------------------------------------------


class _Stored(msgspec.Struct):
    account: bytes
    intents: list[Intent]


def dump(account: bytes, armed: Iterable[Armed]) -> str:
    return msgspec.json.encode(_Stored(account, [one.intent for one in armed])).decode()


def load(stored: str | None, account: bytes) -> Sequence[Intent]:
    """Intents whose transaction may have left (`lifecycle.uncertain`); none of another account's, whose nonces are not
    ours to count. Raises StoreError when what is stored is not what Keeper writes."""
    if not stored:
        return []
    try:
        found = msgspec.json.decode(stored, type=_Stored)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the stored armed transactions are not readable ({error}); restore a backup") from error
    if found.account != account:
        return []
    return [uncertain(intent) for intent in found.intents]

"""What a mined transaction cost, and what a liquidation brought: from its receipt, at the prices of its block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from keeper.core.errors import DecodeError
from keeper.core.records import Intent
from keeper.core.types import Liquidated, LiquidationPlan, Price, RawLog
from keeper.core.units import BPS
from keeper.executor.accounts import Rates, Statement, Turnover, difference, dump_statement, load_statement, rates_at
from keeper.executor.legs import BATCH, LIQUIDATES, legs_of
from keeper.executor.lifecycle import Receipt, succeeded
from keeper.executor.liquidator_calls import Executed, read_executed, split_logs
from keeper.executor.ports import Venue
from keeper.executor.value import gas_value, value_down

log = structlog.get_logger(__name__)

_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)


# --- before: what a plan is expected to bring -------------------------------------------------------------------------


def forecast(plan: LiquidationPlan, rates: Rates, gas_wei: int) -> Statement:
    """rates: at the judged block. gas_wei: expected."""
    repaid, seized, financing = plan.expected_repaid_assets, plan.expected_seized_assets, plan.financing
    if financing is None:
        return Statement(Turnover(repaid=repaid, seized=seized, gas_wei=gas_wei), rates)
    fee, tip_wei = financing.fee_assets, financing.tip_wei
    sold, proceeds = seized, financing.gain_assets + repaid + fee
    if financing.gain_token != plan.debt_asset:
        sold, proceeds = seized - financing.gain_assets, financing.proceeds_assets
    moved = Turnover(
        repaid=repaid, seized=seized, sold=sold, proceeds=proceeds, fee=fee, gas_wei=gas_wei, tip_wei=tip_wei
    )
    return Statement(moved, rates)


def as_simulated(plan: LiquidationPlan, logs: Iterable[RawLog], venue: Venue) -> LiquidationPlan:
    """A plan for our contract with the gain that its simulation showed, which knows what ran before it in the block."""
    financing = plan.financing
    if financing is None or (price := venue.prices.get(financing.gain_token)) is None:
        return plan
    said = _said(logs, plan.call.to, financing.gain_token)
    if said is None:
        return plan
    planned, simulated = (
        _value(gain, financing.gain_decimals, financing.haircut_bps, price, venue)
        for gain in (financing.gain_assets, said.gain)
    )
    profit = plan.profit_base - planned + simulated
    return replace(plan, profit_base=profit, financing=replace(financing, gain_assets=said.gain))


def as_tried(
    plan: LiquidationPlan, logs: Sequence[RawLog], key: bytes, venue: Venue, native: Price
) -> LiquidationPlan | None:
    """A plan for our contract, made earlier, with what its call was seen to do at this block; None when that is not
    told. profit_base: before gas, after what the builder is paid."""
    financing = plan.financing
    if financing is None or (price := venue.prices.get(financing.gain_token)) is None:
        return None
    said = _said(logs, plan.call.to, financing.gain_token)
    try:
        seen = [one for one in _liquidations(venue, logs) if one.key == key]
    except DecodeError:
        return None
    if said is None or not seen:
        return None
    taken = _taken(seen, plan.debt_asset, plan.collateral_asset)
    if taken.other_assets:
        return None
    repaid, seized = taken.repaid, taken.seized
    tip = gas_value(financing.tip_wei, native, venue.adapter.base_decimals(venue.book.market))
    gained = _value(said.gain, financing.gain_decimals, financing.haircut_bps, price, venue)
    return replace(
        plan,
        expected_repaid_assets=repaid,
        expected_seized_assets=seized,
        profit_base=gained - tip,
        financing=replace(
            financing,
            sold_assets=seized,
            proceeds_assets=said.gain + repaid + financing.fee_assets,
            gain_assets=said.gain,
        ),
    )


def gained_value(financing: Mapping[str, Any], logs: Iterable[RawLog], venue: Venue) -> int | None:
    """Base units that our contract says it gained by a plan, before gas and tip; None when it does not say, or without
    a price.

    financing: of a stored plan.
    """
    token = bytes.fromhex(financing["gain_token"][2:])
    said = _said(logs, bytes.fromhex(financing["contract"][2:]), token)
    if said is None or (price := venue.prices.get(token)) is None:
        return None
    return _value(said.gain, int(financing["gain_decimals"]), int(financing["haircut_bps"]), price, venue)


# --- after: what the receipt says -------------------------------------------------------------------------------------


def settle(
    intent: Intent,
    receipt: Receipt,
    venues: Mapping[str, Venue],
    decimals: Mapping[bytes, int],
    native_asset: bytes | None,
    now: float,
) -> Intent:
    """A mined intent with what it cost and, of a liquidation that succeeded, what it brought.

    venues: by name; their prices are those of the block at which the inclusion was seen. decimals: by token.
    """
    venue = venues.get(intent.protocol)
    intent = replace(intent, realized={"at": now, **_cost(receipt, venue, venues, native_asset)})
    if venue is None or intent.kind not in LIQUIDATES or not succeeded(intent):
        return intent
    if intent.kind == BATCH:
        return _realize_legs(intent, receipt, venue, decimals, native_asset)
    return realize(intent, receipt, venue, decimals, native_asset)


def _realize_legs(
    intent: Intent, receipt: Receipt, venue: Venue, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> Intent:
    """A mined batch with what became of each leg; its profit is theirs, less the gas of those that failed.

    A leg that failed alone is not asked about again, as a whole transaction is (`Explainer`): each of a batch succeeded
    when it was simulated, and so before the block.
    """
    legs = legs_of(intent)
    parts = split_logs(receipt.logs, bytes.fromhex(legs[0].plan["financing"]["contract"][2:]))
    if len(parts) != len(legs):
        log.warning("batch_receipt_not_read", intent=intent.id, legs=len(legs), told=len(parts))
        return intent
    native = None if native_asset is None else venue.prices.get(native_asset)
    base = venue.adapter.base_decimals(venue.book.market)
    outcomes: list[Mapping[str, Any]] = []
    profits: list[int | None] = []
    for leg, (failure, logs) in zip(legs, parts, strict=True):
        cost_wei = leg.gas_cost_wei or 0
        gas = None if native is None else gas_value(cost_wei, native, base)
        outcome: dict[str, Any] = {"gas": None if gas is None else str(gas)}
        if failure is None:
            part = replace(receipt, cost_wei=cost_wei, gas_used=leg.gas_used or 0, logs=tuple(logs))
            after = realize(replace(leg, realized={}), part, venue, decimals, native_asset)
            profits.append(after.profit_realized)
            outcomes.append({**outcome, **after.realized})
        else:
            profits.append(None if gas is None else -gas)
            reason = f"reverted: {venue.adapter.explain_revert(failure)}"
            outcomes.append({**outcome, "failed": reason, "succeeded_before": True})
    known = [profit for profit in profits if profit is not None]
    realized = {**intent.realized, "legs": outcomes}
    return replace(intent, realized=realized, profit_realized=sum(known) if len(known) == len(profits) else None)


def _cost(
    receipt: Receipt, venue: Venue | None, venues: Mapping[str, Venue], native_asset: bytes | None
) -> Mapping[str, Any]:
    """What the gas was worth, at the prices of the intent's protocol, or of any for what concerns none."""
    for one in [venue] if venue is not None else venues.values():
        native = None if native_asset is None else one.prices.get(native_asset)
        if native is not None and one.book.market is not None:
            base = one.adapter.base_decimals(one.book.market)
            return {"gas": str(gas_value(receipt.cost_wei, native, base)), "base_decimals": base}
    return {"gas": None, "base_decimals": None}


def realize(
    intent: Intent, receipt: Receipt, venue: Venue, decimals: Mapping[bytes, int], native_asset: bytes | None
) -> Intent:
    """The intent with what its transaction's logs say, and the profit. The profit stays unknown when a price or a
    token's decimals are, or when our contract does not say what it gained, or when other assets changed hands, too.
    """
    try:
        seen = [
            one for one in _liquidations(venue, receipt.logs) if venue.adapter.position_id(one.key) == intent.position
        ]
    except DecodeError as error:
        log.warning("liquidation_receipt_not_decoded", intent=intent.id, error=str(error))
        return intent
    debt, collateral = intent.debt_asset, intent.collateral_asset
    taken = _taken(seen, debt, collateral)
    repaid, seized = taken.repaid, taken.seized
    intent = replace(intent, repaid_assets=repaid, seized_assets=seized)
    if debt is None or collateral is None or taken.other_assets:
        return intent
    base, haircut_bps = venue.adapter.base_decimals(venue.book.market), int(intent.plan.get("haircut_bps", 0))
    rates = rates_at(debt, collateral, native_asset, venue.prices, decimals, base, haircut_bps)
    turnover = _turnover(intent, repaid, seized, receipt)
    if rates is None or turnover is None:
        return intent
    statement = Statement(turnover, rates)
    said: dict[str, Any] = {**intent.realized, "statement": dump_statement(statement)}
    if (expected := intent.plan.get("expected")) is not None:
        causes = difference(load_statement(expected), statement)
        said["difference"] = {cause: str(amount) for cause, amount in causes.items()}
    return replace(intent, profit_realized=statement.profit, realized=said)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Raw units of the planned debt and of the planned collateral. other_assets: whether there were any besides."""

    repaid: int
    seized: int
    other_assets: bool


def _taken(seen: Sequence[Liquidated], debt: bytes | None, collateral: bytes | None) -> _Taken:
    """What liquidations of one position took. One call may take several assets (Venus heals accounts whole), whose
    owner may have pledged or borrowed another one since it was planned; which is told with which is of no account."""
    return _Taken(
        sum(one.repaid_assets for one in seen if one.debt_asset == debt),
        sum(one.seized_assets for one in seen if one.collateral_asset == collateral),
        any(
            (one.repaid_assets and one.debt_asset != debt) or (one.seized_assets and one.collateral_asset != collateral)
            for one in seen
        ),
    )


def _liquidations(venue: Venue, logs: Iterable[RawLog]) -> Sequence[Liquidated]:
    """Raises DecodeError for a log of the protocol that does not have the shape of its event. The adapter is not asked
    about logs without topics, which no protocol writes and every token may."""
    return venue.adapter.liquidations(venue.book.market, [one for one in logs if one.topics])


def _turnover(intent: Intent, repaid: int, seized: int, receipt: Receipt) -> Turnover | None:
    """What moved; None when it is our contract's liquidation and the contract does not say what it gained."""
    financing = intent.plan.get("financing")
    paid = Turnover(repaid=repaid, seized=seized, gas_wei=receipt.cost_wei)
    if financing is None or intent.debt_asset is None or intent.collateral_asset is None:
        return paid
    contract, gain_token = (bytes.fromhex(financing[key][2:]) for key in ("contract", "gain_token"))
    said = _said(receipt.logs, contract, gain_token)
    if said is None:
        return None
    lent = int(financing["borrowed_assets"]) if financing["lender"] is not None else 0
    debt = _flow(receipt.logs, intent.debt_asset, contract)
    collateral = _flow(receipt.logs, intent.collateral_asset, contract)
    moved = replace(
        paid,
        sold=collateral.out,
        proceeds=debt.into - lent,
        fee=debt.out - lent - repaid,
        tip_wei=said.tip_wei,
    )
    if moved.proceeds < 0 or moved.fee < 0:  # tokens that do not tell what they move: nothing is made up from them
        moved = replace(moved, sold=0, proceeds=0, fee=0)
    if gain_token == intent.debt_asset:
        kept = collateral.into - collateral.out
        return replace(moved, other_debt=said.gain - moved.debt_gain, other_collateral=kept - moved.collateral_gain)
    spare = debt.into - debt.out
    return replace(moved, other_debt=spare - moved.debt_gain, other_collateral=said.gain - moved.collateral_gain)


@dataclass(frozen=True, slots=True)
class _Flow:
    into: int
    out: int


def _flow(logs: Iterable[RawLog], token: bytes, holder: bytes) -> _Flow:
    """Raw units of a token that came to the holder and that left, by the token's own events. One without the word that
    tells the amount moves nothing that could be counted: a token may log what it likes."""
    at, who, into, out = "0x" + token.hex(), holder.hex(), 0, 0
    for entry in logs:
        if entry.address == at and len(entry.topics) == 3 and entry.topics[0] == _TRANSFER and len(entry.data) == 66:
            amount = int(entry.data[2:66], 16)
            into += amount * (entry.topics[2][-40:] == who)
            out += amount * (entry.topics[1][-40:] == who)
    return _Flow(into, out)


def _value(gain: int, decimals: int, haircut_bps: int, price: Price, venue: Venue) -> int:
    base = venue.adapter.base_decimals(venue.book.market)
    return value_down(gain, decimals, price, base) * (BPS - haircut_bps) // BPS


def _said(logs: Iterable[RawLog], contract: bytes, token: bytes) -> Executed | None:
    """What the contract says of the plan by which it gained of the token; None when it does not say."""
    said = (read_executed(log) for log in logs if log.address == "0x" + contract.hex())
    return next((executed for executed in said if executed is not None and executed.token == token), None)

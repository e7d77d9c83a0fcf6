"""What is worth sending of what was tried out, and for which fees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from keeper.core.types import Skip
from keeper.executor.accounts import Statement
from keeper.executor.batch import draft_batch
from keeper.executor.choose import Chosen, First, Refused, goes_before
from keeper.executor.compose import Draft, draft_first, draft_liquidation
from keeper.executor.fees import Fees
from keeper.executor.offer import bid, native_price, padded_gas, rates_of
from keeper.executor.ports import Settings
from keeper.executor.questions import Wallet
from keeper.executor.settle import as_simulated, forecast
from keeper.executor.simulate import Verdict
from keeper.executor.trial import Outcome, Trial, being_approved
from keeper.executor.upkeep import Market
from keeper.executor.value import gas_value, wei_value

_APPROVAL_GAS = 100_000


def accept(
    trial: Trial,
    outcome: Outcome,
    market: Market,
    fees: Fees,
    wallet: Wallet,
    native_wei: int,
    settings: Settings,
) -> tuple[list[Draft], list[Refused]]:
    """What is worth sending, approvals first, and why the rest is not.

    fees: of what is not done for profit. wallet: at the judged block. native_wei: free to be spent on gas and tips.
    """
    tried = dict(zip(trial.approvals, outcome.approvals, strict=True))
    in_flight = being_approved(trial.waiting)
    approving: dict[First, Draft] = {}
    drafts: list[Draft] = []
    refused: list[Refused] = []
    batches = _batches(trial, outcome, market, wallet.decimals, settings)
    batched = {index for batch in batches for index in batch}
    for index, (chosen, verdict) in enumerate(zip(trial.chosen, outcome.chosen, strict=True)):
        if index in batched:
            continue
        pair = chosen.plan.approval[:2] if chosen.plan.approval is not None else None
        first = [one for one in trial.approvals if goes_before(one, chosen)]
        waits = bool(first or chosen.plan.prepare or (pair is not None and pair[0] in in_flight))
        unseen = waits and not outcome.in_sequence
        objection = _objection([tried[a] for a in first])
        result: Draft | Skip
        if objection is not None:
            result = objection
        elif unseen:
            result = Skip("awaiting_approval", "what it takes is approved, or prepared, first")
        else:
            result = draft_of(chosen, verdict, market, wallet.decimals, settings)
        needed: dict[First, Draft] = {}
        if isinstance(result, Draft) or (unseen and objection is None):
            needed = {one: _draft_first(one, tried[one]) for one in first if one not in approving}
        most_wei = sum(d.most_wei(fees) for d in (*needed.values(), result) if isinstance(d, Draft))
        if most_wei > native_wei:
            result = _too_poor(most_wei, native_wei)
        else:
            native_wei -= most_wei
            approving.update(needed)
        if isinstance(result, Skip):
            refused.append(Refused(chosen.opportunity, result))
        else:
            drafts.append(result)
    for batch, draft in batches.items():
        most_wei = draft.most_wei(fees)
        if most_wei > native_wei:
            refused += [Refused(trial.chosen[i].opportunity, _too_poor(most_wei, native_wei)) for i in batch]
        else:
            native_wei -= most_wei
            drafts.append(draft)
    return [*approving.values(), *drafts], refused


def _too_poor(most_wei: int, native_wei: int) -> Skip:
    detail = f"gas may cost {most_wei} wei, the wallet has {native_wei} left; send it more"
    return Skip("insufficient_gas_money", detail)


def _batches(
    trial: Trial, outcome: Outcome, market: Market, decimals: Mapping[bytes, int], settings: Settings
) -> Mapping[tuple[int, ...], Draft]:
    """The groups that leave more in one transaction than those of them that pay alone."""
    found: dict[tuple[int, ...], Draft] = {}
    for batch, verdict in zip(trial.batches, outcome.batches, strict=False):
        members, alone = [trial.chosen[i] for i in batch], [outcome.chosen[i] for i in batch]
        draft = draft_batch(members, alone, verdict, market, decimals, settings)
        singles = [draft_of(one, said, market, decimals, settings) for one, said in zip(members, alone, strict=True)]
        apart = sum(one.profit_expected or 0 for one in singles if isinstance(one, Draft))
        if draft is not None and (draft.profit_expected or 0) > apart:
            found[batch] = draft
    return found


def _objection(approvals: Sequence[Verdict | None]) -> Skip | None:
    """Why what needs these approvals cannot go on."""
    if any(verdict is None for verdict in approvals):
        return Skip("not_simulated", "the node did not say whether what goes before it would succeed")
    if any(verdict is not None and not verdict.succeeded for verdict in approvals):
        return Skip("approval_failed", "the wallet cannot approve, or prepare, what it takes")
    return None


def _draft_first(first: First, verdict: Verdict | None) -> Draft:
    return draft_first(first, padded_gas(_gas(verdict, _APPROVAL_GAS)))


def draft_of(
    chosen: Chosen, verdict: Verdict | None, market: Market, decimals: Mapping[bytes, int], settings: Settings
) -> Draft | Skip:
    """The transaction for one liquidation, with its fees; or why it is not worth one. decimals: by token."""
    venue, plan = chosen.opportunity.venue, chosen.plan
    if verdict is None:
        return Skip("not_simulated", "the node did not say whether it would succeed")
    if not verdict.succeeded:
        return Skip("would_revert", venue.adapter.explain_revert(verdict.revert))
    native = native_price(venue, settings.native_asset)
    if native is None:
        return Skip("gas_unpriced", "the protocol has no price for chain.wrapped_native, so gas cannot be valued")
    gas_used = _gas(verdict, plan.gas_limit_hint)
    base = venue.adapter.base_decimals(venue.book.market)
    plan = as_simulated(plan, verdict.logs, venue)
    rates = rates_of(venue, plan, decimals, settings.native_asset)

    def profit_at(fee_wei: int) -> tuple[int, Statement | None]:
        cost_wei = gas_used * fee_wei
        if rates is None:
            return plan.profit_base - gas_value(cost_wei, native, base), None
        expected = forecast(plan, rates, cost_wei)
        return expected.profit, expected

    least = chosen.least_base
    cost = gas_value(gas_used * market.needed_fee_wei, native, base)
    profit, _ = profit_at(market.needed_fee_wei)
    # A protocol can plan with less than what the transaction brings: leaving an inherited position costs later.
    if plan.financing is None:
        profit = min(profit, plan.profit_base - cost)
    if profit < least:
        detail = f"brings {profit + cost} base units, gas costs {cost}: below the least ({least})"
        return Skip("unprofitable", detail)
    pays_builder = plan.financing is not None and plan.financing.tip_wei > 0
    spare_wei = 0 if pays_builder else wei_value(profit - least, native, base)
    fees = bid(wei_value(profit, native, base), spare_wei, gas_used, market, settings)
    profit, expected = profit_at(market.base_fee_wei + fees.tip_wei)
    return draft_liquidation(replace(chosen, plan=plan), padded_gas(gas_used), profit, expected, fees)


def _gas(verdict: Verdict | None, otherwise: int) -> int:
    return otherwise if verdict is None or verdict.gas_used is None else verdict.gas_used

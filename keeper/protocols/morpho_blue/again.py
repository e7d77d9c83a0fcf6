"""What a call that was made earlier does now, exactly as Morpho, or a pre-liquidation contract, will.

A call names shares or collateral, and neither moves with interest; what follows from them does. Repaying all of a debt
by its shares is right at any price that opens the position, as long as the collateral covers it. A call for a fixed
collateral takes fewer shares the further the price falls, and reverts while it would take more than there are.
Source: Morpho.liquidate of @morpho-org/morpho-blue 1.0.0, PreLiquidation.preLiquidate of morpho-org/pre-liquidation.
"""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import LiquidationPlan, Price, Skip
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.health import Sheet
from keeper.protocols.morpho_blue.liquidate import (
    ROUNDINGS,
    Offered,
    Open,
    Outcome,
    offered_by,
    open_position,
    with_margin,
)


def rejudge(
    morpho: bytes, account: bytes, sheet: Sheet, worth: Price | None, now: int, earlier: LiquidationPlan
) -> LiquidationPlan | Skip:
    """An earlier plan with what its call repays and seizes now; or why it must not be sent.

    It was sized with an hour's interest to spare (`most_repaid_assets`), so what it is charged now, and the roundings
    by which that can differ until it lands, have to be within what was offered then.
    """
    seized, shares = abi.amounts_of(earlier.call.data)
    found: Open | Offered | Skip
    if earlier.call.to == morpho:
        found = open_position(morpho, account, sheet, worth)
        if isinstance(found, Offered):
            return Skip("healthy", "its owner's pre-liquidation contracts may liquidate it, Morpho does not yet")
    else:
        found = offered_by(earlier.call.to, account, sheet, worth)
    if isinstance(found, Skip):
        return found
    outcome = found.by_assets(seized) if seized and isinstance(found, Open) else found.by_shares(shares)
    if (refusal := _refusal(found, outcome, earlier)) is not None:
        return refusal
    profit = found.profit_value(outcome)
    if profit <= 0:
        return Skip("unprofitable", f"it would bring {profit} base units before gas")
    return replace(
        earlier,
        expected_repaid_assets=outcome.repaid_assets,
        expected_seized_assets=outcome.seized_assets,
        profit_base=profit,
        judged_at=now,
        health_wad=sheet.factor_wad,
    )


def _refusal(found: Open | Offered, outcome: Outcome, earlier: LiquidationPlan) -> Skip | None:
    sheet = found.sheet
    if outcome.repaid_shares > (most := found.most_shares):
        return Skip("too_much", f"it would repay {outcome.repaid_shares} shares, {most} may be repaid")
    # By shares, interest makes the seizure grow until it lands; by collateral it is what it is.
    seized = outcome.seized_assets if outcome.seized_by else with_margin(outcome.seized_assets)
    if seized > sheet.collateral_assets:
        return Skip("bad_debt", f"it would seize {seized} raw units, of a collateral of {sheet.collateral_assets}")
    if not outcome.seized_assets or not outcome.repaid_shares:
        return Skip("dust", f"repaying {outcome.repaid_shares} shares seizes {outcome.seized_assets} raw units")
    if outcome.repaid_assets + (ROUNDINGS if outcome.seized_by else 1) > earlier.repay_assets:
        return Skip(
            "charges_more", f"it is charged {outcome.repaid_assets} raw units of {earlier.repay_assets} offered"
        )
    return None

"""A financed plan as a transaction of our contract."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Financing, LiquidationPlan, TxCall
from keeper.core.units import BPS, mul_div_up
from keeper.executor.liquidator_calls import EVERYTHING, Plan, Step, Watch, encode_execute
from keeper.executor.planning.search import Financed

_VALID_S = 1800  # for exchanges that ask until when; what has become unprofitable is cancelled long before


def assemble(financed: Financed, contract: bytes, decimals: int, least_gain_bps: int) -> LiquidationPlan:
    """The plan whose call borrows, liquidates, sells everything that was seized, repays, and keeps the rest.

    decimals: of the debt token. least_gain_bps: the part of the expected gain without which the call reverts.
    Raises ValueError for a plan that liquidates nothing of value, or that no approval is known for.
    """
    plan, route, loan = financed.plan, financed.route, financed.loan
    if plan.approval is None or financed.gain_assets <= 0:
        raise ValueError(f"a plan that gains {financed.gain_assets} raw units is not worth a transaction")
    least_gain = mul_div_up(financed.gain_assets, least_gain_bps, BPS)
    least_bought = financed.bought_assets - financed.gain_assets + least_gain
    sale = route.sale(plan.expected_seized_assets, least_bought, contract, plan.judged_at + _VALID_S)
    debt, spender, most = plan.approval
    liquidate = Step(plan.call.to, plan.call.data, token=debt, amount=most, spender=spender)
    sell = Step(
        sale.target,
        sale.data,
        token=plan.collateral_asset,
        amount=EVERYTHING,
        spender=sale.target,
        amount_at=sale.amount_at,
    )
    watches = (Watch(debt, least_gain), Watch(plan.collateral_asset))
    steps = tuple(loan.take(plan.repay_assets, (liquidate, sell)))
    return replace(
        plan,
        repay_assets=0,
        profit_base=financed.profit_base,
        call=TxCall(contract, encode_execute(Plan(watches, steps))),
        approval=None,
        gas_limit_hint=financed.gas,
        financing=Financing(
            funding=loan.name,
            route=route.name,
            borrowed_assets=plan.repay_assets,
            fee_assets=financed.fee_assets,
            proceeds_assets=financed.bought_assets,
            gain_token=debt,
            gain_decimals=decimals,
            gain_assets=financed.gain_assets,
            least_gain_assets=least_gain,
        ),
    )

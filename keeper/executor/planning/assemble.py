"""A financed plan as a transaction of our contract."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Financing, LiquidationPlan, TxCall
from keeper.core.units import BPS, mul_div_up
from keeper.executor.liquidator_calls import EVERYTHING, NATIVE, Plan, Step, Watch, encode_execute, repaid_after
from keeper.executor.planning.search import Financed, Purse

_VALID_S = 1800  # for exchanges that ask until when; what has become unprofitable is cancelled long before


def assemble(
    financed: Financed, contract: bytes, purse: Purse, least_gain_bps: int, builder_tip_bps: int = 0
) -> LiquidationPlan:
    """The plan whose call does what must be done first, borrows, liquidates, sells what was seized, or what it takes to
    repay, and keeps the rest.

    least_gain_bps: the part of the expected gain without which the call reverts. builder_tip_bps: the part of the
    profit that the block's builder is paid, in native coin sent along; not when the plan reverts.
    Raises ValueError for a plan that liquidates nothing of value, or that no approval is known for.
    """
    plan, loan = financed.plan, financed.loan
    if plan.approval is None or financed.gain_assets <= 0:
        raise ValueError(f"a plan that gains {financed.gain_assets} raw units is not worth a transaction")
    least_gain = mul_div_up(financed.gain_assets, least_gain_bps, BPS)
    debt, spender, most = plan.approval
    sell = _sell(financed, contract, financed.gain_assets - least_gain)
    other = plan.collateral_asset if financed.gain_token == debt else debt
    watches: tuple[Watch, ...] = (Watch(financed.gain_token, least_gain), Watch(other))
    after = [sell]
    if plan.unwrap is not None:
        claim, redeem = plan.unwrap.token, plan.unwrap.call
        after.insert(0, Step(redeem.to, redeem.data, claim, EVERYTHING, amount_at=plan.unwrap.amount_at))
        watches = (*watches, Watch(claim))
    first = tuple(Step(one.to, one.data) for one in plan.prepare)
    steps: tuple[Step, ...]
    if loan.calls_back and plan.callback_at is not None:
        steps = (*first, repaid_after(plan.call, plan.callback_at, debt, most, after))
    else:
        liquidate = Step(plan.call.to, plan.call.data, token=debt, amount=most, spender=spender)
        steps = (*first, *loan.take(plan.repay_assets, (liquidate, *after)))
    tip_wei = purse.wei(max(financed.net_base, 0) * builder_tip_bps // BPS)
    if tip_wei:
        watches = (*watches, Watch(NATIVE))
    return replace(
        plan,
        repay_assets=0,
        profit_base=financed.profit_base - purse.gas_wei(tip_wei),
        call=TxCall(contract, encode_execute(Plan(watches, steps, tip_wei)), tip_wei),
        approval=None,
        prepare=(),
        gas_limit_hint=financed.gas,
        financing=Financing(
            funding=loan.name,
            route=financed.route.name,
            borrowed_assets=plan.repay_assets,
            fee_assets=financed.fee_assets,
            sold_assets=financed.sold_assets,
            proceeds_assets=financed.bought_assets,
            gain_token=financed.gain_token,
            gain_decimals=purse.decimals[financed.gain_token],
            gain_assets=financed.gain_assets,
            least_gain_assets=least_gain,
            haircut_bps=financed.haircut_bps,
            lender=loan.lender,
            tip_wei=tip_wei,
        ),
    )


def _sell(financed: Financed, contract: bytes, leeway: int) -> Step:
    """leeway: by how much the gain may be less than expected, in raw units of the token gained."""
    plan, route = financed.plan, financed.route
    deadline = plan.judged_at + _VALID_S
    if financed.gain_token == plan.debt_asset:
        least_bought = financed.bought_assets - leeway
        sale = route.sale(financed.sold_assets, least_bought, contract, deadline)
        amount = EVERYTHING
    else:
        amount = financed.sold_assets + leeway
        sale = route.purchase(financed.bought_assets, amount, contract, deadline)
    token = plan.collateral_asset
    return Step(sale.target, sale.data, token=token, amount=amount, spender=sale.target, amount_at=sale.amount_at)

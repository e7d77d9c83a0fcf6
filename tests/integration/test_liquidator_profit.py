"""The Liquidator contract earns what it should, whoever lends, on the real protocols."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.devnet.morpho import PARAMS
from keeper.executor.liquidator_calls import (
    EVERYTHING,
    Plan,
    Step,
    Watch,
    callback_of,
    encode_steps,
    uniswap_flash_swap,
)
from tests.support.liquidations import LOANS, SOURCES, Desk, account, raw

REPAY = 7_000 * 10**6
MORPHO_LIQUIDATE = f"liquidate({PARAMS},address,uint256,uint256,bytes)"


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    return Desk.opened(shared_chain)


def liquidation(desk: Desk, source: str, borrower: str, repay: int = REPAY, **sale: int) -> tuple[Step, ...]:
    return desk.funded(source, repay, desk.liquidate(borrower, repay), desk.sell(**sale))


def allowances(desk: Desk) -> set[int]:
    """Everything that the contract lets anybody take of the tokens it touches."""
    chain = desk.chain
    spenders = (chain.aave.pool, chain.uniswap.router, chain.morpho.address, chain.balancer.vault)
    return {
        chain.call(
            chain.tokens[symbol].address, "allowance(address,address)(uint256)", desk.liquidator.address, spender
        )
        for symbol in ("USDC", "WETH")
        for spender in (*spenders, *chain.uniswap.pools.values())
    }


# --- where the money comes from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_profit_is_proceeds_less_repayment_and_fees_to_the_wei(desk: Desk, source: str):
    """The gain that the contract announces and holds is what the protocols' own events add up to."""
    (borrower,) = desk.under_water()
    if source == "own":
        desk.chain.fund(desk.liquidator.address, "USDC", REPAY)
    if source == "balancer":
        desk.chain.balancer.set_flash_fee(10**14)
    before = desk.holds("USDC")
    receipt = desk.run(desk.plan(*liquidation(desk, source, borrower), least_gain=1))
    said = account(desk, receipt)
    assert said.repaid == REPAY
    assert (said.fees > 0) == (source in ("aave", "balancer", "uniswap"))
    assert said.profit > 0
    assert said.executed.gain == said.profit == desk.holds("USDC") - before
    assert desk.holds("WETH") == 0
    assert allowances(desk) == {0}


def test_balancers_fee_is_paid_as_the_vault_counts_it(desk: Desk):
    (borrower,) = desk.under_water()
    desk.chain.balancer.set_flash_fee(10**14)
    said = account(desk, desk.run(desk.plan(*liquidation(desk, "balancer", borrower))))
    assert said.fees == desk.chain.balancer.flash_fee(REPAY) == 700_000


def test_uniswaps_own_swap_lends_and_buys_at_once(desk: Desk):
    """The pool hands over the debt asset, and is paid with what was seized: one fee, no router, no lender."""
    (borrower,) = desk.under_water()
    usdc, weth, pool = desk.token("USDC"), desk.token("WETH"), raw(desk.chain.uniswap.pools["WETH"])
    swap = uniswap_flash_swap(desk.address, pool, weth, usdc, REPAY, (desk.liquidate(borrower, REPAY),))
    receipt = desk.run(Plan((Watch(weth, least_gain=1), Watch(usdc)), (swap,)))
    said = account(desk, receipt)
    assert said.proceeds == said.repaid == REPAY
    assert said.executed.gain == said.seized - said.sold == desk.holds("WETH") > 0
    assert desk.holds("USDC") == 0


@pytest.mark.parametrize(("sold", "bought"), [("WETH", "USDC"), ("USDC", "WETH")])
def test_a_swap_is_paid_in_whichever_token_it_sells(desk: Desk, sold: str, bought: str):
    """A pool names what it is owed by the order of its tokens' addresses; here the owner pays from stock."""
    stock, wanted = {"WETH": 10**18, "USDC": 10**10}[sold], {"WETH": 10**17, "USDC": 10**8}[bought]
    desk.chain.fund(desk.liquidator.address, sold, stock)
    pool = raw(desk.chain.uniswap.pools["WETH"])
    swap = uniswap_flash_swap(desk.address, pool, desk.token(sold), desk.token(bought), wanted, ())
    desk.run(Plan((Watch(desk.token(bought), wanted), Watch(desk.token(sold), -stock)), (swap,)), sender=desk.owner)
    assert desk.holds(bought) == wanted
    assert 0 < stock - desk.holds(sold) < stock


def test_morpho_waits_for_its_money_while_the_collateral_is_sold(desk: Desk):
    """Morpho's own liquidation hands over the collateral first, and takes the debt out of what it brings."""
    chain, morpho = desk.chain, desk.chain.morpho
    borrower = chain.accounts[3]
    morpho.supply_collateral(borrower, Decimal(10))
    morpho.borrow(borrower, Decimal(16_000))
    chain.set_price("WETH", Decimal(1_800))
    chain.move_pool("WETH", Decimal(1_800))
    desk.liquidator.allow_call(morpho.address, MORPHO_LIQUIDATE)
    shares = morpho.position(borrower).borrow_shares
    inner = (desk.sell(),)
    data = encode_call(MORPHO_LIQUIDATE, (morpho.params, borrower, 0, shares, encode_steps(inner)))
    step = Step(raw(morpho.address), data, token=desk.token("USDC"), callback=callback_of(inner))
    owed = chain.balance(morpho.address, "USDC")
    receipt = desk.run(desk.plan(step, least_gain=1))
    said = account(desk, receipt)
    repaid = chain.balance(morpho.address, "USDC") - owed
    assert repaid >= 16_000 * 10**6
    assert said.executed.gain == said.proceeds - repaid == desk.holds("USDC")
    assert morpho.position(borrower).borrow_shares == 0
    assert allowances(desk) == {0}


def test_a_pool_cannot_lend_for_a_swap_in_itself(desk: Desk):
    """Uniswap locks a pool while it lends, and the reason comes through."""
    (borrower,) = desk.under_water()
    inner = (desk.liquidate(borrower, REPAY), desk.sell())
    loan = desk.uniswap_loan("WETH", REPAY, inner)
    with pytest.raises(Reverted, match=r"Error\('LOK'\)"):
        desk.run(desk.plan(loan))


@pytest.mark.parametrize(
    ("source", "most_gas"),
    [("own", 440_000), ("aave", 538_000), ("morpho", 500_000), ("balancer", 516_000), ("uniswap", 538_000)],
)
def test_a_liquidation_stays_lean(desk: Desk, source: str, most_gas: int):
    """A competitor pays for gas as well: what the contract adds to the protocols' own gas must not creep up."""
    (borrower,) = desk.under_water()
    if source == "own":
        desk.chain.fund(desk.liquidator.address, "USDC", REPAY)
    desk.chain.warp(60)  # Aave saves gas on interest in the second of an earlier transaction
    assert desk.run(desk.plan(*liquidation(desk, source, borrower), least_gain=1)).gas_used <= most_gas


# --- several at once --------------------------------------------------------------------------------------------------


def test_several_liquidations_share_one_loan_and_one_sale(desk: Desk):
    borrowers = desk.under_water(3)
    inner = (*(desk.liquidate(who, REPAY) for who in borrowers), desk.sell())
    said = account(desk, desk.run(desk.plan(*desk.funded("morpho", 3 * REPAY, *inner), least_gain=1)))
    assert said.repaid == 3 * REPAY
    assert said.executed.gain == said.profit == desk.holds("USDC")


def test_a_liquidation_that_somebody_else_was_first_at_is_passed_over(desk: Desk):
    """An optional step that reverts is told with its reason, and the sale sells what the others seized."""
    first, taken, last = desk.under_water(3)
    desk.chain.aave.repay(taken, "USDC")
    inner = (*(desk.liquidate(who, REPAY, optional=True) for who in (first, taken, last)), desk.sell())
    receipt = desk.run(desk.plan(*desk.funded("morpho", 3 * REPAY, *inner), least_gain=1))
    said = account(desk, receipt)
    assert said.repaid == 2 * REPAY
    assert said.executed.gain == said.profit == desk.holds("USDC")
    (failed,) = desk.failures(receipt)
    assert (failed.target, failed.index) == (raw(desk.chain.aave.pool), 1)
    assert desk.chain.client.reasons.explain(failed.reason).startswith("HealthFactorNotBelowThreshold")
    assert allowances(desk) == {0}


def test_nothing_is_paid_for_when_all_were_taken(desk: Desk):
    """A sale of nothing reverts the plan, so that a simulation knows."""
    (taken,) = desk.under_water()
    desk.chain.aave.repay(taken, "USDC")
    with pytest.raises(Reverted, match="nothing gained"):
        desk.run(desk.plan(*desk.funded("morpho", REPAY, desk.liquidate(taken, REPAY, optional=True), desk.sell())))


def test_loans_from_several_lenders_stand_side_by_side_and_undo_themselves_alone(desk: Desk):
    """An optional loan is a group: what fails in it takes back the whole group, and only that."""
    taken, last = desk.under_water(2)
    desk.chain.aave.repay(taken, "USDC")
    groups = [desk.optional(*liquidation(desk, source, who)) for source, who in (("balancer", taken), ("morpho", last))]
    receipt = desk.run(desk.plan(*groups, least_gain=1))
    said = account(desk, receipt)
    assert said.repaid == REPAY
    assert said.executed.gain == said.profit == desk.holds("USDC")
    assert [failed.target for failed in desk.failures(receipt)] == [raw(desk.chain.balancer.vault)]


def test_loans_can_be_taken_within_loans(desk: Desk):
    """One lender has too little: a second lends the rest, while the first waits."""
    (borrower,) = desk.under_water()
    half = REPAY // 2
    inner = desk.funded("balancer", half, desk.liquidate(borrower, REPAY), desk.sell())
    said = account(desk, desk.run(desk.plan(*desk.funded("morpho", half, *inner), least_gain=1)))
    assert said.repaid == REPAY
    assert said.executed.gain == said.profit == desk.holds("USDC")


# --- what it insists on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", LOANS)
def test_a_plan_gains_what_it_demands_or_nothing_happens(desk: Desk, source: str):
    """One unit more than there is to gain reverts; exactly as much does not."""
    (borrower,) = desk.under_water()
    steps = liquidation(desk, source, borrower)
    with desk.chain.rewound():
        gain = account(desk, desk.run(desk.plan(*steps))).executed.gain
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(desk.plan(*steps, least_gain=gain + 1))
    assert account(desk, desk.run(desk.plan(*steps, least_gain=gain))).executed.gain == gain


def test_dust_that_somebody_sent_before_is_no_profit(desk: Desk):
    """A gain is a difference: neither money sent before, nor the contract's own stock, makes up for a loss."""
    (borrower,) = desk.under_water()
    desk.chain.fund(desk.liquidator.address, "USDC", 10**12)
    desk.chain.fund(desk.liquidator.address, "WETH", 10**18)
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(desk.plan(*liquidation(desk, "morpho", borrower), least_gain=1_000 * 10**6))
    said = account(desk, desk.run(desk.plan(*liquidation(desk, "morpho", borrower), least_gain=1)))
    assert said.executed.gain == said.profit == desk.holds("USDC") - 10**12
    assert desk.holds("WETH") == 10**18


def test_each_sale_has_its_own_least_proceeds(desk: Desk):
    """A leg that brings less than it should reverts, though the plan as a whole would gain enough."""
    (borrower,) = desk.under_water()
    with desk.chain.rewound():
        proceeds = account(desk, desk.run(desk.plan(*liquidation(desk, "morpho", borrower)))).proceeds
    with pytest.raises(Reverted, match="bought too little"):
        desk.run(desk.plan(*liquidation(desk, "morpho", borrower, least_bought=proceeds + 1)))
    said = account(desk, desk.run(desk.plan(*liquidation(desk, "morpho", borrower, least_bought=proceeds))))
    assert said.proceeds == proceeds


def test_what_is_not_sold_is_kept(desk: Desk):
    """Selling just enough to repay leaves the profit in collateral, if that is what the plan watches."""
    (borrower,) = desk.under_water()
    seized = 4_433_333_333_333_333_333
    sale = desk.sell(amount=seized - 10**17)
    steps = desk.funded("morpho", REPAY, desk.liquidate(borrower, REPAY), sale)
    weth, usdc = desk.token("WETH"), desk.token("USDC")
    desk.run(Plan((Watch(weth, least_gain=10**17), Watch(usdc)), steps))
    assert desk.holds("WETH") == 10**17


def test_an_approval_larger_than_what_is_taken_does_not_outlive_its_step(desk: Desk):
    """The pool takes half of the debt; the other half of the approval is taken back."""
    (borrower,) = desk.under_water()
    desk.chain.fund(desk.liquidator.address, "USDC", 2 * REPAY)
    desk.run(desk.plan(desk.liquidate(borrower, 3 * REPAY), desk.sell(), least_gain=1))
    assert allowances(desk) == {0}


# --- tips -------------------------------------------------------------------------------------------------------------


def test_a_tip_is_unwrapped_from_what_was_gained(desk: Desk):
    """Part of the seized ether goes to the block's builder; the rest is sold."""
    (borrower,) = desk.under_water()
    builder, tip = desk.chain.make_account(77, 0), 10**16
    desk.chain.rpc("anvil_setCoinbase", builder)
    desk.wrap(10**18)
    sale = desk.sell(amount=4_433_333_333_333_333_333 - tip)
    steps = desk.funded("morpho", REPAY, desk.liquidate(borrower, REPAY), sale)
    before = desk.ether(builder)
    receipt = desk.run(desk.plan(*steps, least_gain=1, tip_wei=tip, native=True))
    said = account(desk, receipt)
    assert desk.ether(builder) - before - desk.tips(receipt) == tip
    assert said.executed.tip_wei == tip
    assert said.executed.gain == said.profit
    assert desk.holds("WETH") == 0


def test_a_tip_can_be_sent_along(desk: Desk):
    (borrower,) = desk.under_water()
    builder, tip = desk.chain.make_account(77, 0), 10**16
    desk.chain.rpc("anvil_setCoinbase", builder)
    before = desk.ether(builder)
    plan = desk.plan(*liquidation(desk, "morpho", borrower), least_gain=1, tip_wei=tip, native=True)
    receipt = desk.run(plan, value_wei=tip)
    assert desk.ether(builder) - before - desk.tips(receipt) == tip
    assert desk.ether(desk.liquidator.address) == 0


def test_a_tip_that_was_sent_in_part_is_unwrapped_for_the_rest(desk: Desk):
    """Not more than is missing: all else that was seized is sold."""
    (borrower,) = desk.under_water()
    builder, tip = desk.chain.make_account(77, 0), 10**16
    desk.chain.rpc("anvil_setCoinbase", builder)
    desk.wrap(10**18)
    sale = desk.sell(amount=4_433_333_333_333_333_333 - tip // 4)
    steps = desk.funded("morpho", REPAY, desk.liquidate(borrower, REPAY), sale)
    before = desk.ether(builder)
    receipt = desk.run(desk.plan(*steps, least_gain=1, tip_wei=tip, native=True), value_wei=tip - tip // 4)
    assert desk.ether(builder) - before - desk.tips(receipt) == tip
    assert desk.holds("WETH") == desk.ether(desk.liquidator.address) == 0


@pytest.mark.parametrize("stock", ["WETH", "ether"])
def test_a_tip_is_never_paid_from_stock(desk: Desk, stock: str):
    """Neither ether nor wrapped ether that the contract had before goes to a builder."""
    (borrower,) = desk.under_water()
    if stock == "ether":
        desk.chain.client.send_ether(desk.owner, desk.liquidator.address, 10**18)
    desk.wrap(10**18)
    desk.chain.fund(desk.liquidator.address, "WETH", 10**18)
    plan = desk.plan(*liquidation(desk, "morpho", borrower), least_gain=1, tip_wei=10**16, native=True)
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(plan)


def test_a_sale_of_everything_counts_what_is_there_when_its_turn_comes(desk: Desk):
    """The amount is written into the call by the contract: stock stays, and no dust of the seized is left."""
    (borrower,) = desk.under_water()
    desk.chain.fund(desk.liquidator.address, "WETH", 123)
    sale = desk.sell()
    assert sale.amount == EVERYTHING
    said = account(desk, desk.run(desk.plan(*desk.funded("morpho", REPAY, desk.liquidate(borrower, REPAY), sale))))
    assert said.sold == said.seized
    assert desk.holds("WETH") == 123

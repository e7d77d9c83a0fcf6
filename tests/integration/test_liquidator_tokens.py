"""The Liquidator and tokens that do not behave: they cost a plan, never the stock, and leave nothing approved."""

from __future__ import annotations

import pytest

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.executor.liquidator_calls import EVERYTHING, NATIVE, Plan, Step, Watch, balancer_loan, morpho_loan
from tests.support import rogues
from tests.support.liquidations import Desk, raw
from tests.support.rogues import Mood

STOCK = 10**6
TAKE, GIVE = "take(address,uint256)", "give(address,uint256)"


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    return Desk.opened(shared_chain)


@pytest.fixture
def counter(desk: Desk) -> str:
    """A shop that takes and gives tokens as it is asked to."""
    address = rogues.deploy(desk.chain.client, desk.owner, "rogue_lender")
    desk.liquidator.allow_call(address, TAKE, GIVE)
    return address


def made(desk: Desk, name: str, counter: str) -> str:
    """A token of which lenders, the shop and the contract have some."""
    token = rogues.deploy(desk.chain.client, desk.owner, name)
    for holder in (desk.chain.morpho.address, desk.chain.balancer.vault, counter):
        desk.chain.send(desk.owner, token, "mint(address,uint256)", holder, 10**24)
    desk.chain.send(desk.owner, token, "mint(address,uint256)", desk.liquidator.address, STOCK)
    return token


@pytest.fixture
def rogue(desk: Desk, counter: str) -> str:
    return made(desk, "rogue_token", counter)


@pytest.fixture
def mute(desk: Desk, counter: str) -> str:
    """Returns nothing, like USDT, and wants an allowance set to zero before it is changed."""
    return made(desk, "mute_token", counter)


def mood(desk: Desk, token: str, mood: Mood) -> None:
    rogues.set_mood(desk.chain.client, desk.owner, token, mood)


def take(counter: str, token: str, taken: int, approved: int) -> Step:
    shop = raw(counter)
    return Step(shop, encode_call(TAKE, (token, taken)), token=raw(token), amount=approved, spender=shop)


def give(counter: str, token: str, amount: int) -> Step:
    return Step(raw(counter), encode_call(GIVE, (token, amount)))


def held(desk: Desk, token: str) -> int:
    balance: int = desk.chain.call(token, "balanceOf(address)(uint256)", desk.liquidator.address)
    return balance


def allowed(desk: Desk, token: str, spender: str) -> int:
    signature = "allowance(address,address)(uint256)"
    allowance: int = desk.chain.call(token, signature, desk.liquidator.address, spender)
    return allowance


# --- tokens that return nothing ---------------------------------------------------------------------------------------


def test_a_mute_token_is_approved_again_after_a_part_was_taken(desk: Desk, counter: str, mute: str):
    """What is left of one approval is taken back before the next, or this token would refuse it."""
    steps = (take(counter, mute, 40, 100), take(counter, mute, 30, 100), give(counter, mute, 70))
    desk.run(Plan((Watch(raw(mute)),), steps))
    assert (held(desk, mute), allowed(desk, mute, counter)) == (STOCK, 0)


@pytest.mark.parametrize("lender", ["morpho", "balancer"])
def test_a_mute_token_can_be_borrowed(desk: Desk, counter: str, mute: str, lender: str):
    """Repaid by approval and by transfer, neither of which answers."""
    inner = (take(counter, mute, STOCK, 2 * STOCK), give(counter, mute, STOCK + 1))
    address = desk.chain.morpho.address if lender == "morpho" else desk.chain.balancer.vault
    loan = (
        morpho_loan(raw(address), raw(mute), STOCK, inner)
        if lender == "morpho"
        else balancer_loan(desk.address, raw(address), raw(mute), STOCK, inner)
    )
    desk.run(Plan((Watch(raw(mute), least_gain=1),), (loan,)))
    assert (held(desk, mute), allowed(desk, mute, counter), allowed(desk, mute, address)) == (STOCK + 1, 0, 0)


def test_a_mute_token_is_sent_home(desk: Desk, mute: str):
    desk.liquidator.skim(desk.operator, raw(mute))
    assert desk.chain.call(mute, "balanceOf(address)(uint256)", desk.owner) == STOCK


# --- tokens that say no -----------------------------------------------------------------------------------------------


def test_a_token_that_answers_false_to_an_approval_ends_the_plan(desk: Desk, counter: str, rogue: str):
    mood(desk, rogue, Mood.FALSE_ON_APPROVE)
    with pytest.raises(Reverted, match="approval refused"):
        desk.run(Plan((Watch(raw(rogue)),), (take(counter, rogue, 1, 1),)))


def test_a_token_that_answers_false_to_a_transfer_is_not_taken_for_paid(desk: Desk, rogue: str):
    mood(desk, rogue, Mood.FALSE_ON_TRANSFER)
    with pytest.raises(Reverted, match="transfer refused"):
        desk.liquidator.skim(desk.owner, raw(rogue))


def test_a_frozen_token_says_so_and_hinders_no_other(desk: Desk, rogue: str):
    mood(desk, rogue, Mood.REVERT_ON_TRANSFER)
    with pytest.raises(Reverted, match="frozen"):
        desk.liquidator.skim(desk.owner, raw(rogue))
    desk.liquidator.skim(desk.owner, desk.token("USDC"))
    desk.liquidator.skim(desk.owner, NATIVE)


def test_an_optional_step_that_fails_leaves_nothing_approved(desk: Desk, counter: str, rogue: str):
    """The approval stands outside of the call that reverts."""
    mood(desk, rogue, Mood.REVERT_ON_TRANSFER)
    step = take(counter, rogue, 1, 5)
    receipt = desk.run(Plan((Watch(raw(rogue)),), (Desk.optional(step),)))
    assert desk.chain.client.reasons.explain(desk.failures(receipt)[0].reason) == "Error('frozen')"
    assert allowed(desk, rogue, counter) == 0


# --- tokens that charge for a transfer --------------------------------------------------------------------------------


def test_what_arrived_is_sold_not_what_was_sent(desk: Desk, counter: str, rogue: str):
    """Of a thousand sent, 990 arrive; everything is 990, and the stock is not touched."""
    mood(desk, rogue, Mood.FEE_ON_TRANSFER)
    shop = raw(counter)
    data = encode_call(TAKE, (rogue, 0))
    sale = Step(shop, data, token=raw(rogue), amount=EVERYTHING, spender=shop, amount_at=4 + 32)
    before = desk.chain.call(rogue, "balanceOf(address)(uint256)", counter)
    desk.run(Plan((Watch(raw(rogue)),), (give(counter, rogue, 1_000), sale)))
    assert held(desk, rogue) == STOCK
    assert desk.chain.call(rogue, "balanceOf(address)(uint256)", counter) == before - 1_000 + 990 - 9


def test_a_loan_that_arrives_short_is_not_repaid_from_stock(desk: Desk, rogue: str):
    """The fee of the transfer is a loss that a watch sees."""
    mood(desk, rogue, Mood.FEE_ON_TRANSFER)
    loan = morpho_loan(raw(desk.chain.morpho.address), raw(rogue), 1_000, ())
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(Plan((Watch(raw(rogue)),), (loan,)))
    assert held(desk, rogue) == STOCK


# --- steps that pay in no token ---------------------------------------------------------------------------------------


def test_who_is_to_be_paid_must_be_paid_in_something(desk: Desk, counter: str):
    """An approval or a callback without a token is refused by name, not by a call into nowhere."""
    step = Step(raw(counter), encode_call(GIVE, (desk.token("USDC"), 0)), spender=raw(counter))
    called_back = Step(raw(counter), encode_call(GIVE, (desk.token("USDC"), 0)), callback=b"\1" * 32)
    for wrong in (step, called_back):
        with pytest.raises(Reverted, match="no token to pay with"):
            desk.run(desk.plan(wrong))

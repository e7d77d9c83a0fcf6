"""Only who was called may call the Liquidator back, once, with what it was given; and nobody gets in twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keeper.abis import contract
from keeper.devnet.abi import encode_call, selector, signature_of
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.executor.liquidator_calls import (
    Plan,
    Step,
    Watch,
    balancer_loan,
    callback_of,
    encode_execute,
    encode_skim,
    encode_steps,
    morpho_loan,
)
from tests.support import rogues
from tests.support.liquidations import AAVE_FLASH, BALANCER_FLASH, Desk, raw
from tests.support.rogues import Mood

REPAY = 7_000 * 10**6
STOCK = 1_000 * 10**6
LEND = "lend(uint256,uint256,address,address,uint256,uint256,bytes)"
FORGE = "forge(address,uint256,address,address,uint256,uint256,bytes)"
TAKE_FROM = "take_from(address,address,uint256)"
KINDS = {"aave": 1, "morpho": 2, "morpho_liquidation": 3, "balancer": 4, "uniswap": 5, "uniswap_swap": 6}

every_callback = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    """With 1,000 USDC of its own, which somebody may be after."""
    desk = Desk.opened(shared_chain)
    shared_chain.fund(desk.liquidator.address, "USDC", STOCK)
    return desk


@pytest.fixture
def lender(desk: Desk) -> str:
    """A lender without scruples, which the owner allowed by mistake. It has money to lend."""
    address = rogues.deploy(desk.chain.client, desk.owner, "rogue_lender")
    desk.liquidator.allow_call(address, LEND, FORGE)
    desk.chain.fund(address, "USDC", REPAY)
    return address


def lend(
    desk: Desk,
    lender: str,
    kind: int,
    *,
    times: int = 1,
    initiator: bytes | None = None,
    fee: int = 0,
    inner: Sequence[Step] = (),
    given_back: bytes | None = None,
) -> Step:
    """A loan from the rogue lender. given_back: what it calls back with instead of the inner steps."""
    usdc = desk.token("USDC")
    data = encode_steps(inner) if given_back is None else given_back
    call = encode_call(LEND, (kind, times, initiator or desk.address, usdc, REPAY, fee, data))
    return Step(raw(lender), call, token=usdc, amount=REPAY, callback=callback_of(inner))


def forge(desk: Desk, lender: str, kind: int, inner: Sequence[Step] = ()) -> bytes:
    args = (desk.address, kind, desk.address, desk.token("USDC"), REPAY, 0, encode_steps(inner))
    return encode_call(FORGE, args)


def pulls(kind: int) -> bool:
    """Whether this callback pays by approval, which the rogue lender does not use."""
    return kind in (KINDS["aave"], KINDS["morpho"], KINDS["morpho_liquidation"])


# --- strangers --------------------------------------------------------------------------------------------------------


@every_callback
def test_a_stranger_cannot_call_back_when_nothing_runs(desk: Desk, lender: str, kind: int):
    """Not even with the right initiator, and though the owner allows calling it."""
    with pytest.raises(Reverted, match="nobody we called"):
        desk.chain.client.send_data(desk.chain.accounts[9], lender, forge(desk, lender, kind), "forge")


def test_a_strangers_aave_loan_to_us_is_refused(desk: Desk):
    """Aave lets anybody name the receiver of a loan, who would pay the premium."""
    chain = desk.chain
    args = (desk.address, desk.token("USDC"), 10**6, encode_steps(()), 0)
    with pytest.raises(Reverted, match="not our loan"):
        chain.send(chain.accounts[9], chain.aave.pool, AAVE_FLASH, *args)


def test_a_strangers_balancer_loan_to_us_is_refused(desk: Desk):
    """Balancer lets anybody name the recipient of a loan."""
    chain = desk.chain
    args = (desk.address, (desk.token("USDC"),), (10**6,), encode_steps(()))
    with pytest.raises(Reverted, match="nobody we called"):
        chain.send(chain.accounts[9], chain.balancer.vault, BALANCER_FLASH, *args)


def test_inner_steps_are_run_for_nobody_else(desk: Desk):
    """The function that decodes them serves the contract alone, whoever asks."""
    (run,) = (entry for entry in contract("keeper", "Liquidator")["abi"] if entry.get("name") == "run")
    steps = encode_steps((desk.liquidate(desk.chain.accounts[3], REPAY),))
    for who in (desk.chain.accounts[9], desk.operator, desk.owner):
        with pytest.raises(Reverted, match="not us"):
            desk.chain.client.send_data(who, desk.liquidator.address, selector(signature_of(run)) + steps, "run")


# --- a lender that was allowed ----------------------------------------------------------------------------------------


@every_callback
def test_an_honest_callback_is_accepted(desk: Desk, lender: str, kind: int):
    """What the tests below refuse, they refuse for its one fault: without it the loan passes."""
    desk.run(desk.plan(lend(desk, lender, kind)))
    assert desk.holds("USDC") == STOCK + (REPAY if pulls(kind) else 0)


@every_callback
def test_a_callback_with_other_steps_is_refused(desk: Desk, lender: str, kind: int):
    other = encode_steps((desk.sell(),))
    with pytest.raises(Reverted, match="not our steps"):
        desk.run(desk.plan(lend(desk, lender, kind, given_back=other)))


@every_callback
def test_a_second_callback_is_refused(desk: Desk, lender: str, kind: int):
    """Otherwise a lender would be paid twice for one loan."""
    with pytest.raises(Reverted, match="nobody we called"):
        desk.run(desk.plan(lend(desk, lender, kind, times=2)))


def test_a_callback_for_somebody_elses_loan_is_refused(desk: Desk, lender: str):
    """Aave names who took the loan; all else may be right."""
    with pytest.raises(Reverted, match="not our loan"):
        desk.run(desk.plan(lend(desk, lender, KINDS["aave"], initiator=raw(desk.operator))))


@every_callback
def test_a_missed_callback_cannot_be_made_up_for_later(desk: Desk, lender: str, kind: int):
    """A lender that did not call back during its step may not during the next."""
    idle = lend(desk, lender, kind, times=0)
    late = Step(raw(lender), forge(desk, lender, kind))
    with pytest.raises(Reverted, match="nobody we called"):
        desk.run(desk.plan(idle, late))


@every_callback
def test_a_callback_that_was_not_announced_is_refused(desk: Desk, lender: str, kind: int):
    """Calling a target does not by itself let it call back."""
    with pytest.raises(Reverted, match="nobody we called"):
        desk.run(desk.plan(Step(raw(lender), forge(desk, lender, kind))))


@pytest.mark.parametrize("kind", [KINDS["balancer"], KINDS["uniswap"]], ids=["balancer", "uniswap"])
def test_a_fee_cannot_eat_into_stock(desk: Desk, lender: str, kind: int):
    """A lender may name any fee; the plan does not pay it from what was there before."""
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(desk.plan(lend(desk, lender, kind, fee=STOCK)))
    assert desk.holds("USDC") == STOCK


@every_callback
def test_a_lender_that_was_not_asked_to_pull_finds_nothing_approved_later(desk: Desk, lender: str, kind: int):
    """Whatever a lender leaves of its approval ends with its step."""
    desk.run(desk.plan(lend(desk, lender, kind)))
    usdc = desk.chain.tokens["USDC"].address
    assert desk.chain.call(usdc, "allowance(address,address)(uint256)", desk.liquidator.address, lender) == 0
    with pytest.raises(Reverted, match="InsufficientAllowance"):
        desk.chain.send(desk.owner, lender, TAKE_FROM, desk.liquidator.address, usdc, 1)


# --- in the middle of a plan ------------------------------------------------------------------------------------------


@pytest.fixture
def token(desk: Desk) -> str:
    """A token that calls somebody while it is moved. All lenders have some of it."""
    chain = desk.chain
    address = rogues.deploy(chain.client, desk.owner, "rogue_token")
    for holder in (chain.morpho.address, chain.balancer.vault):
        chain.send(desk.owner, address, "mint(address,uint256)", holder, 10**24)
    return address


def arm(desk: Desk, token: str, weapon: bytes, victim: str | None = None) -> None:
    desk.chain.send(desk.owner, token, "aim(address,bytes)", victim or desk.liquidator.address, weapon)
    rogues.set_mood(desk.chain.client, desk.owner, token, Mood.CALL_ON_TRANSFER)


def answered(desk: Desk, token: str) -> str:
    """Why the attack failed. It must have been made."""
    assert desk.chain.call(token, "called()(bool)")
    assert not desk.chain.call(token, "succeeded()(bool)")
    return desk.chain.client.reasons.explain(desk.chain.call(token, "answer()(bytes)"))


CALLBACKS = {
    "aave": ("executeOperation(address,uint256,uint256,address,bytes)", lambda d, t, s: (t, 10**6, 0, d.address, s)),
    "morpho": ("onMorphoFlashLoan(uint256,bytes)", lambda d, t, s: (10**6, s)),
    "morpho_liquidation": ("onMorphoLiquidate(uint256,bytes)", lambda d, t, s: (10**6, s)),
    "balancer": ("receiveFlashLoan(address[],uint256[],uint256[],bytes)", lambda d, t, s: ((t,), (10**6,), (0,), s)),
    "uniswap": ("uniswapV3FlashCallback(uint256,uint256,bytes)", lambda d, t, s: (0, 0, s)),
    "uniswap_swap": ("uniswapV3SwapCallback(int256,int256,bytes)", lambda d, t, s: (10**6, -1, s)),
}


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_token_cannot_call_back_in_its_lenders_stead(desk: Desk, token: str, callback: str):
    """Moved by the lender, while the contract awaits the lender's callback, it has all but the lender's address."""
    signature, arguments = CALLBACKS[callback]
    arm(desk, token, encode_call(signature, arguments(desk, raw(token), encode_steps(()))))
    loan = morpho_loan(raw(desk.chain.morpho.address), raw(token), 10**6, ())
    desk.run(Plan((Watch(raw(token)),), (loan,)))
    assert "nobody we called" in answered(desk, token)


def test_a_token_cannot_take_a_loan_for_us_while_we_await_one(desk: Desk, token: str):
    """Aave would then call back truly, with the very steps; but it was not we who asked."""
    chain, steps = desk.chain, encode_steps(())
    usdc = desk.token("USDC")
    arm(desk, token, encode_call(AAVE_FLASH, (desk.address, usdc, 10**6, steps, 0)), victim=chain.aave.pool)
    loan = balancer_loan(desk.address, raw(chain.balancer.vault), raw(token), 10**6, ())
    desk.run(Plan((Watch(raw(token)), Watch(usdc)), (loan,)))
    assert "not our loan" in answered(desk, token)


@pytest.mark.parametrize("entry", ["execute", "skim", "rescue", "allow_operator", "allow_call", "offer_ownership"])
def test_nobody_enters_twice(desk: Desk, token: str, entry: str):
    """Not even an operator or the owner, should that be a token with hooks."""
    plan = Plan((Watch(desk.token("USDC")),), ())
    weapons = {
        "execute": encode_execute(plan),
        "skim": encode_skim(desk.token("USDC")),
        "rescue": encode_call("rescue(address,bytes,uint256)", (token, b"1234", 0)),
        "allow_operator": encode_call("allow_operator(address,bool)", (token, True)),
        "allow_call": encode_call("allow_call(address,bytes4,bool)", (token, b"1234", True)),
        "offer_ownership": encode_call("offer_ownership(address)", (token,)),
    }
    desk.liquidator.allow_operator(token)
    desk.chain.rpc("anvil_setBalance", token, hex(10**18))
    desk.chain.send(desk.owner, desk.liquidator.address, "offer_ownership(address)", token)
    desk.chain.send(token, desk.liquidator.address, "accept_ownership()")
    with desk.chain.rewound():
        desk.chain.client.send_data(token, desk.liquidator.address, weapons[entry], entry)
    arm(desk, token, weapons[entry])
    loan = morpho_loan(raw(desk.chain.morpho.address), raw(token), 10**6, ())
    desk.run(Plan((Watch(raw(token)),), (loan,)))
    assert answered(desk, token) == "no reason given"


def test_a_builder_that_is_tipped_cannot_enter_either(desk: Desk):
    """The tip is the last call of a plan, and may go to a contract."""
    chain = desk.chain
    builder = rogues.deploy(chain.client, desk.owner, "rogue_token")
    arm(desk, builder, encode_skim(desk.token("USDC")))
    desk.liquidator.allow_operator(builder)
    chain.rpc("anvil_setCoinbase", builder)
    desk.run(desk.plan(native=True, tip_wei=1), value_wei=1)
    assert answered(desk, builder) == "no reason given"

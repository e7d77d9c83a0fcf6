"""What each may do with the Liquidator: strangers nothing, a stolen operator key no harm, the owner everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.abis import contract
from keeper.devnet.abi import encode_call, selector, signature_of
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.devnet.liquidator import artifact
from keeper.executor.liquidator_calls import NATIVE, Plan, Step, Watch, encode_execute, encode_steps
from tests.support import rogues
from tests.support.liquidations import EXACT_INPUT_SINGLE, NEVER, Desk, account, raw

REPAY = 7_000 * 10**6
STOCK = 10**12
ALLOW_CALL = "allow_call(address,bytes4,bool)"


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    """With stock of its own in two tokens, ether, and wrapped ether, all of it backed."""
    desk = Desk.opened(shared_chain)
    for symbol in ("USDC", "WETH", "WBTC"):
        shared_chain.fund(desk.liquidator.address, symbol, STOCK)
    desk.wrap(10**18)
    shared_chain.client.send_ether(desk.owner, desk.liquidator.address, STOCK)
    return desk


@pytest.fixture
def thief(desk: Desk) -> str:
    return desk.chain.make_account(666)


# --- strangers --------------------------------------------------------------------------------------------------------

ABI = contract("keeper", "Liquidator")["abi"]
ENTRIES = {entry["name"]: entry for entry in ABI if entry["type"] == "function" and entry["stateMutability"] != "view"}
CALLBACKS = {
    "executeOperation",
    "onMorphoFlashLoan",
    "onMorphoLiquidate",
    "receiveFlashLoan",
    "uniswapV3FlashCallback",
    "uniswapV3SwapCallback",
}
REFUSALS = {
    "execute": "not an operator",
    "execute_each": "not an operator",
    "skim": "not an operator",
    "run": "not us",
    "rescue": "not the owner",
    "allow_call": "not the owner",
    "allow_spender": "not the owner",
    "allow_operator": "not the owner",
    "offer_ownership": "not the owner",
    "accept_ownership": "not the heir",
    **dict.fromkeys(CALLBACKS, "nobody we called"),
}


def plausible(kind: str, who: str, desk: Desk) -> Any:
    """An argument of an ABI type."""
    if kind.endswith("[]"):
        return [plausible(kind[:-2], who, desk)]
    values = {"address": who, "bytes": encode_steps(()), "bytes4": b"abcd", "bool": True, "uint256": 1, "int256": 1}
    return values[kind]


def call_data(name: str, who: str, desk: Desk) -> bytes:
    steps = (desk.liquidate(desk.chain.accounts[3], REPAY),)
    if name == "execute":
        return encode_execute(desk.plan(*steps))
    signature = signature_of(ENTRIES[name])
    if name == "run":
        return selector(signature) + encode_steps(steps)
    kinds = [field["type"] for field in ENTRIES[name]["inputs"]]
    initiator = desk.liquidator.address if name == "executeOperation" else who
    return encode_call(signature, [plausible(kind, initiator, desk) for kind in kinds])


@pytest.mark.parametrize("name", ENTRIES)
def test_a_stranger_can_do_nothing(desk: Desk, thief: str, name: str):
    """Every function that changes anything says why it does not."""
    with pytest.raises(Reverted, match=REFUSALS[name]):
        desk.chain.client.send_data(thief, desk.liquidator.address, call_data(name, thief, desk), name)


@pytest.mark.parametrize("name", [name for name, refusal in REFUSALS.items() if refusal == "not the owner"])
def test_an_operator_configures_nothing(desk: Desk, name: str):
    with pytest.raises(Reverted, match="not the owner"):
        data = call_data(name, desk.operator, desk)
        desk.chain.client.send_data(desk.operator, desk.liquidator.address, data, name)


def test_there_is_no_other_function(desk: Desk, thief: str):
    """A callback that a later protocol may make is refused until there is code for it; plain ether is welcome."""
    with pytest.raises(Reverted, match="no such function"):
        desk.chain.send(thief, desk.liquidator.address, "pancakeV3FlashCallback(uint256,uint256,bytes)", 0, 0, b"")
    desk.chain.client.send_ether(thief, desk.liquidator.address, 1)
    assert desk.ether(desk.liquidator.address) == STOCK + 1


def test_an_operator_that_was_dismissed_runs_no_plans(desk: Desk):
    desk.chain.send(desk.owner, desk.liquidator.address, "allow_operator(address,bool)", desk.operator, False)
    with pytest.raises(Reverted, match="not an operator"):
        desk.run(desk.plan())


# --- a stolen operator key --------------------------------------------------------------------------------------------


def sale_to(desk: Desk, thief: str, wei: int, **changes: Any) -> Step:
    """Sells the contract's ether, and lets the thief have the proceeds."""
    weth, usdc = desk.token("WETH"), desk.token("USDC")
    data = encode_call(EXACT_INPUT_SINGLE, ((weth, usdc, 3000, thief, NEVER, wei, 0, 0),))
    router = raw(desk.chain.uniswap.router)
    return Step(router, data, **{"token": weth, "amount": wei, "spender": router, **changes})


def refused(desk: Desk, plan: Plan, reason: str) -> None:
    with pytest.raises(Reverted, match=reason):
        desk.run(plan)


def test_stock_cannot_be_sold_for_somebody_else(desk: Desk, thief: str):
    refused(desk, desk.plan(sale_to(desk, thief, STOCK)), "gained too little")


def test_a_token_that_is_not_watched_cannot_be_approved(desk: Desk, thief: str):
    plan = Plan((Watch(desk.token("USDC")),), (sale_to(desk, thief, STOCK),))
    refused(desk, plan, "token not watched")


def test_a_sale_without_an_approval_sells_nothing(desk: Desk, thief: str):
    """A spender left out is no approval, so that the router cannot take what is not watched."""
    step = sale_to(desk, thief, STOCK, token=bytes(20), amount=0, spender=bytes(20))
    refused(desk, Plan((Watch(desk.token("USDC")),), (step,)), "STF")


def test_only_the_target_or_an_allowed_spender_is_approved(desk: Desk, thief: str):
    refused(desk, desk.plan(sale_to(desk, thief, STOCK, spender=raw(thief))), "spender not allowed")
    desk.liquidator.allow_spender(thief)
    refused(desk, desk.plan(sale_to(desk, thief, STOCK, spender=raw(thief))), "STF")


@pytest.mark.parametrize("signature", ["transfer(address,uint256)", "approve(address,uint256)", "withdraw(uint256)"])
def test_tokens_are_not_called(desk: Desk, thief: str, signature: str):
    arguments = (thief, STOCK) if "address" in signature else (STOCK,)
    step = Step(desk.token("WETH"), encode_call(signature, arguments))
    refused(desk, desk.plan(step), "call not allowed")


def test_a_protocol_is_only_called_as_allowed(desk: Desk, thief: str):
    """The pool may liquidate and lend, but not hand out what the contract supplied to it."""
    withdrawal = encode_call("withdraw(address,uint256,address)", (desk.token("WETH"), STOCK, thief))
    refused(desk, desk.plan(Step(raw(desk.chain.aave.pool), withdrawal)), "call not allowed")


def test_a_call_needs_a_selector_of_its_own(desk: Desk):
    """A step of fewer than four bytes would borrow its selector from the next step's call."""
    data = desk.liquidate(desk.chain.accounts[3], REPAY).data
    pool = raw(desk.chain.aave.pool)
    refused(desk, desk.plan(Step(pool, data[:3]), Step(pool, data[3:])), "no selector")


def test_the_contract_does_not_call_itself(desk: Desk):
    step = Step(desk.address, encode_call("skim(address)", (desk.token("USDC"),)))
    refused(desk, desk.plan(step), "call not allowed")


@pytest.mark.parametrize("symbol", ["USDC", "WETH"])
def test_only_the_owner_spends_stock(desk: Desk, symbol: str):
    """To pay with its own money and keep the collateral is the owner's choice, with a limit."""
    (borrower,) = desk.under_water()
    plan = Plan(
        (Watch(desk.token("WETH"), least_gain=1), Watch(desk.token("USDC"), least_gain=-REPAY)),
        (desk.liquidate(borrower, REPAY),),
    )
    refused(desk, plan, "only the owner may spend")
    short = replace(plan, watches=(plan.watches[0], Watch(desk.token("USDC"), least_gain=1 - REPAY)))
    with pytest.raises(Reverted, match="gained too little"):
        desk.run(short, sender=desk.owner)
    said = account(desk, desk.run(plan, sender=desk.owner))
    assert said.executed.gain == said.seized == desk.holds("WETH") - STOCK
    assert desk.holds("USDC") == STOCK - REPAY


def test_ether_and_wrapped_ether_leave_only_if_gained(desk: Desk):
    """Value sent to a target, like a tip, comes out of what the plan gained; otherwise a watch stops it."""
    taker = rogues.deploy(desk.chain.client, desk.owner, "rogue_lender")
    desk.liquidator.allow_call(taker, "keep()")
    keep = Step(raw(taker), encode_call("keep()", ()), value_wei=STOCK)
    refused(desk, desk.plan(keep), "token not watched")
    refused(desk, desk.plan(keep, native=True), "gained too little")
    refused(desk, Plan((Watch(NATIVE),), (keep,)), "wrapped coin not watched")
    refused(desk, Plan((Watch(NATIVE),), (), tip_wei=1), "wrapped coin not watched")
    refused(desk, desk.plan(tip_wei=1, native=True), "gained too little")
    desk.run(Plan((Watch(NATIVE),), (keep,)), value_wei=STOCK)
    assert desk.ether(taker) == desk.ether(desk.liquidator.address) == STOCK


def test_a_token_is_watched_once_and_something_is(desk: Desk):
    """Twice would let the second look begin after the first; nothing would leave nothing to announce."""
    refused(desk, Plan((Watch(desk.token("USDC")), Watch(desk.token("USDC"))), ()), "token watched twice")
    empty = encode_call(signature_of(ENTRIES["execute"]), ([], 0, [], b""))
    with pytest.raises(Reverted, match="nothing watched"):
        desk.chain.client.send_data(desk.operator, desk.liquidator.address, empty, "execute")


def test_what_one_plan_watched_the_next_does_not(desk: Desk, thief: str):
    """Two plans in one transaction share its transient storage."""
    caller = rogues.deploy(desk.chain.client, desk.owner, "two_plans")
    desk.liquidator.allow_operator(caller)
    harmless = desk.plan()
    theft = Plan((Watch(desk.token("USDC")),), (sale_to(desk, thief, STOCK),))
    signature = "run(address,bytes,bytes)"
    args = (desk.liquidator.address, encode_execute(harmless), encode_execute(harmless))
    desk.chain.send(desk.owner, caller, signature, *args)
    with pytest.raises(Reverted, match="token not watched"):
        desk.chain.send(desk.owner, caller, signature, *args[:2], encode_execute(theft))


# --- the owner --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "operator"])
def test_everything_can_be_sent_home(desk: Desk, who: str):
    """Whoever asks for it, it goes to the owner."""
    sender = getattr(desk, who)
    for symbol in ("USDC", "WETH", "WBTC"):
        before = desk.chain.balance(desk.owner, symbol)
        desk.liquidator.skim(sender, desk.token(symbol))
        assert (desk.holds(symbol), desk.chain.balance(desk.owner, symbol) - before) == (0, STOCK)
    heir = desk.chain.make_account(5)
    desk.chain.send(desk.owner, desk.liquidator.address, "offer_ownership(address)", heir)
    desk.chain.send(heir, desk.liquidator.address, "accept_ownership()")
    before = desk.ether(heir)
    desk.liquidator.skim(desk.operator, NATIVE)
    assert (desk.ether(desk.liquidator.address), desk.ether(heir) - before) == (0, STOCK)


def test_the_owner_can_call_anything(desk: Desk):
    """What skim does not know, like a position in a protocol, is rescued by calling the protocol."""
    chain = desk.chain
    chain.aave.supply(desk.owner, "WBTC", 10**8, on_behalf_of=desk.liquidator.address)
    call = encode_call("withdraw(address,uint256,address)", (desk.token("WBTC"), 10**8, desk.owner))
    rescue = "rescue(address,bytes,uint256)"
    before = chain.balance(desk.owner, "WBTC")
    chain.send(desk.owner, desk.liquidator.address, rescue, chain.aave.pool, call, 0)
    assert chain.balance(desk.owner, "WBTC") - before == 10**8
    stranger = chain.make_account(6, 0)
    chain.send(desk.owner, desk.liquidator.address, rescue, stranger, b"", STOCK)
    assert chain.call(desk.liquidator.address, "owner()(address)") == desk.owner
    assert desk.ether(stranger) == STOCK
    rogue = rogues.deploy(chain.client, desk.owner, "rogue_lender")
    with pytest.raises(Reverted, match=r"Error\('no'\)"):
        chain.send(desk.owner, desk.liquidator.address, rescue, rogue, encode_call("refuse()", ()), 0)


def test_ownership_changes_hands_when_the_heir_takes_it(desk: Desk, thief: str):
    """Offered to a wrong address, it stays where it is; taken, the old owner is a stranger."""
    chain, here = desk.chain, desk.liquidator.address
    chain.send(desk.owner, here, "offer_ownership(address)", thief)
    chain.send(desk.owner, here, "offer_ownership(address)", "0x" + "00" * 20)
    with pytest.raises(Reverted, match="not the heir"):
        chain.send(thief, here, "accept_ownership()")
    heir = chain.make_account(5)
    chain.send(desk.owner, here, "offer_ownership(address)", heir)
    assert chain.call(here, "owner()(address)") == desk.owner
    chain.send(heir, here, "accept_ownership()")
    assert chain.call(here, "owner()(address)") == heir
    with pytest.raises(Reverted, match="not the heir"):
        chain.send(heir, here, "accept_ownership()")
    with pytest.raises(Reverted, match="not the owner"):
        chain.send(desk.owner, here, "offer_ownership(address)", desk.owner)
    with pytest.raises(Reverted, match="not an operator"):
        desk.run(desk.plan(), sender=desk.owner)


@pytest.mark.parametrize(
    "signature",
    [
        "transfer(address,uint256)",
        "transferFrom(address,address,uint256)",
        "approve(address,uint256)",
        "withdraw(uint256)",
    ],
)
def test_what_takes_without_an_approval_cannot_be_allowed(desk: Desk, signature: str):
    """The owner's slip of naming a token as a target would open every balance to the operator's key."""
    with pytest.raises(Reverted, match="takes without approval"):
        desk.liquidator.allow_call(desk.chain.tokens["WETH"].address, signature)


def test_only_contracts_and_only_others_can_be_allowed(desk: Desk):
    """A call to an address without code succeeds and does nothing; it can still be disallowed."""
    nobody = desk.chain.make_account(8)
    with pytest.raises(Reverted, match="no contract there"):
        desk.liquidator.allow_call(nobody, "anything()")
    desk.chain.send(desk.owner, desk.liquidator.address, ALLOW_CALL, nobody, b"abcd", False)
    with pytest.raises(Reverted, match="not ourselves"):
        desk.liquidator.allow_call(desk.liquidator.address, "skim(address)")


def test_an_allowance_ends_when_the_owner_says_so(desk: Desk):
    (borrower,) = desk.under_water()
    plan = desk.plan(*desk.funded("morpho", REPAY, desk.liquidate(borrower, REPAY), desk.sell()))
    args = (desk.chain.aave.pool, selector("liquidationCall(address,address,address,uint256,bool)"), False)
    desk.chain.send(desk.owner, desk.liquidator.address, ALLOW_CALL, *args)
    refused(desk, plan, "call not allowed")


def test_the_owner_is_who_was_named_not_who_deployed(desk: Desk):
    """So that any account may deploy it for a cold one."""
    named = desk.chain.make_account(9)
    address = desk.chain.client.deploy(desk.operator, artifact(), (named, desk.chain.tokens["WETH"].address))
    assert desk.chain.call(address, "owner()(address)") == named
    assert desk.chain.call(address, "WRAPPED_NATIVE()(address)") == desk.chain.tokens["WETH"].address


def test_nobody_is_no_owner(desk: Desk):
    with pytest.raises(Reverted, match="no owner"):
        args = ("0x" + "00" * 20, desk.chain.tokens["WETH"].address)
        desk.chain.client.deploy(desk.owner, artifact(), args)

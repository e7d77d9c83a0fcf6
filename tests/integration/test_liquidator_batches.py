"""Several plans in one transaction of the Liquidator: each stands and falls by itself, and all of it is cheaper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.core.types import Log
from keeper.devnet.abi import selector
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.devnet.errors import Reverted
from keeper.executor.liquidator_calls import (
    EXECUTE,
    EXECUTE_EACH,
    MAX_PLANS,
    Plan,
    Step,
    Watch,
    decode_execute_each,
    encode_execute,
    encode_execute_each,
    read_executed,
    split_logs,
)
from tests.support import rogues
from tests.support.liquidations import LOANS, Desk, raw

REPAY = 7_000 * 10**6


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    return Desk.opened(shared_chain)


def plan(desk: Desk, borrower: str, source: str = "morpho", **demands: int) -> Plan:
    return desk.plan(*desk.funded(source, REPAY, desk.liquidate(borrower, REPAY), desk.sell()), **demands)


def test_each_plan_gains_as_it_would_alone_and_together_they_cost_less_gas(desk: Desk):
    """From every lender; what each announces adds up to what is held."""
    borrowers = desk.under_water(4)
    plans = [plan(desk, who, source) for who, source in zip(borrowers, LOANS, strict=True)]
    with desk.chain.rewound():
        alone = [desk.run(one) for one in plans]
        gains, spent = desk.holds("USDC"), sum(receipt.gas_used for receipt in alone)
    receipt = desk.run_each(*plans)
    assert desk.holds("USDC") == gains > 0
    said = [read_executed(log) for log in _logs(receipt)]
    assert sum(one.gain for one in said if one is not None) == gains
    assert len([one for one in said if one is not None]) == 4
    assert receipt.gas_used < spent - 3 * 21_000


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_one_that_dies_takes_no_other_down_and_says_why(desk: Desk, dead: int):
    """Its position is liquidated by somebody else first; whichever it is, the others gain what they would."""
    borrowers = desk.under_water(3)
    plans = [plan(desk, who) for who in borrowers]
    desk.chain.aave.repay(borrowers[dead], "USDC")
    with desk.chain.rewound():
        for index, one in enumerate(plans):
            if index != dead:
                desk.run(one)
        gains = desk.holds("USDC")
    receipt = desk.run_each(*plans)
    assert desk.holds("USDC") == gains > 0
    parts = split_logs(_logs(receipt), desk.address)
    assert [reason is not None for reason, _ in parts] == [index == dead for index in range(3)]
    assert {len(logs) > 0 for reason, logs in parts if reason is None} == {True}
    assert (
        desk.chain.call(
            desk.chain.tokens["USDC"].address,
            "allowance(address,address)(uint256)",
            desk.liquidator.address,
            desk.chain.aave.pool,
        )
        == 0
    )


def test_a_plan_that_gains_less_than_it_demands_is_undone_alone(desk: Desk):
    first, second = desk.under_water(2)
    receipt = desk.run_each(plan(desk, first, least_gain=10**12), plan(desk, second))
    reasons = [reason for reason, _ in split_logs(_logs(receipt), desk.address)]
    assert b"gained too little" in (reasons[0] or b"")
    assert reasons[1] is None
    assert desk.chain.aave.health(first) < 10**18


def test_when_all_die_it_reverts_like_the_first(desk: Desk):
    borrowers = desk.under_water(2)
    plans = [plan(desk, who, least_gain=10**12) for who in borrowers]
    with pytest.raises(Reverted, match="gained too little"):
        desk.run_each(*plans)
    with pytest.raises(Reverted):
        desk.liquidator.client.send_data(desk.operator, desk.liquidator.address, _nothing(), "execute_each")


def test_only_operators_run_batches_and_nobody_spends_in_one(desk: Desk):
    """A plan in a batch is the contract's own call: it has an operator's rights, never the owner's."""
    (borrower,) = desk.under_water()
    with pytest.raises(Reverted, match="not an operator"):
        desk.run_each(plan(desk, borrower), sender=desk.chain.accounts[9])
    spending = replace(plan(desk, borrower), watches=(Watch(desk.token("USDC"), -1), Watch(desk.token("WETH"))))
    for sender in (desk.owner, desk.operator):
        with pytest.raises(Reverted, match="only the owner may spend"):
            desk.run_each(spending, sender=sender)


def test_nothing_but_plans_can_be_run(desk: Desk):
    """What is given is always the arguments of a plan: the steps of a callback, which only the contract itself may run,
    are no such thing."""
    (borrower,) = desk.under_water()
    good = encode_execute(plan(desk, borrower))
    with pytest.raises(ValueError, match="only plans"):
        encode_execute_each([b"\x12\x34\x56\x78" + good[4:]])
    with pytest.raises(ValueError, match="takes 1 to"):
        encode_execute_each([good] * (MAX_PLANS + 1))
    assert decode_execute_each(encode_execute_each([good, good])) == (good, good)
    assert good[:4] == EXECUTE


def test_a_running_plan_cannot_begin_a_batch(desk: Desk):
    """Not even a target that is an operator itself: every plan is locked while one runs."""
    (borrower,) = desk.under_water()
    chain, owner = desk.chain, desk.owner
    rogue = rogues.deploy(chain.client, owner, "rogue_token")
    desk.liquidator.allow_operator(rogue)
    desk.liquidator.allow_call(rogue, "anything()")
    weapon = encode_execute_each([encode_execute(plan(desk, borrower))])
    chain.client.send(owner, rogue, "aim(address,bytes)", desk.liquidator.address, weapon, gas=5_000_000)
    anything = Step(raw(rogue), selector("anything()"))
    with chain.rewound():
        chain.send(owner, rogue, "anything()")  # by itself, its plan is as good as any
        assert desk.holds("USDC") > 0
    desk.run(desk.plan(anything))
    assert (chain.call(rogue, "called()(bool)"), chain.call(rogue, "succeeded()(bool)")) == (True, False)
    assert desk.holds("USDC") == 0
    assert chain.aave.health(borrower) < 10**18


def _nothing() -> bytes:
    """A batch of no plans."""
    return EXECUTE_EACH + (32).to_bytes(32, "big") + bytes(32)


def _logs(receipt: Receipt) -> list[Log]:
    return [Log(log["address"], tuple(log["topics"]), log["data"]) for log in receipt.logs]

"""Plans of the Liquidator contract survive encoding, and fit what was compiled."""

from __future__ import annotations

from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.abis import contract
from keeper.core.errors import DecodeError
from keeper.core.types import Log
from keeper.devnet.abi import signature_of
from keeper.executor import liquidator_calls as calls
from keeper.executor.liquidator_calls import Plan, Step, Watch

ABI = contract("keeper", "Liquidator")["abi"]
USDC, WETH, POOL, LENDER, US = (bytes([i]) * 20 for i in range(1, 6))

addresses = st.binary(min_size=20, max_size=20)
amounts = st.integers(0, 2**256 - 1)
fixed_steps = st.builds(
    Step,
    target=addresses,
    data=st.binary(min_size=4, max_size=200),
    token=addresses,
    amount=amounts,
    spender=addresses,
    bought=addresses,
    least_bought=amounts,
    callback=st.binary(min_size=32, max_size=32),
    value_wei=amounts,
    optional=st.booleans(),
)


@st.composite
def filled_steps(draw: st.DrawFn) -> Step:
    """A step whose call has a zero word for the contract to fill in."""
    head, tail = draw(st.binary(min_size=4, max_size=100)), draw(st.binary(max_size=100))
    return Step(draw(addresses), head + bytes(32) + tail, draw(addresses), draw(amounts), amount_at=len(head))


steps = st.one_of(fixed_steps, filled_steps())
plans = st.builds(
    Plan,
    watches=st.lists(
        st.builds(Watch, addresses, st.integers(-(2**255), 2**255 - 1)), min_size=1, max_size=calls.MAX_WATCHES
    ).map(tuple),
    steps=st.lists(steps, max_size=6).map(tuple),
    tip_wei=amounts,
)


def signature(name: str, kind: str = "function") -> str:
    (entry,) = [entry for entry in ABI if entry["type"] == kind and entry["name"] == name]
    return signature_of(entry)


@given(plans)
def test_a_plan_is_read_as_it_was_written(plan: Plan):
    assert calls.decode_execute(calls.encode_execute(plan)) == plan


@given(st.lists(steps, max_size=4).map(tuple))
def test_inner_steps_are_read_as_they_were_written(inner: tuple[Step, ...]):
    """What a lender gives back is what it was given."""
    assert calls.decode_steps(calls.encode_steps(inner)) == inner


@pytest.mark.parametrize(("name", "selector"), [("execute", calls.EXECUTE), ("skim", calls.SKIM)])
def test_selectors_are_those_of_the_compiled_contract(name: str, selector: bytes):
    assert selector == keccak(signature(name).encode())[:4]


@pytest.mark.parametrize(("name", "topic"), [("Executed", calls.EXECUTED), ("StepFailed", calls.STEP_FAILED)])
def test_topics_are_those_of_the_compiled_contract(name: str, topic: str):
    assert topic == "0x" + keccak(signature(name, "event").encode()).hex()


@pytest.mark.parametrize(
    ("selector", "function"),
    [
        (calls.AAVE_LOAN, "flashLoanSimple(address,address,uint256,bytes,uint16)"),
        (calls.MORPHO_LOAN, "flashLoan(address,uint256,bytes)"),
        (calls.BALANCER_LOAN, "flashLoan(address,address[],uint256[],bytes)"),
        (calls.UNISWAP_LOAN, "flash(address,uint256,uint256,bytes)"),
        (calls.UNISWAP_SWAP, "swap(address,bool,int256,uint160,bytes)"),
    ],
)
def test_lenders_are_called_by_their_own_functions(selector: bytes, function: str):
    assert selector == keccak(function.encode())[:4]


@pytest.mark.parametrize(
    "loan",
    [
        lambda inner: calls.aave_loan(US, LENDER, USDC, 7, inner),
        lambda inner: calls.morpho_loan(LENDER, USDC, 7, inner),
        lambda inner: calls.balancer_loan(US, LENDER, USDC, 7, inner),
        lambda inner: calls.uniswap_loan(US, LENDER, USDC, 7, WETH, inner),
        lambda inner: calls.uniswap_flash_swap(US, LENDER, WETH, USDC, 7, inner),
    ],
)
def test_a_loan_announces_the_very_steps_it_hands_over(loan: Any):
    """Otherwise the contract would refuse the lender's callback."""
    inner = (Step(POOL, b"call", token=USDC, amount=7, spender=POOL),)
    step = loan(inner)
    assert step.callback == calls.callback_of(inner)
    assert calls.encode_steps(inner) in step.data
    assert step.target == LENDER


def test_uniswap_lends_the_token_that_was_asked_for():
    """Its first amount is of the token with the smaller address."""
    lower, upper = sorted((USDC, WETH))
    first = calls.uniswap_loan(US, LENDER, lower, 7, upper, ()).data[4:]
    second = calls.uniswap_loan(US, LENDER, upper, 7, lower, ()).data[4:]
    assert [int.from_bytes(first[i : i + 32], "big") for i in (32, 64)] == [7, 0]
    assert [int.from_bytes(second[i : i + 32], "big") for i in (32, 64)] == [0, 7]


def test_what_the_contract_would_refuse_is_refused_before():
    """Each bound is the contract's; the message says it and what to do."""
    step = Step(POOL, b"call")
    with pytest.raises(ValueError, match=r"17 steps in one list; the contract takes 16: .*another loan"):
        calls.encode_steps([step] * 17)
    with pytest.raises(ValueError, match=r"0 watched tokens; the contract takes 1 to 8"):
        calls.encode_execute(Plan((), (step,)))
    with pytest.raises(ValueError, match=r"9 watched tokens"):
        calls.encode_execute(Plan(tuple(Watch(bytes([i]) * 20) for i in range(9)), (step,)))
    with pytest.raises(ValueError, match=r"5000 bytes of calls in one list; the contract takes 4096"):
        calls.encode_execute(Plan((Watch(USDC),), (Step(POOL, bytes(5000)),)))
    with pytest.raises(ValueError, match=r"\d+ bytes of inner steps; the contract takes 4096: use another loan"):
        calls.encode_steps([Step(POOL, bytes(3600))])
    with pytest.raises(ValueError, match=r"no word at byte 5 of 36 bytes"):
        calls.encode_execute(Plan((Watch(USDC),), (Step(POOL, bytes(36), amount_at=5),)))


def test_other_data_is_not_a_plan():
    good = calls.encode_execute(Plan((Watch(USDC),), (Step(POOL, b"call"),)))
    with pytest.raises(DecodeError, match=r"selector 0x00000000 is not the Liquidator's execute"):
        calls.decode_execute(bytes(4) + good[4:])
    with pytest.raises(DecodeError, match=r"does not decode"):
        calls.decode_execute(good[:-64])


def test_an_executed_event_tells_gain_and_tip():
    gain, tip = -5, 7
    topic = "0x" + USDC.rjust(32, b"\0").hex()
    data = "0x" + gain.to_bytes(32, "big", signed=True).hex() + tip.to_bytes(32, "big").hex()
    log = Log("0x" + US.hex(), (calls.EXECUTED, topic), data)
    assert calls.read_executed(log) == calls.Executed(USDC, gain, tip)
    assert calls.read_executed(Log("0x" + US.hex(), (calls.STEP_FAILED, topic), data)) is None


@pytest.mark.parametrize("data", ["0x", "0x" + "00" * 32, "0x" + "00" * 31 + "01" + "ff" * 64])
def test_a_plan_that_failed_in_unreadable_words_failed_without_a_reason(data: str):
    failed = Log("0x" + US.hex(), (calls.PLAN_FAILED, "0x" + bytes(32).hex()), data)
    assert calls.split_logs([failed], US) == [(b"", [])]


def test_skim_names_the_token():
    assert calls.encode_skim(USDC) == calls.SKIM + bytes(12) + USDC

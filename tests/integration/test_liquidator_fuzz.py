"""Whatever a stolen operator key or a stranger sends, nothing that the Liquidator or its owner has grows less.

Plans are made of calls that the owner allows, with arguments that serve a thief: proceeds and loans to an address of
his, amounts from nothing to everything, loans in loans, tips, and words that mean nothing. There is stock of each
token, and a position worth liquidating: half of the plans are a liquidation that pays, with a theft slipped in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from keeper.abis import contract
from keeper.devnet.abi import encode_call, selector, signature_of
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError, Reverted
from keeper.executor.liquidator_calls import (
    EVERYTHING,
    NATIVE,
    NOBODY,
    Plan,
    Step,
    Watch,
    callback_of,
    encode_execute,
    encode_steps,
)
from tests.support import rogues
from tests.support.liquidations import EXACT_INPUT_SINGLE, LOANS, NEVER, Desk, raw

REPAY = 7_000 * 10**6
STOCK = 10**12
SYMBOLS = ("USDC", "WETH", "WBTC", "DAI")
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def desk(shared_chain: DevChain) -> Desk:
    desk = Desk.opened(shared_chain)
    for symbol in SYMBOLS:
        shared_chain.fund(desk.liquidator.address, symbol, STOCK)
    desk.wrap(10**18)
    shared_chain.client.send_ether(desk.owner, desk.liquidator.address, STOCK)
    taker = rogues.deploy(shared_chain.client, desk.owner, "rogue_lender")
    desk.liquidator.allow_call(taker, "keep()", "take(address,uint256)", "give(address,uint256)")
    for symbol in SYMBOLS:
        shared_chain.fund(taker, symbol, STOCK)
    desk.others["taker"] = taker
    desk.others["thief"] = shared_chain.make_account(666)
    desk.under_water()
    return desk


def wealth(desk: Desk) -> dict[str, int]:
    """What the contract and its owner have, by token; the owner sends nothing here, so pays no gas."""
    both = (desk.owner, desk.liquidator.address)
    found = {symbol: sum(desk.chain.balance(who, symbol) for who in both) for symbol in SYMBOLS}
    return {**found, "ether": sum(desk.ether(who) for who in both)}


def approvals(desk: Desk) -> set[int]:
    chain = desk.chain
    spenders = [
        chain.aave.pool,
        chain.uniswap.router,
        chain.morpho.address,
        chain.balancer.vault,
        *desk.others.values(),
    ]
    signature = "allowance(address,address)(uint256)"
    return {
        chain.call(chain.tokens[symbol].address, signature, desk.liquidator.address, spender)
        for symbol in SYMBOLS
        for spender in spenders
    }


amounts = st.one_of(
    st.sampled_from([0, 1, STOCK, STOCK + 1, REPAY, 2 * REPAY, EVERYTHING]),
    st.integers(0, 10**20),
    st.integers(0, 2**256 - 1),
)
symbols = st.sampled_from(SYMBOLS)
someone = st.sampled_from(["us", "thief", "taker", "router", "pool", "nobody"])


def address_of(desk: Desk, name: str) -> bytes:
    chain = desk.chain
    return {
        "us": desk.address,
        "router": raw(chain.uniswap.router),
        "pool": raw(chain.aave.pool),
        "nobody": NOBODY,
        **{other: raw(address) for other, address in desk.others.items()},
    }[name]


@st.composite
def calls(draw: st.DrawFn, desk: Desk) -> Step:
    """One allowed call, or one that is not, with a thief's arguments."""
    token, other, amount = draw(symbols), draw(symbols), draw(amounts)
    taker, router = raw(desk.others["taker"]), raw(desk.chain.uniswap.router)
    kind = draw(st.sampled_from(["liquidate", "sell", "steal", "take", "give", "keep", "transfer", "noise"]))
    event(f"call: {kind}")
    if kind == "liquidate":
        step = desk.liquidate(desk.chain.accounts[3], draw(st.sampled_from([REPAY, REPAY // 3, 2 * REPAY])))
    elif kind == "sell":
        step = desk.sell(least_bought=0)
    elif kind == "steal":
        receiver = address_of(desk, draw(someone))
        order = (desk.token(token), desk.token(other), 3000, receiver, NEVER, min(amount, 2**255), 0, 0)
        at = draw(st.sampled_from([None, 4 + 5 * 32]))
        step = Step(router, encode_call(EXACT_INPUT_SINGLE, (order,)), desk.token(token), amount, router, at)
    elif kind == "take":
        data = encode_call("take(address,uint256)", (desk.token(token), amount))
        step = Step(taker, data, desk.token(token), amount, taker, draw(st.sampled_from([None, 36])))
    elif kind == "give":
        step = Step(taker, encode_call("give(address,uint256)", (desk.token(token), min(amount, STOCK))))
    elif kind == "keep":
        step = Step(taker, encode_call("keep()", ()), value_wei=draw(st.sampled_from([0, 1, STOCK, 10**16])))
    elif kind == "transfer":
        data = encode_call("transfer(address,uint256)", (desk.others["thief"], STOCK))
        step = Step(desk.token(token), data)
    else:
        step = Step(address_of(desk, draw(someone)), draw(st.binary(min_size=4, max_size=80)))
    if draw(st.integers(0, 4)) == 0:
        step = replace(step, spender=address_of(desk, draw(someone)))
    if draw(st.integers(0, 6)) == 0:
        step = replace(step, callback=callback_of(()), token=desk.token(token), amount=amount)
    return replace(step, optional=draw(st.booleans()))


@st.composite
def steps(draw: st.DrawFn, desk: Desk, depth: int = 2) -> tuple[Step, ...]:
    found: list[Step] = []
    for _ in range(draw(st.integers(0, 3))):
        if depth and draw(st.booleans()):
            source, amount = draw(st.sampled_from(LOANS)), draw(st.sampled_from([1, REPAY]))
            event(f"loan: {source}")
            (loan,) = desk.funded(source, amount, *draw(steps(desk, depth - 1).filter(fits_in_a_loan)))
            found.append(replace(loan, optional=draw(st.booleans())))
        else:
            found.append(draw(calls(desk)))
    return tuple(found)


@st.composite
def liquidations(draw: st.DrawFn, desk: Desk) -> tuple[Step, ...]:
    """One that pays, from any lender, with another call before, within or after it."""
    borrower, source = desk.chain.accounts[3], draw(st.sampled_from(LOANS))
    places: list[list[Step]] = [[], [], [], [], []]
    if draw(st.booleans()):
        places[draw(st.integers(0, 4))].append(draw(calls(desk)))
    before, first, second, third, after = places
    inner = (*first, desk.liquidate(borrower, REPAY), *second, desk.sell(least_bought=0), *third)
    return (*before, *desk.funded(source, REPAY, *inner), *after)


@st.composite
def plans(draw: st.DrawFn, desk: Desk) -> Plan:
    """Mostly watching what they touch, and content with what they gain."""
    tokens = [desk.token(symbol) for symbol in SYMBOLS] + [NATIVE]
    few = st.lists(st.sampled_from(tokens), min_size=1, max_size=5, unique=True)
    watched = draw(st.one_of(st.just(tokens), few))
    least = draw(st.sampled_from([0, 0, 0, 10**9]))
    tip = draw(st.sampled_from([0, 0, 0, 1, STOCK]))
    chosen = draw(st.one_of(steps(desk), liquidations(desk)))
    return Plan(tuple(Watch(token, least) for token in watched), chosen, tip)


@FUZZ
@given(data=st.data())
def test_no_plan_of_an_operator_costs_the_owner_anything(desk: Desk, data: st.DataObject):
    """Each token by itself: what is watched must not fall, and what is not cannot leave. Alone, or with others in one
    transaction."""
    chain = desk.chain
    fitting = plans(desk).filter(fits)
    plan, others = data.draw(fitting), data.draw(st.one_of(st.just([]), st.lists(fitting, max_size=2)))
    with chain.rewound():
        before = wealth(desk)
        try:
            if others:
                desk.run_each(plan, *others)
            else:
                desk.run(plan)
            event("succeeded together" if others else "succeeded")
        except Reverted as refusal:
            event(f"refused: {refusal.reason[:40]}")
        after = wealth(desk)
        assert all(after[token] >= before[token] for token in before), (before, after)
        assert approvals(desk) == {0}
        assert chain.call(desk.liquidator.address, "owner()(address)") == desk.owner


ENTRIES = [
    entry
    for entry in contract("keeper", "Liquidator")["abi"]
    if entry["type"] == "function" and entry["stateMutability"] != "view"
]


def arguments(desk: Desk, kinds: Sequence[str]) -> st.SearchStrategy[tuple[object, ...]]:
    """Values of ABI types, many of them meaningful."""
    named = [desk.address, raw(desk.owner), raw(desk.others["thief"]), desk.token("USDC"), NOBODY]
    encoded = encode_steps((desk.liquidate(desk.chain.accounts[3], REPAY),))
    values: dict[str, st.SearchStrategy[object]] = {
        "address": st.sampled_from(named),
        "uint256": st.one_of(st.sampled_from([0, 1, STOCK]), st.integers(0, 2**256 - 1)),
        "int256": st.integers(-(2**255), 2**255 - 1),
        "bool": st.booleans(),
        "bytes4": st.binary(min_size=4, max_size=4),
        "bytes": st.one_of(st.just(encoded), st.just(encode_steps(())), st.binary(max_size=100)),
    }
    return st.tuples(
        *(st.lists(values[kind[:-2]], max_size=2) if kind.endswith("[]") else values[kind] for kind in kinds)
    )


@FUZZ
@given(data=st.data())
def test_no_call_of_a_stranger_changes_anything(desk: Desk, data: st.DataObject):
    """Any function with any arguments, or any bytes: neither money nor rights move, and it is refused."""
    chain, thief = desk.chain, desk.others["thief"]
    entry = data.draw(st.sampled_from(ENTRIES))
    signature = signature_of(entry)
    event(entry["name"])
    if entry["name"] == "execute":
        call = encode_execute(data.draw(plans(desk).filter(fits)))
    elif entry["name"] == "run" or data.draw(st.integers(0, 9)) == 0:
        call = selector(signature) + data.draw(st.binary(max_size=200))
    else:
        call = encode_call(signature, data.draw(arguments(desk, [field["type"] for field in entry["inputs"]])))
    with chain.rewound():
        before = wealth(desk)
        with pytest.raises(DevnetError):
            chain.client.send_data(thief, desk.liquidator.address, call, entry["name"])
        assert wealth(desk) == before
        assert chain.call(desk.liquidator.address, "owner()(address)") == desk.owner
        assert chain.call(desk.liquidator.address, "heir()(address)") == "0x" + "00" * 20
        assert not chain.call(desk.liquidator.address, "is_operator(address)(bool)", thief)


def fits_in_a_loan(inner: tuple[Step, ...]) -> bool:
    try:
        encode_steps(inner)
    except ValueError:
        return False
    return True


def fits(plan: Plan) -> bool:
    """Whether the contract takes a plan of this size."""
    try:
        encode_execute(plan)
    except ValueError:
        return False
    return True

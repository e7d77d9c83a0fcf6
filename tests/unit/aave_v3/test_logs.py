"""Logs are folded into whom they touched; a log of a wrong shape is refused, whatever it is made of."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError
from keeper.core.types import Log
from keeper.protocols.aave_v3 import abi, logs
from tests.support import aave_market as build

MARKET = build.market(build.reserve(0), build.reserve(1))
ALICE, BOB = b"\x11" * 20, b"\x22" * 20
POOL = f"0x{MARKET.pool.hex()}"
A_TOKEN, V_TOKEN = MARKET.reserves[0].a_token, MARKET.reserves[1].v_token


def topic(address: bytes) -> str:
    return f"0x{address.hex():0>64}"


def hex_of(types: list[str], values: list[object]) -> str:
    return f"0x{encode(types, values).hex()}"


def transfer(token: bytes, sender: bytes, receiver: bytes) -> Log:
    return Log(f"0x{token.hex()}", (abi.TRANSFER, topic(sender), topic(receiver)), hex_of(["uint256"], [5]))


def touched(*found: Log) -> dict[bytes, set[bytes]]:
    return logs.touched(MARKET, logs.touch_keys(logs.fold(MARKET, found)))


def test_a_transfer_touches_both_balances() -> None:
    assert touched(transfer(A_TOKEN, ALICE, BOB)) == {ALICE: {A_TOKEN}, BOB: {A_TOKEN}}


def test_minting_touches_only_who_receives() -> None:
    """Supplying, borrowing and accruing all transfer from nobody."""
    assert touched(transfer(V_TOKEN, bytes(20), ALICE)) == {ALICE: {V_TOKEN}}


def test_a_collateral_switch_touches_the_supply_it_switches() -> None:
    """So a balance that was never touched before is known once it counts."""
    switch = Log(POOL, (abi.COLLATERAL_ENABLED, topic(build.asset(0)), topic(ALICE)), "0x")
    assert touched(switch) == {ALICE: {A_TOKEN}}


def test_an_e_mode_change_touches_the_account() -> None:
    assert touched(Log(POOL, (abi.USER_EMODE_SET, topic(ALICE)), hex_of(["uint8"], [1]))) == {ALICE: set()}


def test_strangers_are_passed_over() -> None:
    """The pool's events mean nothing from another address, nor do transfers of other tokens."""
    stranger = transfer(b"\x99" * 20, ALICE, BOB)
    impostor = Log(f"0x{'99' * 20}", (abi.USER_EMODE_SET, topic(ALICE)), hex_of(["uint8"], [1]))
    assert touched(stranger, impostor) == {}


def test_a_liquidation_is_told_and_moves_both_reserves() -> None:
    """Since v3.6 the collateral's index accrues without being announced when aTokens are received."""
    data = hex_of(["uint256", "uint256", "address", "bool"], [7, 9, BOB, True])
    topics = (abi.LIQUIDATION_CALLED, topic(build.asset(1)), topic(build.asset(0)), topic(ALICE))
    log = Log(POOL, topics, data, transaction_hash="0x" + "ab" * 32, log_index="0x3")
    seen = logs.fold(MARKET, [log])
    assert seen.reserves == {topic(build.asset(0)), topic(build.asset(1))}
    (event,) = logs.liquidated(seen.liquidations)
    assert (event.account, event.liquidator) == (ALICE, BOB)
    assert (event.debt_asset, event.repaid_assets) == (build.asset(0), 7)
    assert (event.collateral_asset, event.seized_assets) == (build.asset(1), 9)
    assert (event.transaction_hash, event.log_index) == (b"\xab" * 32, 3)


def test_governance_says_what_to_read_again() -> None:
    configurator = f"0x{MARKET.configurator.hex()}"
    frozen = "0x0c4443d258a350d27dc50c378b2ebf165e6469725f786d21b30cab16823f5587"
    seen = logs.fold(
        MARKET,
        [
            Log(configurator, (frozen, topic(build.asset(0))), hex_of(["bool"], [True])),
            Log(
                configurator,
                (abi.ASSET_COLLATERAL_IN_EMODE_CHANGED, topic(build.asset(0))),
                hex_of(["uint8", "bool"], [4, True]),
            ),
            Log(
                configurator,
                (abi.ASSET_LTVZERO_IN_EMODE_CHANGED, topic(build.asset(0))),
                hex_of(["uint8", "bool"], [5, True]),
            ),
            Log(configurator, (abi.EMODE_CATEGORY_ADDED, f"0x{7:064x}"), "0x"),
        ],
    )
    assert seen.reconfigured == {topic(build.asset(0))}
    assert seen.categories == {4, 5, 7}
    assert not seen.market_changed


def test_a_new_pool_or_oracle_changes_everything() -> None:
    for event in abi.MARKET_EVENTS:
        log = Log(f"0x{MARKET.provider.hex()}", (event, topic(ALICE), topic(BOB)), "0x")
        assert logs.fold(MARKET, [log]).market_changed


def test_the_filter_covers_every_contract_and_topic() -> None:
    found = logs.log_filter(MARKET)
    tokens = {token for reserve in MARKET.reserves for token in (reserve.a_token, reserve.v_token)}
    assert found.addresses == tokens | {MARKET.pool, MARKET.provider, MARKET.configurator, MARKET.oracle}
    assert {f"0x{t.hex()}" for t in found.topics} == abi.TOPICS


_hex = st.text("0123456789abcdefxg", max_size=140)
_addresses = st.sampled_from(
    [POOL, *(f"0x{a.hex()}" for a in (MARKET.provider, MARKET.configurator, MARKET.oracle, A_TOKEN, V_TOKEN))]
)
_garbage = st.builds(
    Log,
    _addresses,
    st.lists(st.one_of(st.sampled_from(sorted(abi.TOPICS)), _hex), max_size=4).map(tuple),
    st.one_of(_hex.map(lambda text: "0x" + text), st.sampled_from(["0x", "0x" + "g" * 64, "0x" + "f" * 256])),
)


@given(st.sampled_from(sorted(abi.TOPICS)), _garbage)
def test_garbage_raises_nothing_but_decode_error(event: str, log: Log) -> None:
    broken = Log(log.address, (event, *log.topics), log.data, transaction_hash="0xzz", log_index="later")
    for found in ([log], [broken]):
        try:
            seen = logs.fold(MARKET, found)
            logs.touch_keys(seen)
            logs.liquidated(seen.liquidations)
        except DecodeError as error:
            assert "0x" in str(error) or "topic" in str(error)


def test_a_malformed_transfer_is_refused_and_named() -> None:
    """An NFT's Transfer has its value indexed; a truncated one lacks digits."""
    good = transfer(A_TOKEN, ALICE, BOB)
    for bad in (
        Log(good.address, (*good.topics, topic(ALICE)), "0x"),
        Log(good.address, good.topics, good.data[:-2]),
        Log(good.address, (good.topics[0], good.topics[1], "0x" + "f" * 64), good.data),
        Log(good.address, (good.topics[0], good.topics[1], topic(ALICE)[:-2] + "  "), good.data),
    ):
        with pytest.raises(DecodeError):
            logs.touch_keys(logs.fold(MARKET, [bad]))

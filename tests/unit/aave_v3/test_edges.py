"""Reverts in words, and what a configuration may say."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import ConfigError
from keeper.protocols.aave_v3 import build, errors
from keeper.protocols.aave_v3.errors import explain_revert

PROVIDER = b"\x02" * 20
_ARGUMENTS = {
    "ERC20InsufficientBalance": "address,uint256,uint256",
    "ERC20InsufficientAllowance": "address,uint256,uint256",
    "SafeERC20FailedOperation": "address",
}


def configured(**options: object) -> object:
    return build({"name": "aave", "start_block": 0, "pool_addresses_provider": PROVIDER, **options})


def test_selectors_are_those_of_the_errors_they_explain() -> None:
    for selector, (name, _) in errors._BY_SELECTOR.items():
        assert keccak(text=f"{name}({_ARGUMENTS.get(name, '')})")[:4].hex() == selector


def test_custom_errors_and_numbered_strings_say_the_same() -> None:
    custom = explain_revert(bytes.fromhex("930bb771"))
    numbered = explain_revert(bytes.fromhex("08c379a0") + encode(["string"], ["45"]))
    assert custom == "HealthFactorNotBelowThreshold: the position is healthy: nothing may be liquidated"
    assert numbered == "HEALTH_FACTOR_NOT_BELOW_THRESHOLD: the position is healthy: nothing may be liquidated"


def test_other_reverts_are_repeated() -> None:
    assert explain_revert(b"") == "reverted without a reason"
    assert explain_revert(bytes.fromhex("08c379a0") + encode(["string"], ["GPv2: failed transferFrom"])).startswith(
        "GPv2"
    )
    assert (
        explain_revert(bytes.fromhex("4e487b71") + encode(["uint256"], [0x11])) == "Panic(0x11): an arithmetic overflow"
    )
    assert "0xdeadbeef" in explain_revert(bytes.fromhex("deadbeef"))


@given(st.binary(max_size=400))
def test_any_revert_is_explained_in_printable_words(data: bytes) -> None:
    for revert in (data, bytes.fromhex("08c379a0") + data, bytes.fromhex("4e487b71") + data):
        assert explain_revert(revert).isprintable()


def test_positions_are_named_by_their_checksummed_account() -> None:
    key = bytes.fromhex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    assert configured().position_id(key) == "aave:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def test_the_provider_is_what_has_to_have_code() -> None:
    assert configured().addresses() == {"pool_addresses_provider": PROVIDER}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_addresses_provider": b"\x01"}, "pool_addresses_provider is b'.x01'; give the market's address"),
        ({"heartbeats": {"WETH": 0}}, "heartbeat of 'WETH' is 0; give a positive whole number of seconds"),
        ({"heartbeats": {"WETH": True}}, "heartbeat of 'WETH' is True"),
        ({"heartbeats": {"0x12": 60}}, "heartbeats name '0x12', which is neither a symbol nor an address"),
        ({"default_heartbeat_s": -5}, "heartbeat of 'default_heartbeat_s' is -5"),
    ],
)
def test_a_wrong_value_is_refused_with_the_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(**options)

"""Calls by signature text, and reverts in words."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode

from keeper.devnet.abi import RevertReasons, decode_answer, encode_call, selector, split_signature
from keeper.devnet.errors import DevnetError
from keeper.devnet.solc import Artifact

ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@pytest.mark.parametrize(
    ("signature", "parts"),
    [
        ("pause()", ("pause()", (), ())),
        ("balanceOf(address)(uint256)", ("balanceOf(address)", ("address",), ("uint256",))),
        (
            "f((uint256,bool)[],bytes)(int8,int8)",
            ("f((uint256,bool)[],bytes)", ("(uint256,bool)[]", "bytes"), ("int8", "int8")),
        ),
    ],
)
def test_signature_splits_at_its_outermost_parentheses(signature: str, parts: tuple[object, ...]):
    assert split_signature(signature) == parts


def test_text_that_is_no_signature_is_refused():
    with pytest.raises(ValueError, match="not a signature"):
        split_signature("balanceOf(address")


def test_outputs_do_not_change_the_selector():
    """The well-known selector of ERC-20 balanceOf."""
    assert selector("balanceOf(address)(uint256)").hex() == "70a08231"
    assert encode_call("balanceOf(address)(uint256)", (ALICE,)).hex() == "70a08231" + "00" * 12 + ALICE[2:].lower()


def test_addresses_come_back_as_checksummed_text_wherever_they_are():
    data = encode(["address[]", "(address,uint256)"], [[ALICE], (ALICE, 7)])
    assert decode_answer("f()(address[],(address,uint256))", data) == ((ALICE,), (ALICE, 7))


def test_single_output_is_not_wrapped():
    assert decode_answer("f()(uint256)", encode(["uint256"], [5])) == 5


def test_reverts_are_told_in_words():
    """Standard errors always, custom ones once their ABI is known, the hex otherwise."""
    reasons = RevertReasons()
    assert reasons.explain(b"") == "no reason given"
    assert reasons.explain(selector("Error(string)") + encode(["string"], ["paused"])) == "Error('paused')"
    assert reasons.explain(selector("Panic(uint256)") + encode(["uint256"], [17])) == "Panic(17)"
    custom = selector("TooSmall((uint256,address))") + encode(["(uint256,address)"], [(3, ALICE)])
    assert reasons.explain(custom) == f"unknown error 0x{custom.hex()}"
    pair = {"type": "tuple", "components": [{"type": "uint256"}, {"type": "address"}]}
    reasons.learn([{"type": "error", "name": "TooSmall", "inputs": [pair]}, {"type": "fallback"}])
    assert reasons.explain(custom) == f"TooSmall((3, '{ALICE}'))"
    assert "undecodable" in reasons.explain(custom[:20])


def test_linking_fills_every_hole_and_misses_none():
    """A library's address goes to each offset the compiler named."""
    hole = "__$" + "a" * 34 + "$__"
    artifact = Artifact("Pool", (), f"60{hole}61{hole}62", {"Logic": (1, 22)})
    address = ALICE[2:].lower()
    assert artifact.linked({"Logic": ALICE}).hex() == f"60{address}61{address}62"
    with pytest.raises(DevnetError, match="Pool links Logic, which is not deployed yet"):
        artifact.linked({})

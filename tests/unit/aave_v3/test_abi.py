"""Selectors and topics against the ABI files; words against eth-abi; nothing but DecodeError from garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError
from keeper.protocols.aave_v3 import abi

_FILES = sorted((Path(__file__).parents[3] / "abis" / "aave_v3").glob("*.json"))
_ENTRIES: list[dict[str, Any]] = [entry for file in _FILES for entry in json.loads(file.read_text())["abi"]]


def signature(entry: dict[str, Any]) -> str:
    def kind(value: dict[str, Any]) -> str:
        return f"({','.join(map(kind, value['components']))})" if value["type"] == "tuple" else value["type"]

    return f"{entry['name']}({','.join(kind(value) for value in entry['inputs'])})"


def test_every_selector_is_that_of_a_function_in_the_abi_files() -> None:
    known = {keccak(text=signature(entry))[:4] for entry in _ENTRIES if entry["type"] == "function"}
    ours = {
        value for name, value in vars(abi).items() if name.isupper() and isinstance(value, bytes) and len(value) == 4
    }
    assert ours == known


def test_every_topic_is_that_of_an_event_in_the_abi_files() -> None:
    known = {f"0x{keccak(text=signature(entry)).hex()}" for entry in _ENTRIES if entry["type"] == "event"}
    assert known == abi.TOPICS


def test_abi_files_say_where_they_come_from() -> None:
    assert all("written for Keeper after" in json.loads(file.read_text())["origin"] for file in _FILES)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**256 - 1), st.booleans())
def test_calls_encode_as_eth_abi_does(address: bytes, number: int, flag: bool) -> None:
    ours = abi.encode(abi.LIQUIDATION_CALL, address, address, address, number, flag)
    types = ["address", "address", "address", "uint256", "bool"]
    assert ours == abi.LIQUIDATION_CALL + encode(types, [address, address, address, number, flag])


@given(st.lists(st.binary(min_size=20, max_size=20), max_size=40))
def test_address_lists_decode_as_eth_abi_encodes(addresses: list[bytes]) -> None:
    assert abi.address_list(encode(["address[]"], [addresses]), "list") == addresses


@given(st.text(max_size=60).filter(lambda text: "\0" not in text and len(text.encode()) <= 64))
def test_symbols_decode_as_eth_abi_encodes(symbol: str) -> None:
    assert abi.text(encode(["string"], [symbol])) == symbol


def test_a_symbol_of_bytes32_is_read() -> None:
    """MKR and a few others answer so."""
    assert abi.text(b"MKR".ljust(32, b"\0")) == "MKR"


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=20))
def test_words_decode_as_eth_abi_does(numbers: list[int]) -> None:
    data = encode(["uint256"] * len(numbers), numbers)
    assert abi.words(data, len(numbers), "numbers") == list(decode(["uint256"] * len(numbers), data))


@given(st.one_of(st.none(), st.binary(max_size=300)))
def test_garbage_raises_nothing_but_decode_error(garbage: bytes | None) -> None:
    for read in (lambda: abi.words(garbage, 6, "x"), lambda: abi.address_list(garbage, "x")):
        try:
            read()
        except DecodeError as error:
            assert "x" in str(error)
    assert isinstance(abi.text(garbage), str)
    assert isinstance(abi.maybe_address(garbage), bytes)


def test_a_list_longer_than_its_bytes_is_refused() -> None:
    """A length of 2^255 must not be believed."""
    with pytest.raises(DecodeError, match="returned 64 bytes"):
        abi.address_list(encode(["uint256", "uint256"], [32, 2**255]), "getReservesList()")

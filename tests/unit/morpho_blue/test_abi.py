"""Selectors, topics and shapes of Morpho's events against the ABI files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.protocols.morpho_blue import abi

_FILES = sorted((Path(__file__).parents[3] / "abis" / "morpho_blue").glob("*.json"))
_ENTRIES: list[dict[str, Any]] = [entry for file in _FILES for entry in json.loads(file.read_text())["abi"]]
_EVENTS = {entry["name"]: entry for entry in _ENTRIES if entry["type"] == "event"}
_OWNERS = {"onBehalf", "borrower"}
_OF_OFFERS = {"SetAuthorization", "CreatePreLiquidation", "PreLiquidate"}
_OF_POSITIONS = {"Borrow", "Repay", "SupplyCollateral", "WithdrawCollateral", "Liquidate"}


def kind(value: dict[str, Any]) -> str:
    return f"({','.join(map(kind, value['components']))})" if value["type"] == "tuple" else value["type"]


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(kind(value) for value in entry['inputs'])})"


def test_every_selector_is_that_of_a_function_in_the_abi_files() -> None:
    known = {keccak(text=signature(entry))[:4] for entry in _ENTRIES if entry["type"] == "function"}
    ours = {
        value for name, value in vars(abi).items() if name.isupper() and isinstance(value, bytes) and len(value) == 4
    }
    assert ours == known


def test_every_event_has_the_topics_the_words_and_the_owner_that_its_abi_says() -> None:
    """Only events that change a position name one here: suppliers of loan tokens are nobody's concern."""
    shapes, offered = {}, {}
    for name, entry in _EVENTS.items():
        indexed = [value["name"] for value in entry["inputs"] if value["indexed"]]
        words = sum(len(value.get("components", "1")) for value in entry["inputs"] if not value["indexed"])
        if name in _OF_OFFERS:
            offered[f"0x{keccak(text=signature(entry)).hex()}"] = (1 + len(indexed), words)
            continue
        owner = next((i for i, one in enumerate(indexed, 1) if one in _OWNERS and name in _OF_POSITIONS), None)
        shapes[f"0x{keccak(text=signature(entry)).hex()}"] = (1 + len(indexed), words, owner)
    assert shapes == abi.SHAPES
    assert offered == abi.PRE_SHAPES


def test_abi_files_say_where_they_come_from() -> None:
    assert all("written for Keeper after" in json.loads(file.read_text())["origin"] for file in _FILES)


def test_a_liquidation_encodes_as_eth_abi_does() -> None:
    """Its last argument, the callback's data, is empty."""
    params = (b"\x01" * 20, b"\x02" * 20, b"\x03" * 20, b"\x04" * 20, 5)
    types = ["(address,address,address,address,uint256)", "address", "uint256", "uint256", "bytes"]
    expected = abi.LIQUIDATE + encode(types, [params, b"\x06" * 20, 7, 8, b""])
    assert abi.liquidate(params, b"\x06" * 20, 7, 8) == expected
    types = ["address", "uint256", "uint256", "bytes"]
    assert abi.pre_liquidate(b"\x06" * 20, 9) == abi.PRE_LIQUIDATE + encode(types, [b"\x06" * 20, 0, 9, b""])

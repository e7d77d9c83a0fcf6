"""Selectors and topics against the ABI files; the shapes of events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from keeper.protocols.perp_v2 import abi

_FILES = sorted((Path(__file__).parents[3] / "abis" / "perp_v2").glob("*.json"))
_ENTRIES: list[dict[str, Any]] = [entry for file in _FILES for entry in json.loads(file.read_text())["abi"]]


def kind(value: dict[str, Any]) -> str:
    name: str = value["type"]
    if not name.startswith("tuple"):
        return name
    return f"({','.join(map(kind, value['components']))}){name.removeprefix('tuple')}"


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(kind(value) for value in entry['inputs'])})"


def topic(entry: dict[str, Any]) -> str:
    return f"0x{keccak(text=signature(entry)).hex()}"


def test_every_selector_is_that_of_a_function_in_the_abi_files() -> None:
    known = {keccak(text=signature(entry))[:4] for entry in _ENTRIES if entry["type"] == "function"}
    ours = {
        value for name, value in vars(abi).items() if name.isupper() and isinstance(value, bytes) and len(value) == 4
    }
    assert ours == known


def test_every_topic_is_that_of_an_event_in_the_abi_files() -> None:
    assert {topic(entry) for entry in _ENTRIES if entry["type"] == "event"} == abi.TOPICS


def test_the_shapes_of_events_are_those_of_the_abi_files() -> None:
    """Topics, words of data, and which topic names the account."""
    for entry in _ENTRIES:
        if entry["type"] == "event" and topic(entry) in abi.SHAPES:
            indexed = [value["name"] for value in entry["inputs"] if value["indexed"]]
            assert abi.SHAPES[topic(entry)] == (1 + len(indexed), len(entry["inputs"]) - len(indexed))
            assert indexed[abi.TRADER_TOPIC[topic(entry)] - 1] in ("trader", "maker")


def test_abi_files_say_where_they_come_from() -> None:
    assert all("written for Keeper after" in json.loads(file.read_text())["origin"] for file in _FILES)

"""Selectors and topics against the ABI files; the words of events against eth-abi."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from keeper.protocols.venus import abi
from keeper.protocols.venus.logs import _INDEXED

_FILES = sorted((Path(__file__).parents[3] / "abis" / "venus").glob("*.json"))
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


def test_the_indexed_arguments_are_those_of_the_abi_files() -> None:
    """Of the events whose arguments are read; the others are looked at by their topic alone."""
    indexed = {
        topic(entry): tuple(place for place, value in enumerate(entry["inputs"]) if value["indexed"])
        for entry in _ENTRIES
        if entry["type"] == "event"
    }
    assert {event: places for event, places in indexed.items() if event in _INDEXED} == _INDEXED
    assert indexed[abi.ACCRUED] == ()


def test_abi_files_say_where_they_come_from() -> None:
    assert all("written for Keeper after" in json.loads(file.read_text())["origin"] for file in _FILES)

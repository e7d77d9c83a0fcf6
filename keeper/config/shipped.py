"""The configurations that come with Keeper: one per chain, with the addresses of what it speaks there."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from keeper.core.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "_data" / "configs", _PACKAGE.parent / "configs")
"""Inside an installed package; beside it in a checkout."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """One chain. name: "ethereum"; text: its file; tables: the same as TOML gives it."""

    name: str
    chain_id: int
    text: str
    tables: Mapping[str, Any]

    @property
    def protocols(self) -> list[dict[str, Any]]:
        return [dict(table) for table in self.tables["protocols"]]

    def describe(self) -> str:
        return f"{self.chain_id} {self.name} ({', '.join(table['name'] for table in self.protocols)})"


@cache
def shipped() -> Mapping[int, Shipped]:
    """By chain id. Raises ConfigError when the files are not where they are installed."""
    folder = next((place for place in _PLACES if any(place.glob("*.toml"))), None)
    if folder is None:
        raise ConfigError("the shipped configurations are not installed; reinstall Keeper")
    found = {}
    for file in sorted(folder.glob("*.toml")):
        text = file.read_text("utf-8")
        tables = tomllib.loads(text)
        found[tables["chain"]["id"]] = Shipped(file.stem, tables["chain"]["id"], text, tables)
    return found


def shipped_for(chain_id: int) -> Shipped:
    """Raises ConfigError, naming what there is, for a chain that nothing is shipped for."""
    known = shipped()
    if chain_id not in known:
        there = "; ".join(one.describe() for one in known.values())
        raise ConfigError(
            f"no protocol is shipped for chain {chain_id}; shipped are: {there}. Write a configuration of your own "
            "(docs/configuration.md), or correct the node"
        )
    return known[chain_id]

"""The published interfaces that ship with Keeper: one folder per protocol, each file with its origin."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from keeper.core.errors import ConfigError

_PLACES = (Path(__file__).parent / "_data" / "abis", Path(__file__).parent.parent / "abis")
"""Inside an installed package; beside it in a checkout."""


def contract(kind: str, name: str) -> dict[str, Any]:
    """A file as it is; that of a contract of our own has its bytecode. Raises ConfigError when it is not there."""
    file = next((place / kind / f"{name}.json" for place in _PLACES if (place / kind / f"{name}.json").is_file()), None)
    if file is None:
        raise ConfigError(f"abis/{kind}/{name}.json is not installed; reinstall Keeper")
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


@cache
def protocol_abi(kind: str) -> list[dict[str, Any]]:
    """Every function, event and error of a protocol's contracts. Raises ConfigError for a protocol without any."""
    folder = next((place / kind for place in _PLACES if (place / kind).is_dir()), None)
    if folder is None:
        raise ConfigError(f"no ABI of {kind!r} is installed; reinstall Keeper")
    entries: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        for entry in json.loads(file.read_text("utf-8"))["abi"]:
            entries[json.dumps(entry, sort_keys=True)] = entry
    return list(entries.values())

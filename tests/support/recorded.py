"""Data recorded on live chains, where it is: KEEPER_TEST_DATA, or shared/data beside the checkout. Never part of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from keeper.core.types import Log


def recorded(name: str) -> Path:
    """A file or folder of it; the test is skipped, with the reason, where there is none."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("KEEPER_TEST_DATA") or beside)
    found = root / name
    if not found.exists():
        pytest.skip(f"no recorded data at {found}; KEEPER_TEST_DATA names its folder")
    return found


def receipts(pattern: str) -> dict[str, list[Log]]:
    """Logs by the name of the recorded transaction, as a node gave them."""
    return {file.stem: _logs(json.loads(file.read_text())) for file in sorted(recorded("receipts").glob(pattern))}


def _logs(row: dict[str, Any]) -> list[Log]:
    return [
        Log(
            log["address"].lower(),
            tuple(topic.lower() for topic in log["topics"]),
            log["data"].lower(),
            log["blockNumber"],
            log["blockHash"],
            log["transactionHash"],
            log["logIndex"],
        )
        for log in row["receipt"]["logs"]
    ]

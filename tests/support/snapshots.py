"""Texts held against files. `KEEPER_SNAPSHOTS=write scripts/test …` writes them anew; read the difference before you
commit it."""

from __future__ import annotations

import os
from pathlib import Path


def matches(path: Path, text: str) -> bool:
    """Whether a text equals the file, which has one line break more."""
    if os.environ.get("KEEPER_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", "utf-8")
    return path.read_text("utf-8") == text + "\n"

"""What the documentation's navigation learns from the files: every decision is in it as soon as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Fill the section "Decisions", which names only its overview, with the decisions in their order."""
    folder = Path(config["docs_dir"]) / "decisions"
    for section in config["nav"]:
        if "Decisions" in section:
            section["Decisions"] += [f"decisions/{file.name}" for file in sorted(folder.glob("[0-9]*.md"))]
    return config

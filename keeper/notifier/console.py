"""Notices for the person at the terminal: one short paragraph each, on stderr, coloured by urgency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from keeper.core.records import Notice
from keeper.core.types import Band

_STYLES = {"urgent": "bold yellow", "liquidatable": "bold red"}


@dataclass(frozen=True)
class Options:
    """Nothing to configure."""


class ConsoleChannel:
    """Writes to this process's stderr: stdout belongs to what scripts read."""

    def __init__(self, name: str, min_band: Band, console: Console | None = None) -> None:
        self.name = name
        self.min_band = min_band
        self._console = console or Console(stderr=True, highlight=False)

    async def send(self, notice: Notice) -> None:
        style = "green" if notice.event.closes else _STYLES.get(notice.band, "yellow")
        line = Text(f"{notice.event.value.upper()} ", style=style)
        line.append(notice.text, style="default")  # appended as text: nothing in a token symbol is markup
        self._console.print(line, soft_wrap=True)

    async def check(self) -> str:
        return "writes to stderr"

    async def close(self) -> None:
        """Nothing is held open."""


def build(config: Mapping[str, Any], name: str) -> ConsoleChannel:
    return ConsoleChannel(name, config["min_band"])

"""The sections of a pulse: each part registers what it can say of itself, once, and is asked again for every pulse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Section = Callable[[], Mapping[str, Any]]
"""Plain values, as JSON knows them; integers that can exceed 2^53 as decimal strings. Cheap: the event loop runs it."""


class Board:
    def __init__(self) -> None:
        self._sections: dict[str, Section] = {}
        self._failing: set[str] = set()

    def register(self, name: str, section: Section) -> None:
        """Raises ValueError for a name that is taken: two parts would overwrite each other's words."""
        if name in self._sections:
            raise ValueError(f"the pulse has a section {name!r} already; give the second part a name of its own")
        self._sections[name] = section

    def read(self) -> dict[str, Mapping[str, Any]]:
        """Every section as it is now. One that fails says so in its place and is logged once: what tells of the daemon
        must not end it."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, section in self._sections.items():
            try:
                found[name] = section()
                self._failing.discard(name)
            except Exception as error:
                found[name] = {"error": f"{type(error).__name__}: {error}"}
                if name not in self._failing:
                    log.exception("pulse_section_failed", section=name)
                self._failing.add(name)
        return found

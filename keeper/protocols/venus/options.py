"""What a configuration file may say about a Venus pool."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """The keys of a `[[protocols]]` table of kind "venus", beside the common ones."""

    comptroller: bytes = field(
        metadata={"doc": "The pool's Comptroller; its markets, oracle and rules are discovered from it."}
    )

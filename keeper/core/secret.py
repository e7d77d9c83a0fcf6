"""A value that must never be seen: a key, a password, a URL that carries a token."""

from __future__ import annotations

from typing import Any

from keeper.core.errors import ConfigError

MASK = "***"


class Secret:
    """Text that shows as `***` wherever it is printed, formatted, logged, raised or pickled.

    Only `reveal()` gives the text; call it at the very place where it leaves the process, and keep no copy.
    """

    __slots__ = ("_text", "is_written")

    def __init__(self, text: str, *, is_written: bool = False) -> None:
        """is_written: whether it stands in the configuration file itself, rather than being referred to there."""
        self._text = text
        self.is_written = is_written

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secret, (MASK,))  # a pickle is a copy on its way out of the process

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self


class AbsentSecret(Secret):
    """One that the configuration refers to and nobody gave. Whoever does without it never notices."""

    __slots__ = ("_missing",)

    def __init__(self, missing: str) -> None:
        """missing: what is wrong, and the remedy."""
        super().__init__("")
        self._missing = missing

    def reveal(self) -> str:
        """Raises ConfigError."""
        raise ConfigError(self._missing)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

"""Why nothing new is sent at present, besides breakers and pauses: what other parts of the daemon found to be wrong.

Unlike a breaker it needs nobody's `keeper resume`: each reason stands for as long as its cause does. In memory alone,
since each cause is found again after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping


class Halt:
    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    @property
    def reasons(self) -> Mapping[str, str]:
        """By one word for machines, in words for people."""
        return self._reasons

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def set(self, name: str, reason: str | None) -> None:
        """None: it is over."""
        if reason is None:
            self._reasons.pop(name, None)
        else:
            self._reasons[name] = reason

"""The file that a pulse is: replaced as a whole, so that a reader sees one pulse or another, never half of one.

Not synced to disk: after a power cut there is no daemon to tell of.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

STALE_S = 10.0
"""A pulse older than this is that of a daemon that hangs, or is no more."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Pulse:
    """at, started_at: unix seconds at which it was written, and at which its daemon started. version: of the program.

    sections: by name, as the daemon's parts said them; see docs/pulse.md.
    """

    at: float
    started_at: float
    pid: int
    chain_id: int
    program: str
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = _VERSION

    def age_s(self, now: float) -> float:
        """Not below 0, whatever a clock that was set back says."""
        return max(0.0, now - self.at)

    def is_stale(self, now: float) -> bool:
        return self.age_s(now) > STALE_S

    def section(self, name: str) -> dict[str, Any]:
        """Empty when the daemon says nothing of it."""
        return self.sections.get(name, {})


def encode_pulse(pulse: Pulse) -> bytes:
    return msgspec.json.encode(pulse)


def write_pulse(path: Path, encoded: bytes) -> None:
    """Replace what the file says; it is for its owner alone. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, encoded)
        finally:
            os.close(descriptor)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def read_pulse(path: Path) -> Pulse | None:
    """The last pulse; None when there is none, or none that this program understands."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pulse)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None

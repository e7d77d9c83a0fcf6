"""What keeps the memory and the files of a process that knows secrets to its owner.

`withdraw` before the first secret is read: from then on no core file holds them, no other process of the same user
reads them out of memory or of /proc/PID/environ, and new files are the owner's alone. `exposures` says which files that
were there before others can read or change.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from keeper.core.errors import ConfigError

log = structlog.get_logger(__name__)

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH


def withdraw() -> None:
    """Idempotent. On Linux also `ptrace`, and so py-spy or gdb, then needs root."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
            log.warning("memory_not_withdrawn", error=os.strerror(ctypes.get_errno()))


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file that others than its owner can read, or everybody can change."""

    path: Path
    mode: int
    is_writable: bool

    def __str__(self) -> str:
        done = "everybody can change it" if self.is_writable else "others can read it"
        return f"{self.path} has mode {self.mode:04o}, so {done}; chmod 600 {self.path}"


def exposures(files: Iterable[Path]) -> Iterator[Exposure]:
    """Of those that exist."""
    for path in files:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # whoever needs it says what is wrong with it
        if mode & (_OTHERS_READ | stat.S_IWOTH):
            yield Exposure(path, mode, bool(mode & stat.S_IWOTH))


def refuse_exposed(secret: Iterable[Path], deciding: Iterable[Path]) -> None:
    """secret: files that hold secrets; of one that others can read it is warned. deciding: files that decide what is
    signed and for whom.

    Raises ConfigError when everybody can change one of either.
    """
    found = list(exposures(secret))
    writable = [one for one in dict.fromkeys((*found, *exposures(deciding))) if one.is_writable]
    if writable:
        raise ConfigError("; ".join(map(str, writable)))
    for one in found:
        log.warning("file_exposed", file=str(one.path), mode=f"{one.mode:04o}", remedy=f"chmod 600 {one.path}")

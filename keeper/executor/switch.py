"""Two files by which people stop and restart transactions, whether a daemon runs or not.

    PAUSE           while it exists, nothing new is sent
    PAUSE.resume    asks the daemon to clear its tripped breakers; it removes the file once that is durable

The daemon is the only writer of its database, so a command beside it cannot clear anything there; a file it can leave.
Looking costs two calls of `stat` a block.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from keeper.core.errors import ConfigError


def answers(asked_at: float, at: float, now: float) -> bool:
    """Whether a person who asked then knew of what happened `at`. What is later than now was told by a clock that was
    set back since, and is past."""
    return at <= asked_at or asked_at <= now < at


@dataclass(frozen=True, slots=True)
class Switch:
    pause_file: Path

    @property
    def request_file(self) -> Path:
        return self.pause_file.with_name(f"{self.pause_file.name}.resume")

    @property
    def paused(self) -> bool:
        """A file that cannot be looked at might be there, so it counts: in doubt nothing is sent."""
        try:
            self.pause_file.stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def resume_asked_at(self) -> float | None:
        """Unix seconds of the request; None when there is none that can be seen."""
        try:
            return self.request_file.stat().st_mtime
        except OSError:
            return None

    def pause(self) -> None:
        """Raises ConfigError when the file cannot be written."""
        _touch(self.pause_file)

    def resume(self) -> None:
        """End the pause, and ask for tripped breakers to be cleared. Raises ConfigError when that cannot be written."""
        _touch(self.request_file)
        try:
            self.pause_file.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.pause_file, error) from error

    def taken(self) -> None:
        """The request was honoured. Raises ConfigError when it cannot be removed."""
        try:
            self.request_file.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.request_file, error) from error


def _touch(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file)
    except OSError as error:
        raise _unwritable(file, error) from error


def _unwritable(file: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{file} cannot be written ({error.strerror}); correct its rights, or set breakers.pause_file")

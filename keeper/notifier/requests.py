"""What people ask of the deliveries, left as files for the daemon, which alone writes its database.

    REQUESTS/<when>-<random>.json     {"do": "acknowledge", "episode": …, "by": …, "at": …}
                                      {"do": "retry", "notice": …, "channel": …, "at": …}

A request is durable before whoever left it is told so, and is removed only after what it asks for is durable too. So it
may be carried out twice, and its id makes that harmless.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from keeper.core.errors import ConfigError

log = structlog.get_logger(__name__)

ACKNOWLEDGE = "acknowledge"
RETRY = "retry"
_NEVER = 1e11  # unix seconds, in the year 5138


@dataclass(frozen=True, slots=True)
class Request:
    """id: the same however often it is read. at: unix seconds at which it was made."""

    id: str
    do: str
    at: float
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Requests:
    folder: Path

    def leave(self, do: str, at: float, **fields: str) -> str:
        """Durable when this returns, with its id. Raises ConfigError when it cannot be written."""
        name = f"{int(at * 1000):015d}-{secrets.token_hex(6)}"
        written = json.dumps({"do": do, "at": at, **fields}).encode()
        draft, file = self.folder / f"{name}.draft", self.folder / f"{name}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as opened:  # noqa: PTH123  (a descriptor with the right mode)
                opened.write(written)
                opened.flush()
                os.fsync(opened.fileno())
            draft.rename(file)
            _sync(self.folder)
        except OSError as error:
            raise ConfigError(
                f"{self.folder} cannot be written ({error.strerror}); run this as the user that runs the daemon"
            ) from error
        return name

    def pending(self) -> Iterator[Request]:
        """Oldest first. What is no request is put aside, loudly."""
        try:
            files = sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(".json"))
        except FileNotFoundError:
            return
        except OSError as error:
            log.error("requests_unreadable", folder=str(self.folder), error=str(error))
            return
        for name in files:
            request = self._read(self.folder / name)
            if request is not None:
                yield request

    def done(self, request: Request) -> None:
        try:
            (self.folder / f"{request.id}.json").unlink(missing_ok=True)
        except OSError as error:
            log.error("request_stays", request=request.id, error=str(error))

    def _read(self, file: Path) -> Request | None:
        try:
            said: dict[str, Any] = json.loads(file.read_bytes())
            fields = {key: str(value) for key, value in said.items() if key not in ("do", "at")}
            at = float(said["at"])
            if not 0 <= at < _NEVER:
                raise ValueError(f"{at} is no moment")
            return Request(file.stem, str(said["do"]), at, fields)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            log.error("request_not_understood", file=str(file), error=str(error) or type(error).__name__)
            try:
                file.rename(file.with_suffix(".refused"))
            except OSError as stays:
                log.error("request_stays", file=str(file), error=str(stays))
            return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

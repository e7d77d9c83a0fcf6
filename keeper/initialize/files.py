"""Writing: nothing is overwritten unasked, and what is secret is for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import set_key

from keeper.core.errors import ConfigError

_OWNER_ONLY = 0o600


def check_free(file: Path, *, force: bool) -> None:
    """Before anything is asked. Raises ConfigError when the file is there and may not be replaced."""
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already; --force replaces it, --config names another")


def write_files(file: Path, text: str, secrets: Mapping[str, str], *, force: bool) -> None:
    """The variables first, so that the configuration never refers to what is not there. secrets: new variables only.

    Raises ConfigError when a file is there and may not be replaced, or cannot be written.
    """
    env_file = file.with_name(".env")
    check_free(file, force=force)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if secrets:
            os.close(os.open(env_file, os.O_CREAT | os.O_WRONLY, _OWNER_ONLY))
            env_file.chmod(_OWNER_ONLY)
            for name, value in secrets.items():
                set_key(env_file, name, value)
            env_file.chmod(_OWNER_ONLY)
        handle = os.open(file, os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if force else os.O_EXCL), 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        what = f"{error.filename or file} cannot be written ({error.strerror})"
        raise ConfigError(f"{what}; choose another place with --config") from error

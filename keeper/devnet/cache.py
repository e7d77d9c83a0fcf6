"""Where downloads and builds are kept. Content-addressed, written once, safe for several processes at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keeper


def cache_root() -> Path:
    """`$KEEPER_CACHE`, else `.cache` of the checkout this runs from, else the user's cache directory."""
    if configured := os.environ.get("KEEPER_CACHE"):
        return Path(configured).expanduser().resolve()
    checkout = Path(keeper.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keeper"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time in here; the others wait. Released by the kernel if the holder dies."""
    directory = cache_root() / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def published(destination: Path) -> Iterator[Path]:
    """A scratch directory that becomes `destination` in one rename, or leaves nothing when the block raises."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=destination.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(destination)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

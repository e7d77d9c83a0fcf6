"""A new SQLite file in the place of a damaged one, so that a kill at any instant is gone on with.

What a repair has read is a draft beside the database, whole and durable, before anything is moved. Its name says of
which file it was read, so that it can be put in the place of that file alone: not of a backup that came meanwhile, nor
of what a daemon has written since. A daemon does not start on a file with a draft: its log may be away already.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path


def draft_name(path: Path) -> Path:
    """What a draft read of this file, as it is now, is called."""
    state = path.stat()
    return path.with_name(f"{path.name}.repaired-{state.st_ino}-{state.st_size}-{state.st_mtime_ns}")


def draft_of(path: Path) -> Path | None:
    """The draft of a repair that was killed before the end of its swap. Where the database is gone, the newest one."""
    if path.exists():
        draft = draft_name(path)
        return draft if draft.exists() else None
    return max(_drafts(path), key=lambda draft: draft.stat().st_mtime_ns, default=None)


def finish(part: Path, draft: Path, path: Path) -> None:
    """Make what was written to `part` the draft, durably and alone: drafts of other files have nothing to say."""
    _settle(part)
    for old in _drafts(path):
        old.unlink()
    part.rename(draft)
    _sync_folder(path.parent)


def swap(path: Path, draft: Path, now: float) -> Path | None:
    """The damaged file and its log aside, the draft in their place. At any instant the file or the draft is there.

    now: unix seconds. Returns where the damaged file is, if there was one; the name that a swap which was killed had
    given it stays.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = _linked(path) or _free(path.with_name(f"{path.name}.damaged-{stamp}"))
    if path.exists() and not aside.exists():
        os.link(path, aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(f"{path.name}{suffix}")
        if companion.exists():
            companion.rename(_free(aside.with_name(f"{aside.name}{suffix}")))
    _sync_folder(path.parent)
    draft.replace(path)
    _sync_folder(path.parent)
    return aside if aside.exists() else None


def remove(path: Path) -> None:
    """A file that was begun, and what SQLite and the lease put beside it."""
    for one in (path, *_companions(path)):
        one.unlink(missing_ok=True)


def _drafts(path: Path) -> list[Path]:
    return [*_beside(path, ".repaired-")]


def _linked(path: Path) -> Path | None:
    """The second name that a swap gave this file."""
    if not path.exists():
        return None
    return next((one for one in _beside(path, ".damaged-") if one.samefile(path)), None)


def _beside(path: Path, infix: str) -> Iterator[Path]:
    if path.parent.is_dir():
        yield from (one for one in sorted(path.parent.iterdir()) if one.name.startswith(f"{path.name}{infix}"))


def _free(path: Path) -> Path:
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def _settle(path: Path) -> None:
    """All of it in the file itself, so that it can be moved without a log beside it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    for one in _companions(path):
        one.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _companions(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-journal", ".lock")]

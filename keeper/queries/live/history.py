"""Healths as they were, in a small SQLite file of its own beside the store: the daemon has nothing to do with it.

Kept while a web server runs: every so often, of the positions nearest to liquidation and of those with an open call.
Beside it stand the steps of each call, which the store keeps for every block in which one happened. One process writes
the file; a second one that serves the same store reads it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS samples (
    position INTEGER NOT NULL, at INTEGER NOT NULL, block INTEGER NOT NULL, health_wad TEXT,
    PRIMARY KEY (position, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS samples_by_time ON samples (at);
"""
MOST_POINTS = 2_000


class History:
    """every_s: between samples. keep_s: what is older is forgotten. positions: so many of the nearest are kept.

    All of it is a convenience: a file that cannot be written, or is damaged, is said once and done without.
    """

    def __init__(self, path: Path, *, every_s: float, keep_s: float, positions: int) -> None:
        self._path = path
        self._every_s = every_s
        self._keep_s = keep_s
        self.positions = positions
        self._database: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._last: int | None = None

    def open(self) -> None:
        """Become the writer of the file, or else its reader."""
        try:
            self._lock = _lock(self._path.with_name(f"{self._path.name}.lock"))
            if self._lock is not None:
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            mode = "rw" if self._lock is not None else "ro"
            self._database = sqlite3.connect(f"{self._path.as_uri()}?mode={mode}", uri=True, isolation_level=None)
            if self._lock is not None:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.executescript(_SCHEMA)
            (self._last,) = self._database.execute("SELECT max(at) FROM samples").fetchone()
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def is_due(self, now: int) -> bool:
        """Whether the moment of a block is one to keep. now: its timestamp."""
        due = self._last is None or now - self._last >= self._every_s or now < self._last
        return self._lock is not None and self._database is not None and due

    def keep(self, now: int, block: int, healths: Iterable[tuple[str, int | None]]) -> None:
        """A sample: position and health at a block, scaled by 1e18. Forgets what is too old."""
        if self._database is None:
            return
        try:
            with self._database as database:
                database.execute("BEGIN")
                for name, health_wad in healths:
                    database.execute("INSERT OR IGNORE INTO positions (name) VALUES (?)", (name,))
                    database.execute(
                        "INSERT OR REPLACE INTO samples SELECT id, ?, ?, ? FROM positions WHERE name = ?",
                        (now, block, None if health_wad is None else str(health_wad), name),
                    )
                database.execute("DELETE FROM samples WHERE at < ?", (int(now - self._keep_s),))
        except sqlite3.Error as error:
            self._give_up(error)
        self._last = now

    def of(self, position: str) -> list[Json]:
        """Oldest first."""
        if self._database is None:
            return []
        try:
            found: Sequence[tuple[int, int, str | None]] = self._database.execute(
                "SELECT at, block, health_wad FROM samples WHERE position = (SELECT id FROM positions WHERE name = ?) "
                "ORDER BY at DESC LIMIT ?",
                (position, MOST_POINTS),
            ).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []
        return [{"block_number": block, "timestamp": at, "health_wad": health} for at, block, health in found[::-1]]

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _give_up(self, error: Exception) -> None:
        remedy = "give this user write permission to its folder, or delete the file if it is damaged"
        log.warning("history_not_kept", file=str(self._path), error=str(error), remedy=remedy)
        self.close()


def _lock(path: Path) -> int | None:
    """None when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor

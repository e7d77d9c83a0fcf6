"""SQLite: the embedded default. One file, write-ahead log, every commit synced to disk.

`synchronous=FULL`: with NORMAL a power cut may take back commits that a write-ahead log had already reported, and with
them a transaction that was broadcast. The lease is a lock of the operating system on a file beside the database, so it
ends with its process however that ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Dialect

from keeper.core.errors import StoreCorrupt, StoreError, StoreInUse
from keeper.core.ownership import permission_wanted
from keeper.store.engine import Driver
from keeper.store.swap import draft_of

PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -16384",  # 16 MiB: the paths into a large tree; its leaves are in the system's own cache
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",  # bytes kept of a log that a long backfill made grow
)
_READ_AT_ONCE = 8 * 2**20  # what a disk serves in one go; with a megabyte it took seven times as long
_READ_AT_MOST = 2 * 2**30  # of a larger file the beginning might be gone from the cache when it is wanted
BUSY_TIMEOUT_S = 5.0  # readers never block a writer; this is for a backup tool that takes the write lock for a moment


class SqliteEngine:
    error: type[Exception] = sqlite3.Error
    begin = "BEGIN IMMEDIATE"
    begin_snapshot = "BEGIN DEFERRED"

    def __init__(self, url: URL) -> None:
        self.dialect: Dialect = sqlite.dialect(paramstyle="qmark")
        in_memory = url.database in (None, "", ":memory:")
        self._path = None if in_memory else Path(str(url.database)).absolute()
        self._lease: int | None = None
        self.label = str(self._path or "in-memory database")

    def connect(self, *, read_only: bool) -> Driver:
        if self._path is None:
            return sqlite3.connect(":memory:", isolation_level=None)
        is_there = _is_there(self._path)
        if read_only:
            if not is_there:
                raise StoreError(
                    f"no database at {self._path}: start `keeper run` or `keeper backfill` first, or correct store.url"
                )
            return self._connect(self._path, "ro")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lease = _lease(self._path)
            _refuse_half_repaired(self._path)
            _create(self._path)
            return self._connect(self._path, "rw")
        except OSError as error:
            self.release()
            raise StoreError(
                f"{self._path} is not writable ({error.strerror}): "
                "give this user write permission to the file and its directory, or correct store.url"
                f"{_denial(error, self._path)}"
            ) from None
        except StoreError:
            self.release()
            raise

    def _connect(self, path: Path, mode: str) -> Driver:
        if mode == "rw":
            _read_ahead(path)
        try:
            driver = sqlite3.connect(
                f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S
            )
            try:
                if mode == "rw":
                    _check(driver, path)
                for pragma in PRAGMAS:
                    driver.execute(pragma)
            except BaseException:
                driver.close()
                raise
        except sqlite3.Error as error:
            raise self.failure(error) from error
        return driver

    def failure(self, error: Exception) -> StoreError:
        kind = StoreCorrupt if _is_damage(error) else StoreError
        return kind(self.explain(error))

    def explain(self, error: Exception) -> str:
        name = str(getattr(error, "sqlite_errorname", ""))
        if _is_damage(error):
            return _corrupt(self.label, str(error))
        if name.startswith("SQLITE_FULL"):
            remedy = "free space on its disk and start again; nothing is half written"
        elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            remedy = "give this user write permission to the file and its directory"
            if self._path is not None and not os.access(self._path, os.R_OK | os.W_OK):
                remedy += f"; {permission_wanted(self._path)}"
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            remedy = "another program holds it locked; stop that program and start again"
        elif name.startswith("SQLITE_IOERR"):
            remedy = "its disk failed to read or write; check the disk and the system log"
        else:
            remedy = "this is a defect of Keeper; nothing of this transaction was kept"
        return f"{self.label}: {error} ({name or type(error).__name__}): {remedy}"

    def release(self) -> None:
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None


def _is_there(path: Path) -> bool:
    """Whether a file is. Raises StoreError for a directory, and where this user may not even look."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be looked at ({error.strerror}): {permission_wanted(path)}") from None
    if stat.S_ISDIR(kind):
        raise StoreError(f"{path} is a directory: correct store.url, it names a file")
    return True


def _denial(error: OSError, path: Path) -> str:
    if not isinstance(error, PermissionError):
        return ""
    return f"; {permission_wanted(Path(error.filename or path))}"


def _create(path: Path) -> None:
    """The file, readable by its owner alone; the log files inherit the mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with contextlib.suppress(OSError):  # not there, or another's, whom opening it will tell of
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the writer of a file without opening it. Raises StoreInUse, and StoreError where there is none."""
    if not _is_there(path) and draft_of(path) is None:
        raise StoreError(f"no database at {path}: correct store.url")
    descriptor = _lease(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lease(path: Path) -> int:
    """Lock a file beside the real database, so that no second path goes around it; it holds our pid."""
    lock = path.resolve().with_name(path.resolve().name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreInUse(
            f"{path} is in use by process {holder}: stop that daemon first, or give this one another store.url"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _refuse_half_repaired(path: Path) -> None:
    """Its log may be away already, and with it the newest commits, of which the file itself shows nothing."""
    draft = draft_of(path.resolve())
    if draft is not None:
        raise StoreCorrupt(
            f"{path}: a repair was killed before the new file was in its place: run `keeper repair`, which goes on "
            f"with it; to use another database instead, move {draft} away first"
        )


def _read_ahead(path: Path) -> None:
    """Pull the file into the system's cache from end to end. All of it is checked next, and most of it loaded, both in
    the order of a tree: from a cold disk page after page, which took forty times as long."""
    room = bytearray(_READ_AT_ONCE)
    with path.open("rb", buffering=0) as file:
        for _ in range(_READ_AT_MOST // _READ_AT_ONCE):
            if not file.readinto(room):
                return


def _check(driver: sqlite3.Connection, path: Path) -> None:
    (verdict,) = driver.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreCorrupt(_corrupt(str(path), str(verdict)))
    tables = {name for (name,) in driver.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "alembic_version" not in tables:
        return  # not ours: whoever looks at the schema next refuses it, and nothing in it may change before
    (mode,) = driver.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: its file system allows no write-ahead log (mode {mode}): use a local disk")


def _is_damage(error: Exception) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _corrupt(label: str, detail: str) -> str:
    detail = " ".join(detail.split())
    return (
        f"{label} is corrupt or no database ({detail}): restore a backup, or run `keeper repair`, which keeps what "
        "can be read of the record of notices and transactions and has the chain indexed anew"
    )

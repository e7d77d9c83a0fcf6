"""What of a store can be had again from the chain, and what cannot.

    from the chain       blocks, markets, prices, positions, and how far a backfill came: forgotten, and indexed anew
    from nowhere else    intents, signed transactions, notices, deliveries, the audit trail, episodes, observed
                         volatility, and what is in `meta`: kept, and out of a damaged file as much as can be read

Nothing here overwrites a damaged file: it is moved aside whole, with its log, once what was read of it is durable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from keeper.core.errors import StoreError
from keeper.store.database import Statement
from keeper.store.leaves import Pages, Span, pages_of
from keeper.store.opening import open_store
from keeper.store.schema import attempts, audit, deliveries, facts, intents, meta, notices
from keeper.store.sql import SqlStore
from keeper.store.sqlite import hold
from keeper.store.swap import draft_name, draft_of, finish, remove, swap

WORLD = (meta, intents, attempts, notices, deliveries, audit)
KEPT_KINDS = ("episode", "volatility")

_CLOSELY = 2**15  # row numbers; a page of 4 KiB holds some dozens of rows, seldom hundreds
_PARTS = [(number * 16).to_bytes(2, "big") for number in range(2**12)] + [b"\xff" * 64]  # beginnings of keys
_LONGEST = 2**42  # bytes that a header is believed to speak of
_NEWEST = (
    "SELECT f.protocol, f.kind, f.key, f.block_number, f.payload FROM facts f JOIN ("
    "SELECT protocol, kind, key, max(block_number) AS newest FROM facts WHERE kind IN ('episode', 'volatility') "
    "GROUP BY protocol, kind, key"
    ") n ON f.protocol = n.protocol AND f.kind = n.kind AND f.key = n.key AND f.block_number = n.newest"
)


@dataclass(slots=True)
class Salvaged:
    """kept: rows by table. lost: by table, how many rows could not be read; None where nothing that can be read tells.
    aside: where the damaged file is now."""

    kept: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int | None] = field(default_factory=dict)
    aside: Path | None = None


def forget_chain(store: SqlStore) -> Salvaged:
    """Forget everything that the chain can say again; of episodes and volatility the newest versions stay, as of a
    block that is final. All of it, or nothing."""
    database, kept = store.database, Salvaged()
    with store.transaction() as transaction:
        (lowest,) = database.row(_plain("SELECT min(number) FROM blocks")) or (None,)
        below = max(0, (lowest or 0) - 1)
        newest = [
            (protocol, kind, key, min(number, below), payload)
            for protocol, kind, key, number, payload in database.rows(_plain(_NEWEST))
            if payload is not None
        ]
        for table in ("facts", "blocks", "scans", "touches"):
            database.write(_plain(f"DELETE FROM {table}"))  # noqa: S608 - our own table names
        _insert_all(store, facts.name, ["protocol", "kind", "key", "block_number", "payload"], newest)
        for one in WORLD:
            (rows,) = database.row(_plain(f"SELECT count(*) FROM {one.name}")) or (0,)  # noqa: S608
            kept.kept[one.name] = int(rows)
        kept.kept["episodes"] = sum(kind == "episode" for _, kind, *_ in newest)
        transaction.audit("store", "repaired", {"kept": dict(kept.kept)}, at=time.time())
    return kept


def rescue(url: str, *, chain_id: int, clock: Any = time.time) -> Salvaged:
    """Make a new SQLite store of what can be read of a damaged one, in its place.

    A repair that was killed is gone on with: what was read is durable before anything is moved. It counts as long as
    the file is the one that it was read of, and untouched; otherwise this one is read.
    Raises StoreError where there is nothing to be read, StoreInUse while a daemon holds it.
    """
    path = Path(str(make_url(url).database)).resolve()
    with hold(path):
        found, draft = Salvaged(), draft_of(path)
        if draft is None:
            draft = draft_name(path)
            found = _read_into(path, draft, chain_id)
        found.aside = swap(path, draft, clock())
    return found


# --- reading what is damaged ------------------------------------------------------------------------------------------


def _read_into(path: Path, draft: Path, chain_id: int) -> Salvaged:
    found = Salvaged()
    part = path.with_name(f"{path.name}.repaired.part")
    remove(part)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.salvage-") as folder:
        copy = Path(folder) / path.name
        for source in (path, path.with_name(f"{path.name}-wal")):
            if source.exists():
                shutil.copyfile(source, copy.with_name(source.name))  # whoever opens a database may change its log
        _pad(copy)
        damaged = _open_damaged(copy, path)
        fresh = open_store(f"sqlite:///{part}", chain_id=chain_id)
        try:
            with fresh.transaction():
                for table in WORLD:
                    columns = _columns(damaged.connection, table.name, [column.name for column in table.columns])
                    rows = _rows(damaged, table.name, columns, found)
                    if table is meta:
                        rows = [row for row in rows if row[0] not in ("chain_id", "lease")]
                    _insert_all(fresh, table.name, columns, rows)
                    found.kept[table.name] = len(rows)
                kept = _episodes(damaged, found)
                _insert_all(fresh, facts.name, ["protocol", "kind", "key", "block_number", "payload"], kept)
                found.kept["episodes"] = sum(kind == "episode" for _, kind, *_ in kept)
        finally:
            fresh.close()
            damaged.connection.close()
    finish(part, draft, path)
    return found


def _pad(copy: Path) -> None:
    """As long as its header says: of a file that was cut off SQLite reads nothing, of one with empty pages the rest.
    Source: sqlite.org/fileformat.html, section 1.3 (page size at byte 16, pages at byte 28)."""
    with copy.open("rb") as file:
        header = file.read(100)
    page = int.from_bytes(header[16:18], "big")
    size = (65_536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if copy.stat().st_size < size <= _LONGEST:
        os.truncate(copy, size)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A copy that SQLite opens. pages: of its file, with all of its log in it."""

    connection: sqlite3.Connection
    pages: Pages

    def spans(self, table: str) -> Iterable[Span]:
        """Of all that a table may hold."""
        found = self.connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        return () if found is None else self.pages.spans(found[0])

    def count(self, table: str) -> int | None:
        """How many rows an index says that a table has; None where none can be read."""
        indexes = f"SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = '{table}' AND rootpage > 0"  # noqa: S608
        for (index,) in self.connection.execute(indexes).fetchall():
            with contextlib.suppress(sqlite3.Error):
                counted = f'SELECT count(*) FROM {table} INDEXED BY "{index}"'  # noqa: S608 - our own names
                (rows,) = self.connection.execute(counted).fetchone()
                return int(rows)
        return None

    def protocols(self) -> set[str]:
        """Names that the record speaks of; without those that cannot be read."""
        with contextlib.suppress(sqlite3.Error):
            return {name for (name,) in self.connection.execute("SELECT DISTINCT protocol FROM intents") if name}
        return set()


def _open_damaged(copy: Path, path: Path) -> Damaged:
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(
            f"nothing of {path} can be read ({error}): restore a backup, or move it away and start with an empty record"
        ) from error
    if "intents" not in tables:
        connection.close()
        raise StoreError(f"{path} holds no record of Keeper's: correct store.url, or restore a backup")
    return Damaged(connection, pages_of(copy))


def _columns(connection: sqlite3.Connection, table: str, wanted: list[str]) -> list[str]:
    """Those that a file of this, or of an older schema has."""
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    return [name for name in wanted if name in there]


def _rows(damaged: Damaged, table: str, columns: list[str], found: Salvaged) -> list[tuple[Any, ...]]:
    """Every row that can be read: leaf by leaf, and row by row where a leaf cannot be read at once."""
    if not columns:
        return []
    names = ", ".join(columns)
    many = f"SELECT {names} FROM {table} WHERE rowid BETWEEN ? AND ? ORDER BY rowid"  # noqa: S608 - our own names
    one = f"SELECT {names} FROM {table} WHERE rowid = ?"  # noqa: S608
    rows: list[tuple[Any, ...]] = []
    is_whole = True
    for span in damaged.spans(table):
        try:
            rows += damaged.connection.execute(many, (span.first, span.last)).fetchall()
        except sqlite3.Error:
            is_whole = False
            for number in _numbers(span):
                with contextlib.suppress(sqlite3.Error):
                    rows += damaged.connection.execute(one, (number,)).fetchall()
    if not is_whole:
        there = damaged.count(table)
        found.lost[table] = None if there is None else max(there - len(rows), 0)
    return rows


def _numbers(span: Span) -> Iterable[int]:
    """Row numbers that a leaf may hold: all that it can, unless numbers were left out, else those that it names."""
    first = max(span.first, 1)
    return range(first, span.last + 1) if span.last - first < _CLOSELY else sorted(set(span.rows))


def _episodes(damaged: Damaged, found: Salvaged) -> list[tuple[Any, ...]]:
    """Numbered 0: they are older than anything that is indexed from now on.

    A table without row numbers cannot be read past what is damaged, but from both ends of any part of it: where all of
    it cannot be read at once, it is read in as many parts as there are beginnings of a key.
    """
    newest: dict[tuple[str, str, bytes], tuple[int, bytes]] = {}

    def read(condition: str, values: tuple[Any, ...]) -> bool:
        """Whether all of it could be read; from its other end where not."""
        question = f"SELECT protocol, kind, key, block_number, payload FROM facts WHERE {condition}"  # noqa: S608
        for order in ("protocol, kind, key, block_number", "protocol DESC, kind DESC, key DESC, block_number DESC"):
            try:
                for protocol, kind, key, number, payload in damaged.connection.execute(
                    f"{question} ORDER BY {order}", values
                ):
                    known = newest.get((protocol, kind, key))
                    if payload is not None and (known is None or known[0] < number):
                        newest[protocol, kind, key] = number, payload
            except sqlite3.Error:
                continue
            return order == "protocol, kind, key, block_number"
        return False

    if not read("kind IN ('episode', 'volatility')", ()):
        found.lost["episodes"] = None
        for protocol in damaged.protocols() | {protocol for protocol, *_ in newest}:
            for kind in KEPT_KINDS:
                for bounds in pairwise(_PARTS):
                    read("protocol = ? AND kind = ? AND key >= ? AND key < ?", (protocol, kind, *bounds))
    return [(*key, 0, payload) for key, (_, payload) in newest.items()]


# --- statements -------------------------------------------------------------------------------------------------------


def _plain(text: str) -> Statement:
    from sqlalchemy import text as as_text

    return Statement(as_text(text))


def _insert_all(store: SqlStore, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    if rows and columns:
        marks = ", ".join(store.database.placeholder for _ in columns)
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
        store.database.driver.cursor().executemany(sql, rows)


def summary(found: Salvaged) -> Mapping[str, str]:
    """By table, in words."""
    said = {name: f"{rows} kept" for name, rows in found.kept.items()}
    for name, count in sorted(found.lost.items()):
        how_many = "some" if count is None else str(count)
        said[name] = f"{said.get(name, '')}, {how_many} could not be read".removeprefix(", ")
    return said

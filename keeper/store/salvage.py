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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from keeper.core.errors import StoreError
from keeper.store.database import Statement
from keeper.store.opening import open_store
from keeper.store.schema import attempts, audit, deliveries, facts, intents, meta, notices
from keeper.store.sql import SqlStore
from keeper.store.sqlite import hold
from keeper.store.swap import draft_name, draft_of, finish, remove, swap

WORLD = (meta, intents, attempts, notices, deliveries, audit)
KEPT_KINDS = ("episode", "volatility")

_MOST_ROWS = 2**40
_LAST_NUMBER = 2**62  # a greater one is itself damage
_CLOSELY = 2**15  # row numbers; a page of 4 KiB holds some dozens of rows, seldom hundreds
_LONGEST = 2**42  # bytes that a header is believed to speak of
_NEWEST = (
    "SELECT f.protocol, f.kind, f.key, f.block_number, f.payload FROM facts f JOIN ("
    "SELECT protocol, kind, key, max(block_number) AS newest FROM facts WHERE kind IN ('episode', 'volatility') "
    "GROUP BY protocol, kind, key"
    ") n ON f.protocol = n.protocol AND f.kind = n.kind AND f.key = n.key AND f.block_number = n.newest"
)


@dataclass(slots=True)
class Salvaged:
    """kept: rows by table. lost: tables of which some rows could not be read; how many, nobody can know. aside: where
    the damaged file is now."""

    kept: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
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
                    columns = _columns(damaged, table.name, [column.name for column in table.columns])
                    rows = [*_rows(damaged, table.name, columns, found)]
                    if table is meta:
                        rows = [row for row in rows if row[0] not in ("chain_id", "lease")]
                    _insert_all(fresh, table.name, columns, rows)
                    found.kept[table.name] = len(rows)
                kept = _episodes(damaged, found)
                _insert_all(fresh, facts.name, ["protocol", "kind", "key", "block_number", "payload"], kept)
                found.kept["episodes"] = sum(kind == "episode" for _, kind, *_ in kept)
        finally:
            fresh.close()
            damaged.close()
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


def _open_damaged(copy: Path, path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.execute("PRAGMA cell_size_check = ON")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(
            f"nothing of {path} can be read ({error}): restore a backup, or move it away and start with an empty record"
        ) from error
    if "intents" not in tables:
        connection.close()
        raise StoreError(f"{path} holds no record of Keeper's: correct store.url, or restore a backup")
    return connection


def _columns(connection: sqlite3.Connection, table: str, wanted: list[str]) -> list[str]:
    """Those that a file of this, or of an older schema has."""
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    return [name for name in wanted if name in there]


def _rows(connection: sqlite3.Connection, table: str, columns: list[str], found: Salvaged) -> Iterator[tuple[Any, ...]]:
    """Every row that can be read, by row number; over what cannot it is gone on at the next that can."""
    if not columns:
        return
    question = f"SELECT rowid, {', '.join(columns)} FROM {table} WHERE rowid >= ? ORDER BY rowid"  # noqa: S608
    following: int | None = 1
    while following is not None and following < _LAST_NUMBER:
        try:
            for row in connection.execute(question, (following,)):
                following = max(following, row[0] + 1)
                yield row[1:]
            return
        except sqlite3.Error:
            found.lost.add(table)
        in_hand = None  # the driver reads one row ahead, and drops the one before what it cannot read
        with contextlib.suppress(sqlite3.Error):
            in_hand = connection.execute(question.replace(">=", "="), (following,)).fetchone()
        if in_hand is not None:
            yield in_hand[1:]
        following = _next_readable(connection, table, following)


def _next_readable(connection: sqlite3.Connection, table: str, after: int) -> int | None:
    """The least row number above this from which on a table can be read, to its end perhaps; None where there is none.

    One by one as far as pages reach that lie beside one another, so that nothing between two damaged ones is missed; by
    doubling beyond.
    """
    question = f"SELECT rowid FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"  # noqa: S608 - our own names

    def is_broken(number: int) -> bool:
        try:
            connection.execute(question, (number,)).fetchone()
        except sqlite3.Error:
            return True
        return False

    for number in range(after + 1, after + _CLOSELY):
        if not is_broken(number):
            return number
    low, step = after + _CLOSELY - 1, _CLOSELY
    while is_broken(after + step):
        if step >= _MOST_ROWS:
            return None
        low, step = after + step, step * 2
    high = after + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_broken(middle) else (low, middle)
    return high


def _episodes(connection: sqlite3.Connection, found: Salvaged) -> list[tuple[Any, ...]]:
    """From both ends, since a table without row numbers cannot be read past what is damaged. Numbered 0: they are older
    than anything that is indexed from now on."""
    newest: dict[tuple[str, str, bytes], tuple[int, bytes]] = {}
    question = "SELECT protocol, kind, key, block_number, payload FROM facts WHERE kind IN ('episode', 'volatility')"
    for order in ("protocol, kind, key, block_number", "protocol DESC, kind DESC, key DESC, block_number DESC"):
        try:
            for protocol, kind, key, number, payload in connection.execute(f"{question} ORDER BY {order}"):
                known = newest.get((protocol, kind, key))
                if payload is not None and (known is None or known[0] < number):
                    newest[protocol, kind, key] = number, payload
        except sqlite3.Error:
            found.lost.add("episodes")
        else:
            break
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
    for name in sorted(found.lost):
        said[name] = f"{said.get(name, '')}, some could not be read".removeprefix(", ")
    return said

"""One open connection, and Core statements run on it at the driver's speed.

SQLAlchemy Core says what a statement is, once for both dialects; it is compiled when first used and from then on
executed on the driver's own connection. Going through Core's execution each time doubles the cost of a commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from keeper.core.errors import StoreError
from keeper.store.engine import Cursor, Driver, Engine, Row


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A Core statement and the names of its parameters in the order in which callers pass them."""

    clause: ClauseElement
    parameters: tuple[str, ...] = ()


class Database:
    """Runs statements, and one transaction at a time. Every error of the driver becomes a StoreError with a remedy."""

    def __init__(self, engine: Engine, driver: Driver) -> None:
        self.engine = engine
        self.driver = driver
        self._compiled: dict[Statement, tuple[str, Row]] = {}
        self._writing = False
        self._explained = _Explained(engine)

    @property
    def placeholder(self) -> str:
        """Of a parameter in a statement that is written out."""
        return "?" if self.engine.dialect.paramstyle == "qmark" else "%s"

    # --- statements

    def rows(self, statement: Statement, *values: Any) -> list[Row]:
        sql, constants = self._sql(statement)
        with self._explained:
            cursor = self.driver.cursor()
            cursor.execute(sql, values + constants)
            return cursor.fetchall()

    def row(self, statement: Statement, *values: Any) -> Row | None:
        sql, constants = self._sql(statement)
        with self._explained:
            cursor = self.driver.cursor()
            cursor.execute(sql, values + constants)
            found = cursor.fetchone()
            cursor.close()
            return found

    def write(self, statement: Statement, *values: Any) -> int:
        """Execute inside the open transaction; returns the number of rows it concerned."""
        sql, constants = self._sql(statement)
        with self._explained:
            cursor = self._writer()
            cursor.execute(sql, values + constants)
            return cursor.rowcount

    def write_many(self, statement: Statement, rows: Iterable[Row]) -> None:
        sql, _ = self._sql(statement)
        with self._explained:
            self._writer().executemany(sql, rows)

    # --- transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is durable when this returns, and gone when it raises."""
        if self._writing:
            raise StoreError("a transaction is already open on this connection: end it before starting another")
        self._control(self.engine.begin)
        self._writing = True
        try:
            yield
            self._control("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._writing = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside see one moment."""
        if self._writing:
            yield  # nobody else writes, and our own changes are to be seen
            return
        self._control(self.engine.begin_snapshot)
        try:
            yield
        finally:
            self._roll_back()

    def close(self) -> None:
        self.driver.close()
        self.engine.release()

    # --- inside

    def _sql(self, statement: Statement) -> tuple[str, Row]:
        """The text of a statement and the constants (a limit, an offset) that follow its parameters."""
        found = self._compiled.get(statement)
        if found is None:
            found = self._compiled[statement] = self._compile(statement)
        return found

    def _compile(self, statement: Statement) -> tuple[str, Row]:
        compiled = statement.clause.compile(dialect=self.engine.dialect)
        if not isinstance(compiled, SQLCompiler):
            raise TypeError(f"{compiled} takes no parameters")
        count = len(statement.parameters)
        names = tuple(compiled.positiontup or ())
        if names[:count] != statement.parameters:
            raise TypeError(f"{compiled} takes {names}, not {statement.parameters}")
        return str(compiled), tuple(compiled.params[name] for name in names[count:])

    def _writer(self) -> Cursor:
        if not self._writing:
            raise StoreError("nothing is written outside a transaction: use `with store.transaction()`")
        return self.driver.cursor()

    def _control(self, sql: str) -> None:
        with self._explained:
            self.driver.cursor().execute(sql)

    def _roll_back(self) -> None:
        # After some errors (a full disk, a lost connection) the engine has rolled back by itself and refuses to do it
        # twice; the error that brought us here is the one to tell.
        with suppress(self.engine.error):
            self.driver.cursor().execute("ROLLBACK")


class _Explained:
    """Around every use of the driver: its errors become StoreErrors. Made once, since a generator made for each
    statement costs as much as a small statement."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._engine.error):
            raise self._engine.failure(error) from error

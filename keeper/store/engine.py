"""What the store asks of a database engine; `sqlite.py` and `postgres.py` are the only places that know one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy.engine import Dialect

from keeper.core.errors import StoreError

Row = tuple[Any, ...]


class Cursor(Protocol):
    """A DB-API cursor."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> object: ...
    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object: ...
    def fetchone(self) -> Row | None: ...
    def fetchall(self) -> list[Row]: ...
    def close(self) -> None: ...


class Driver(Protocol):
    """A DB-API connection in autocommit mode: transactions begin and end by statements of ours."""

    def cursor(self) -> Cursor: ...
    def close(self) -> None: ...


class Engine(Protocol):
    """One database, not yet opened.

    label: what messages call it, without credentials. error: the root of the driver's exceptions.
    begin, begin_snapshot: the statements that start a writing transaction, and one whose reads see one moment.
    """

    label: str
    dialect: Dialect
    error: type[Exception]
    begin: str
    begin_snapshot: str

    def connect(self, *, read_only: bool) -> Driver:
        """Open it. A writer creates what is missing, takes the lease and checks the file; a reader needs no lease.

        Raises StoreError with the remedy when that cannot be.
        """
        ...

    def failure(self, error: Exception) -> StoreError:
        """A driver's error as one of ours, with `explain` as its message."""
        ...

    def explain(self, error: Exception) -> str:
        """A driver's error in words, with what to do about it."""
        ...

    def release(self) -> None:
        """Give up the lease, after the connection was closed."""
        ...

"""PostgreSQL, for deployments that keep their state off the machine. Needs the extra `keeper[postgres]` (psycopg 3).

The lease is an advisory lock of the session, one per schema: it ends when the connection does, so a standby that waits
for it takes over as soon as the server has seen the holder go.
"""

from __future__ import annotations

import importlib
import os
import socket

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Dialect

from keeper.core.errors import StoreError, StoreInUse
from keeper.store.engine import Cursor, Driver

LEASE_CLASS = 0x6B656570  # "keep"
CONNECT_TIMEOUT_S = 10

VANISHED = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
"""Seconds and probes after which the server gives up a connection whose other end is gone, and the lease with it."""

TAKE_LEASE = f"SELECT pg_try_advisory_lock({LEASE_CLASS}, hashtext(current_schema()))"
HOLDER = f"""
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = {LEASE_CLASS}
      AND objid = (hashtext(current_schema())::bigint & 4294967295)::oid
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - the only inserted value is the constant above


class PostgresEngine:
    begin = "BEGIN"
    begin_snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: URL) -> None:
        try:
            self._psycopg = importlib.import_module("psycopg")
        except ImportError:
            raise StoreError(
                "a PostgreSQL store needs psycopg, which is not installed: pip install 'keeper[postgres]'"
            ) from None
        self.dialect: Dialect = create_engine(url.set(drivername="postgresql+psycopg"), paramstyle="format").dialect
        self.error: type[Exception] = self._psycopg.Error
        self._url = url
        self.label = url.set(password=None).render_as_string()

    def connect(self, *, read_only: bool) -> Driver:
        arguments, keywords = self.dialect.create_connect_args(self._url)
        keywords = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": f"keeper, process {os.getpid()} on {socket.gethostname()}",
            **keywords,
        }
        try:
            driver: Driver = self._psycopg.connect(*arguments, **keywords, autocommit=True)
        except self.error as error:
            raise StoreError(self.explain(error)) from error
        cursor = driver.cursor()
        try:
            if read_only:
                cursor.execute("SET default_transaction_read_only = on")
            else:
                for setting, value in VANISHED.items():
                    cursor.execute(f"SET {setting} = {value}")
                self._take_lease(cursor)
        except BaseException:
            driver.close()
            raise
        return driver

    def _take_lease(self, cursor: Cursor) -> None:
        cursor.execute(TAKE_LEASE)
        if cursor.fetchone() == (True,):
            return
        cursor.execute(HOLDER)
        holder = cursor.fetchone()
        raise StoreInUse(
            f"{self.label} is in use by {holder[0] if holder else 'another session'}: "
            "stop that daemon first, or give this one another store.url"
        )

    def failure(self, error: Exception) -> StoreError:
        return StoreError(self.explain(error))

    def explain(self, error: Exception) -> str:
        state = getattr(error, "sqlstate", None)
        if isinstance(error, self._psycopg.OperationalError):
            remedy = "check that the server runs, and store.url"
        elif state == "42501":
            remedy = "grant this user the right to create and write tables in its schema"
        else:
            remedy = "this is a defect of Keeper; nothing of this transaction was kept"
        return f"{self.label}: {str(error).strip()} ({state or type(error).__name__}): {remedy}"

    def release(self) -> None:
        """The lease went with the connection."""

"""The databases that a store must be right on: SQLite always, PostgreSQL when KEEPER_TEST_POSTGRES_URL names one."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from keeper.store import SqlStore, open_store

CHAIN_ID = 31337
SERVER = os.environ.get("KEEPER_TEST_POSTGRES_URL")
Opener = Callable[..., SqlStore]
Databases = Callable[[], "contextmanager[Opener]"]

_numbers = itertools.count()


@pytest.fixture(scope="session", params=["sqlite", "postgres"] if SERVER else ["sqlite"])
def fresh_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """A context manager: an empty database of the kind, opened by calling what it gives as often as one likes."""
    if request.param == "sqlite":
        template = tmp_path_factory.mktemp("template") / "keeper.db"
        open_store(f"sqlite:///{template}", chain_id=CHAIN_ID).close()
        return lambda: _sqlite(tmp_path_factory.mktemp("store") / "keeper.db", template)
    return _postgres


@pytest.fixture
def database(fresh_database: Databases) -> Iterator[Opener]:
    with fresh_database() as opener:
        yield opener


@pytest.fixture
def store(database: Opener) -> Iterator[SqlStore]:
    opened = database()
    yield opened
    opened.close()


@contextmanager
def _sqlite(path: Path, template: Path) -> Iterator[Opener]:
    """Migrated once and copied: property tests need a hundred of them."""
    shutil.copy(template, path)
    yield _opener(f"sqlite:///{path}")
    shutil.rmtree(path.parent)


@contextmanager
def _postgres() -> Iterator[Opener]:
    """A schema of its own in the given database."""
    schema = f"keeper_test_{os.getpid()}_{next(_numbers)}"
    url = make_url(SERVER or "").set(drivername="postgresql+psycopg")
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        yield _opener(url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(False))
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


def _opener(url: str) -> Opener:
    def opener(*, chain_id: int = CHAIN_ID, read_only: bool = False) -> SqlStore:
        return open_store(url, chain_id=chain_id, read_only=read_only)

    return opener

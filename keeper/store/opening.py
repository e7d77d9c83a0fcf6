"""Opening a store: create or check the database, migrate its schema, and make sure that it is this chain's."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import StaticPool

from keeper.core.errors import StoreError
from keeper.store import migrations
from keeper.store.database import Database
from keeper.store.engine import Driver, Engine
from keeper.store.postgres import PostgresEngine
from keeper.store.schema import REVISION
from keeper.store.sql import SqlStore
from keeper.store.sqlite import SqliteEngine

CHAIN_ID = "chain_id"


def open_store(url: str, *, chain_id: int, read_only: bool = False) -> SqlStore:
    """The store at a database URL (`sqlite:///path`, `sqlite://` for memory, `postgresql://…`), ready for use.

    A writer creates and migrates what it finds, and keeps every other writer out until closed. read_only changes
    nothing and may be opened beside a running daemon.
    Raises StoreError with its remedy on a database that is missing (read_only), corrupt, of another program, of another
    chain, newer than this program, not writable, or held by another writer.
    """
    engine = _engine(url)
    driver = engine.connect(read_only=read_only)
    try:
        _prepare_schema(engine, driver, read_only=read_only)
        store = SqlStore(Database(engine, driver), read_only=read_only)
        _claim_chain(store, engine, chain_id, read_only=read_only)
        if not read_only:
            store.take_lease()
    except BaseException:
        driver.close()
        engine.release()
        raise
    return store


def _engine(text: str) -> Engine:
    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreError(f"{text!r} is not a database URL: write store.url as sqlite:///path/to/keeper.db") from None
    if url.get_backend_name() == "sqlite":
        return SqliteEngine(url)
    if url.get_backend_name() == "postgresql":
        return PostgresEngine(url)
    raise StoreError(f"no store speaks {url.drivername!r}: use sqlite:///path or postgresql://user@host/database")


# --- schema -----------------------------------------------------------------------------------------------------------


def _prepare_schema(engine: Engine, driver: Driver, *, read_only: bool) -> None:
    """Bring the schema to this program's revision, all of it in one transaction."""
    url = URL.create(f"{engine.dialect.name}+{engine.dialect.driver}")
    alchemy = create_engine(url, creator=lambda: driver, poolclass=StaticPool)
    try:
        with alchemy.connect() as connection:
            found = _revision(engine, connection)
            if found == REVISION:
                return
            if read_only:
                raise StoreError(
                    f"{engine.label} has schema {found or 'none'}, this program reads {REVISION}: "
                    "start `keeper run` once, it migrates the database"
                )
        with alchemy.begin() as connection:
            connection.exec_driver_sql(engine.begin)
            _upgrade(connection)
    except DBAPIError as error:
        raise engine.failure(error.orig if isinstance(error.orig, Exception) else error) from error


def _revision(engine: Engine, connection: Connection) -> str | None:
    """None for an empty database. Raises StoreError on one that is not ours or newer than we are."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables or "facts" not in tables:
        raise StoreError(
            f"{engine.label} is not a Keeper database (it holds {', '.join(sorted(tables)[:3])}): correct store.url"
        )
    revision = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
    if revision > REVISION:
        raise StoreError(
            f"{engine.label} has schema {revision}, newer than the {REVISION} of this program: "
            "install the Keeper that wrote it or a newer one, or use another store.url"
        )
    return revision


def _upgrade(connection: Connection) -> None:
    from alembic import command  # only a first start and an upgrade pay for its import
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


# --- chain ------------------------------------------------------------------------------------------------------------


def _claim_chain(store: SqlStore, engine: Engine, chain_id: int, *, read_only: bool) -> None:
    """A store is of the chain of which it holds anything, and of whichever is configured until then."""
    if store.meta(CHAIN_ID) == str(chain_id):
        return
    if read_only:
        with store.snapshot():
            _refuse_another_chain(store, engine, chain_id)
        return
    with store.transaction() as transaction:
        _refuse_another_chain(store, engine, chain_id)
        transaction.set_meta(CHAIN_ID, str(chain_id))


def _refuse_another_chain(store: SqlStore, engine: Engine, chain_id: int) -> None:
    if store.holds_chain():
        raise StoreError(
            f"{engine.label} belongs to chain {store.meta(CHAIN_ID) or 'unknown'}, the configuration says {chain_id}: "
            "correct chain.id, or give each chain its own store.url"
        )

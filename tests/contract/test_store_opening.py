"""What a store refuses to open, each with the remedy in its message; and how it leaves files behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from keeper.core.errors import StoreError, StoreInUse
from keeper.core.records import IntentStatus, NoticeEvent
from keeper.store import migrations, open_store
from keeper.store.encoding import intent_row
from keeper.store.schema import REVISION, metadata
from keeper.store.transaction import SqlTransaction
from tests.contract.conftest import CHAIN_ID, Opener
from tests.support.store_work import KEYS, commit, committed, intent, notice, position


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was used and closed."""
    path = tmp_path / "keeper.db"
    store = open_store(f"sqlite:///{path}", chain_id=CHAIN_ID)
    with store.transaction() as transaction:
        transaction.commit_block(committed(1, *(position(bytes([n]) * 20, b"x" * 900) for n in range(200))))
    store.close()
    return path


def open_at(path: Path, *, chain_id: int = CHAIN_ID, read_only: bool = False):
    return open_store(f"sqlite:///{path}", chain_id=chain_id, read_only=read_only)


# --- every database ---------------------------------------------------------------------------------------------------


OF_A_CHAIN: dict[str, Callable[[SqlTransaction], object]] = {
    "a block": lambda tx: tx.commit_block(committed(1)),
    "a scan that found nothing": lambda tx: tx.add_touches("aave", (), scanned_to=10),
    "an episode that a repair kept": lambda tx: tx._put_facts(committed(1, position(KEYS[0], b"open", "episode"))),
    "an intent": lambda tx: tx.put_intent(intent("i")),
    "a notice to an owner": lambda tx: tx.add_notice(notice("n", 1), ("hook",), 0.0),
}
"""What a store may hold of a chain, one at a time."""


@pytest.mark.parametrize("held", OF_A_CHAIN)
def test_another_chain_is_refused(database: Opener, held: str):
    """One chain, one store: facts of two chains would be taken for a reorg."""
    store = database()
    with store.transaction() as transaction:
        OF_A_CHAIN[held](transaction)
    store.close()
    for read_only in (False, True):
        with pytest.raises(
            StoreError, match=f"belongs to chain {CHAIN_ID}, the configuration says 1: correct chain.id"
        ):
            database(chain_id=1, read_only=read_only)
    database().close()


def test_a_store_that_holds_nothing_of_a_chain_is_of_the_one_that_is_configured(database: Opener):
    """A slip in chain.id is found when a node is asked, after the store was made: mending it must be enough. What was
    said of the deployment itself, that no node answers, is of no chain."""
    store = database()
    with store.transaction() as transaction:
        transaction.set_meta("paused", "yes")
        transaction.add_notice(notice("n", 0, NoticeEvent.UNHEALTHY, account=b"", protocol="operator"), ("hook",), 0.0)
    store.close()
    reader = database(chain_id=1, read_only=True)
    assert (reader.cursor(), reader.meta("chain_id")) == (None, str(CHAIN_ID))
    reader.close()
    mended = database(chain_id=1)
    commit(mended, committed(1))
    assert (mended.meta("chain_id"), mended.meta("paused")) == ("1", "yes")
    mended.close()
    with pytest.raises(StoreError, match=f"belongs to chain 1, the configuration says {CHAIN_ID}"):
        database()


def test_a_second_writer_is_refused_and_told_who_holds_it(database: Opener):
    """Two daemons on one store would send everything twice."""
    first = database()
    with pytest.raises(StoreError, match=rf"in use by .*process {os.getpid()}\b.*: stop that daemon first"):
        database()
    first.close()
    database().close()


def test_a_newer_schema_is_refused(database: Opener):
    """A newer Keeper may have changed what a row means."""
    store = database()
    with store._db.transaction():
        store._db.driver.cursor().execute("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"schema 9999, newer than the {REVISION} of this program: install"):
            database(read_only=read_only)


def test_migrations_build_the_declared_schema(tmp_path):
    """Statements are written against `schema`, databases are built by migrations: they must agree, names included."""
    path = tmp_path / "keeper.db"
    open_at(path).close()
    with create_engine(f"sqlite:///{path}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        (revision,) = connection.exec_driver_sql("SELECT version_num FROM alembic_version").one()
    assert revision == REVISION


def test_a_journal_of_an_older_schema_is_migrated_with_all_that_it_holds(tmp_path):
    """What was sent before an upgrade of the program is still ours to watch."""
    path = tmp_path / "keeper.db"
    held = intent("i", IntentStatus.BROADCAST)
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.exec_driver_sql("INSERT INTO meta VALUES ('chain_id', ?)", (str(CHAIN_ID),))
        row = intent_row(held)[:-1]
        connection.exec_driver_sql(f"INSERT INTO intents VALUES ({', '.join('?' * len(row))})", row)
    store = open_at(path)
    assert list(store.intents()) == [replace(held, attempts=())]
    store.close()


@pytest.mark.parametrize("url", ["keeper.db", "mysql://localhost/keeper", "sqlite//keeper.db", ""])
def test_a_url_of_no_known_database_is_refused(url):
    """The message shows what to write."""
    with pytest.raises(StoreError, match="sqlite:///path"):
        open_store(url, chain_id=1)


def test_a_password_is_not_shown():
    """Messages end up in logs."""
    with pytest.raises(StoreError) as caught:
        open_store("mysql://keeper:hunter2@localhost/keeper", chain_id=1)
    assert "hunter2" not in str(caught.value)


# --- SQLite -----------------------------------------------------------------------------------------------------------


def test_directories_and_files_are_made_for_the_owner_alone(tmp_path):
    """The journal holds what others would pay to know before it is mined."""
    path = tmp_path / "var" / "lib" / "keeper.db"
    store = open_at(path)
    with store.transaction() as transaction:
        transaction.set_meta("greeting", "one")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) == {"keeper.db", "keeper.db-wal", "keeper.db-shm", "keeper.db.lock"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_every_commit_is_synced(path):
    """A log whose commits a power cut may take back would forget a broadcast transaction."""
    store = open_at(path)
    pragma = {name: store._db.driver.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous")}
    assert pragma == {"journal_mode": ("wal",), "synchronous": (2,)}
    store.close()


def test_a_reader_needs_a_database(tmp_path):
    """`keeper health` before anything was indexed creates nothing and says what to start."""
    with pytest.raises(StoreError, match=r"no database at .*: start `keeper run` or `keeper backfill` first"):
        open_at(tmp_path / "none.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_opens_a_store_that_nobody_holds(path):
    """After the daemon stopped its records are still to be read."""
    reader = open_at(path, read_only=True)
    assert reader.cursor().number == 1
    reader.close()


def test_a_reader_does_not_migrate(tmp_path):
    """An empty file has no schema, and giving it one is a writer's work."""
    (tmp_path / "keeper.db").touch()
    with pytest.raises(StoreError, match=r"has schema none, this program reads .*: start `keeper run` once"):
        open_at(tmp_path / "keeper.db", read_only=True)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_refused(tmp_path, read_only):
    """And left as it was."""
    path = tmp_path / "keeper.db"
    path.write_bytes(b"[store]\nurl = 'not this file'\n" * 40)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"corrupt or no database .*: restore a backup"):
        open_at(path, read_only=read_only)
    assert path.read_bytes() == before


def test_a_damaged_page_is_found_at_the_start(path):
    """Not days later, when the page happens to be read."""
    with path.open("r+b") as file:
        file.seek(4096 * (path.stat().st_size // 4096 // 2))
        file.write(b"\xff" * 8192)
    with pytest.raises(StoreError, match=r"is corrupt .*: restore a backup"):
        open_at(path)


def test_a_truncated_file_is_found_at_the_start(path):
    """A copy that was cut short is no backup."""
    os.truncate(path, path.stat().st_size // 8192 * 4096)
    with pytest.raises(StoreError, match=r"is corrupt .*: restore a backup"):
        open_at(path)


def test_a_refused_store_is_released(path):
    """Once the cause is mended, the same process can open it."""
    with pytest.raises(StoreError, match="belongs to chain"):
        open_at(path, chain_id=1)
    open_at(path).close()


def test_another_programs_database_is_refused(tmp_path):
    """A wrong path must not grow our tables in somebody else's file."""
    path = tmp_path / "places.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    with pytest.raises(StoreError, match=r"is not a Keeper database .it holds bookmarks.: correct store.url"):
        open_at(path)


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    """All revisions are one transaction, so that the old program can still run."""
    from alembic import op

    def fail(*_arguments: object) -> None:
        raise RuntimeError("the last table of the migration")

    monkeypatch.setattr(op, "create_index", fail)
    with pytest.raises(RuntimeError):
        open_at(tmp_path / "keeper.db")
    tables = sqlite3.connect(tmp_path / "keeper.db").execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == []
    monkeypatch.undo()
    open_at(tmp_path / "keeper.db").close()


def test_a_second_path_to_the_same_file_is_no_way_around_the_lease(path, tmp_path):
    """A symbolic link leads to the same lock."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    first = open_at(path)
    with pytest.raises(StoreError, match="in use by process"):
        open_at(link)
    first.close()


def test_the_lease_ends_with_its_process(path):
    """After kill -9 the next start is not locked out."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match=f"in use by process {child.pid}:"):
        open_at(path)
    child.kill()
    child.communicate()
    open_at(path).close()


_HOLD = textwrap.dedent(
    f"""
    import sys, time
    from keeper.store import open_store
    store = open_store(f"sqlite:///{{sys.argv[1]}}", chain_id={CHAIN_ID})
    print("held", flush=True)
    time.sleep(60)
    """
)


@pytest.fixture
def shared_directory():
    """A directory that another user may reach, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("what", ["directory", "file"])
def test_a_place_without_write_permission_is_refused(shared_directory, what):
    """Asked as a user whom permissions bind."""
    path = shared_directory / "keeper.db"
    if what == "file":
        open_at(path).close()
        path.chmod(0o444)
    shared_directory.chmod(0o555)
    answer = subprocess.run(
        [sys.executable, "-c", _OPEN_AS_NOBODY, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert answer.stdout.startswith(f"{path} is not writable"), answer.stderr
    assert "give this user write permission to the file and its directory" in answer.stdout


_OPEN_AS_NOBODY = textwrap.dedent(
    f"""
    import os, sys
    from keeper.core.errors import StoreError, StoreInUse
    from keeper.store import open_store
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        open_store(f"sqlite:///{{sys.argv[1]}}", chain_id={CHAIN_ID})
    except StoreError as error:
        print(error)
    """
)


def test_a_full_disk_undoes_the_transaction(path):
    """The store stays as it was, usable again once there is space."""
    store = open_at(path)
    (pages,) = store._db.driver.execute("PRAGMA page_count").fetchone()
    store._db.driver.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="free space on its disk"), store.transaction() as transaction:
        transaction.commit_block(committed(2, *(position(bytes([n]) * 20, b"x" * 9000) for n in range(200))))
    assert store.cursor().number == 1
    store._db.driver.execute("PRAGMA max_page_count = 1000000")
    with store.transaction() as transaction:
        transaction.commit_block(committed(2))
    store.close()


# --- the lease


def test_each_writer_begins_a_new_term(database: Opener):
    """Whoever reads sees who writes, or wrote last."""
    first = database()
    term = first.lease().term
    reader = database(read_only=True)
    assert reader.lease() == first.lease()
    assert f"process {os.getpid()} on " in first.lease().holder
    reader.close()
    first.close()
    second = database()
    assert second.lease().term == term + 1
    second.close()


def test_a_writer_that_was_taken_over_from_writes_nothing_more(database: Opener, monkeypatch):
    """Where a file system or a pooler lets two hold the lock, the later one wins and the earlier one finds out."""
    from keeper.store import postgres, sqlite

    monkeypatch.setattr(sqlite, "_lease", lambda path: os.open(path, os.O_RDONLY))
    monkeypatch.setattr(postgres, "TAKE_LEASE", "SELECT true")
    first = database()
    with first.transaction() as transaction:
        transaction.set_meta("said", "first")
    second = database()
    by = r"taken over by process \d+ on .* \(term \d+\): this process writes nothing"
    with pytest.raises(StoreInUse, match=by), first.transaction() as transaction:
        transaction.set_meta("said", "first again")
    assert second.meta("said") == "first"
    with second.transaction() as transaction:
        transaction.set_meta("said", "second")
    first.close()
    assert second.meta("said") == "second"
    second.close()

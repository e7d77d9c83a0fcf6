"""What a repair forgets and what it keeps; and how much of the record it gets out of a damaged file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keeper.core.errors import StoreCorrupt, StoreError, StoreInUse
from keeper.core.records import DeliveryStatus, Intent, IntentStatus
from keeper.store import SqlStore, open_store
from keeper.store.salvage import forget_chain, rescue, summary
from tests.contract.conftest import CHAIN_ID, Opener
from tests.support.store_work import KEYS, block, commit, committed, intent, notice, position, settle, tell

INTENTS, NOTICES = 300, 200
PAGE = 4096


def world_of(store: SqlStore) -> dict[str, object]:
    """Everything that the chain cannot tell again."""
    return {
        "intents": sorted(store.intents(), key=lambda one: one.id),
        "deliveries": store.deliveries(),
        "told": dict(store.told()),
        "audit": [(entry.at, entry.subject, entry.event) for entry in store.audit() if entry.subject != "store"],
        "breakers": store.meta("breakers"),
        "episode": store.fact("aave", "episode", KEYS[0]),
    }


def fill(store: SqlStore) -> None:
    commit(
        store,
        committed(7, position(KEYS[0], b"old"), position(KEYS[0], b"opened", "episode")),
        committed(
            8, position(KEYS[0], b"new"), position(KEYS[0], b"deeper", "episode"), position(b"m", b"m", "market")
        ),
    )
    with store.transaction() as transaction:
        transaction.add_touches("aave", [KEYS[1]], 8)
        transaction.set_meta("breakers", "tripped")
        for number in range(INTENTS):
            transaction.put_intent(intent(f"i{number}", IntentStatus.BROADCAST))
    tell(store, *(notice(f"n{number}", 8, of=f"aave:0x{number}") for number in range(NOTICES)))
    settle(store, "n0", DeliveryStatus.SENT)


# --- a whole database


def test_what_the_chain_says_is_forgotten_and_all_else_kept(database: Opener):
    store = database()
    fill(store)
    before = world_of(store)
    found = forget_chain(store)
    assert store.cursor() is None and list(store.blocks()) == []
    assert dict(store.facts("aave", "position")) == dict(store.facts("aave", "market")) == {}
    assert store.scanned_to("aave") is None and list(store.touches("aave")) == []
    assert world_of(store) == before
    assert before["episode"] == b"deeper"
    assert found.kept["intents"] == INTENTS and found.kept["notices"] == NOTICES and found.kept["episodes"] == 1
    assert [entry.event for entry in store.audit("store")] == ["repaired"]
    store.close()


def test_it_is_indexed_anew_from_a_final_block_on(database: Opener):
    """What was kept counts as older than that block, so a reorg to it takes none of it back."""
    store = database()
    fill(store)
    forget_chain(store)
    with store.transaction() as transaction:
        transaction.advance(committed(7, position(KEYS[0], b"again")))
    commit(store, committed(8, position(KEYS[0], b"cured", "episode")))
    assert store.fact("aave", "episode", KEYS[0]) == b"cured"
    with store.transaction() as transaction:
        transaction.revert_to(block(7).ref)
    assert store.fact("aave", "episode", KEYS[0]) == b"deeper"
    assert store.fact("aave", "position", KEYS[0]) == b"again"
    store.close()


def test_a_repair_that_fails_changes_nothing(database: Opener, monkeypatch):
    store = database()
    fill(store)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr("keeper.store.salvage._insert_all", fail)
    with pytest.raises(RuntimeError):
        forget_chain(store)
    assert store.cursor() == block(8).ref
    assert dict(store.facts("aave", "position")) == {KEYS[0]: b"new"}
    store.close()


# --- a damaged file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.db"
    store = open_at(path)
    fill(store)
    store.close()
    return path


def open_at(path: Path) -> SqlStore:
    return open_store(f"sqlite:///{path}", chain_id=CHAIN_ID)


def pages_of(path: Path, table: str) -> list[int]:
    """Numbers of the pages that hold a table's rows, in order."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (table,))
        return [number for (number,) in rows]


def damage(path: Path, *pages: int) -> bytes:
    with path.open("r+b") as file:
        for number in pages:
            file.seek((number - 1) * PAGE)
            file.write(b"\xff" * PAGE)
    return path.read_bytes()


def test_a_damaged_index_of_the_chain_costs_nothing_of_the_record(path: Path):
    """The new file has all of it; the damaged one is moved aside as it was."""
    store = open_at(path)
    before = world_of(store)
    store.close()
    spoiled = damage(path, *pages_of(path, "blocks"), *pages_of(path, "touches"))
    with pytest.raises(StoreCorrupt, match="or run `keeper repair`"):
        open_at(path)
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    assert found.lost == {}
    assert found.aside is not None and found.aside.read_bytes() == spoiled
    store = open_at(path)
    assert world_of(store) == before
    assert store.cursor() is None
    store.close()


def test_around_damaged_pages_every_other_row_is_read(path: Path):
    pages = pages_of(path, "intents")
    assert len(pages) > 5
    damage(path, pages[2])
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store = open_at(path)
    kept = {one.id for one in store.intents()}
    assert INTENTS - 40 < len(kept) < INTENTS
    assert found.kept["intents"] == len(kept) and found.lost == {"intents": INTENTS - len(kept)}
    assert summary(found)["intents"] == f"{len(kept)} kept, {INTENTS - len(kept)} could not be read"
    assert len(store.deliveries()) == NOTICES
    store.close()


def readable(path: Path, table: str, numbers: range) -> list[str]:
    """Keys of the rows that can be read one by one."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        for number in numbers:
            with contextlib.suppress(sqlite3.Error):
                found += connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (number,)).fetchall()
    return [row[0] for row in found]


@pytest.mark.parametrize(
    "places",
    [(-2,), (-1,), (0,), (-6, -4, -2), (1, 2, 3, -3), (0, -1)],
    ids=["last but one", "last", "first", "every other", "neighbours", "both ends"],
)
def test_every_row_that_can_be_read_one_by_one_is_taken_over_once(path: Path, places: tuple[int, ...]):
    """Also the last before a damaged page, and the newest, behind it."""
    pages = pages_of(path, "intents")
    damage(path, *(pages[place] for place in places))
    expected = readable(path, "intents", range(1, INTENTS + 100))
    assert 0 < len(expected) < INTENTS
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store = open_at(path)
    assert sorted(one.id for one in store.intents()) == sorted(expected)
    assert found.kept["intents"] == len(expected) and found.lost == {"intents": INTENTS - len(expected)}
    store.close()


def test_a_page_of_few_rows_between_two_damaged_ones_is_read(path: Path):
    """And behind numbers that were never given, or whose rows are gone."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE intents SET plan = json_quote(printf('%.*c', 1700, 'x')) WHERE rowid BETWEEN 100 AND 105"
        )
        connection.execute("UPDATE intents SET rowid = rowid + 7000 WHERE rowid > 250")
        connection.commit()
    pages = pages_of(path, "intents")
    for damaged in (pages[0::2], pages[1::2], pages[-1:]):
        kept = path.with_name(f"kept-{damaged[0]}.db")
        kept.write_bytes(path.read_bytes())
        damage(kept, *damaged)
        expected = readable(kept, "intents", range(1, 8_000))
        rescue(f"sqlite:///{kept}", chain_id=CHAIN_ID)
        store = open_at(kept)
        assert sorted(one.id for one in store.intents()) == sorted(expected)
        store.close()


def test_between_damaged_pages_far_apart_in_number_nothing_is_skipped(path: Path):
    """Where row numbers have gaps, of years of what is forgotten, a page reaches over far more than it holds; and an
    upper page that is damaged hides what is below it, not what is beside it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE intents SET rowid = -rowid")
        connection.execute("UPDATE intents SET rowid = rowid * -1000000007")
        connection.commit()
        numbers = [number for (number,) in connection.execute("SELECT rowid FROM intents")]
    pages = pages_of(path, "intents")
    damage(path, *pages[1::3])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cell_size_check = ON")
        expected = []
        for number in numbers:
            with contextlib.suppress(sqlite3.Error):
                expected += connection.execute("SELECT id FROM intents WHERE rowid = ?", (number,)).fetchall()
    assert INTENTS // 2 < len(expected) < INTENTS
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store = open_at(path)
    assert sorted(one.id for one in store.intents()) == sorted(key for (key,) in expected)
    assert found.lost == {"intents": INTENTS - len(expected)}
    store.close()


def test_where_the_index_is_damaged_too_nobody_knows_how_many_are_lost(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'intents'")
        names = [name for (name,) in indexes]
    leaves = [page for name in names for page in pages_of(path, name)]
    damage(path, *leaves, pages_of(path, "intents")[2])
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    assert found.lost == {"intents": None} and found.kept["intents"] > INTENTS - 40
    assert summary(found)["intents"].endswith("some could not be read")


def test_episodes_between_two_damaged_pages_are_kept(path: Path):
    """They have no row numbers, and are read from both ends of each part."""
    store = open_at(path)
    keys = [(number * 2**7).to_bytes(2, "big") + bytes(18) for number in range(500)]
    commit(store, committed(9, *(position(key, b"episode" * 30, "episode") for key in keys)))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
    pages = pages_of(path, "facts")
    damage(path, pages[len(pages) // 3], pages[2 * len(pages) // 3])
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    assert found.lost["episodes"] is None
    assert len(keys) * 3 // 4 < found.kept["episodes"] <= len(keys) + 1
    store = open_at(path)
    middle = [store.fact("aave", "episode", key) for key in keys[245:255]]
    assert middle == [b"episode" * 30] * 10
    store.close()


def test_a_truncated_file_gives_what_is_left_of_it(path: Path):
    os.truncate(path, path.stat().st_size * 3 // 4 // PAGE * PAGE)
    found = rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    assert sum(found.kept.values()) > 0 and found.lost
    store = open_at(path)
    forget_chain(store)
    store.close()


def test_a_file_of_which_nothing_can_be_read_stays_where_it_is(path: Path):
    damage(path, 1)
    before = sorted(path.parent.iterdir())
    with pytest.raises(StoreError, match=r"nothing of .* can be read .*: restore a backup"):
        rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    assert sorted(path.parent.iterdir()) == before


def test_a_repair_that_was_killed_is_gone_on_with(path: Path, monkeypatch):
    """What was read is durable before anything is moved; the second attempt needs the damaged file no more."""
    damage(path, *pages_of(path, "blocks"))
    read = path.stat()
    repair_and_be_killed(path, monkeypatch, Path, "replace")
    damage(path, 1)
    os.utime(path, ns=(read.st_atime_ns, read.st_mtime_ns))  # the disk fails on, nobody wrote
    rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store = open_at(path)
    assert len(store.intents()) == INTENTS
    store.close()


@pytest.mark.parametrize(("module", "call"), [(os, "link"), (Path, "replace")], ids=["before", "in"])
def test_what_a_killed_repair_read_is_not_put_in_place_of_what_came_since(path: Path, monkeypatch, module, call):
    """A backup was restored, a daemon ran on it, and it is damaged in its turn: this one is read."""
    backup = path.read_bytes()
    damage(path, *pages_of(path, "blocks"))
    repair_and_be_killed(path, monkeypatch, module, call)
    path.write_bytes(backup)
    store = open_at(path)
    with store.transaction() as transaction:
        transaction.put_intent(intent("later"))
    store.close()
    damage(path, *pages_of(path, "blocks"))
    rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store = open_at(path)
    assert store.intent("later") is not None and len(store.intents()) == INTENTS + 1
    store.close()
    assert not list(path.parent.glob("*.repaired*"))


def test_nobody_writes_to_a_file_whose_log_is_away_already(path: Path, monkeypatch):
    """It looks whole without it. The repair goes on, and leaves the damaged file one name, with its log beside it."""
    kept = killed_at(path, intent("last"))
    log = kept.with_name("kept.db-wal").read_bytes()
    repair_and_be_killed(kept, monkeypatch, Path, "replace")
    assert not kept.with_name("kept.db-wal").exists()
    with pytest.raises(StoreCorrupt, match=r"a repair was killed .*: run `keeper repair`"):
        open_at(kept)
    found = rescue(f"sqlite:///{kept}", chain_id=CHAIN_ID)
    store = open_at(kept)
    assert store.intent("last") is not None
    store.close()
    assert found.aside is not None and found.aside.with_name(f"{found.aside.name}-wal").read_bytes() == log
    assert [one for one in kept.parent.glob("kept.db.damaged-*") if not one.name.endswith(("-wal", "-shm"))] == [
        found.aside
    ]


def test_where_the_database_is_gone_the_draft_is_put_in_place(path: Path, monkeypatch):
    damage(path, *pages_of(path, "blocks"))
    repair_and_be_killed(path, monkeypatch, os, "link")
    path.unlink()
    with pytest.raises(StoreCorrupt, match="run `keeper repair`"):
        open_at(path)
    assert not path.exists()
    assert rescue(f"sqlite:///{path}", chain_id=CHAIN_ID).aside is None
    store = open_at(path)
    assert len(store.intents()) == INTENTS
    store.close()


def repair_and_be_killed(path: Path, monkeypatch: pytest.MonkeyPatch, module: object, call: str) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(module, call, killed)
        with pytest.raises(RuntimeError, match="killed here"):
            rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)


def killed_at(path: Path, last: Intent) -> Path:
    """A copy as a killed daemon leaves it, with this intent in the log alone."""
    store = open_at(path)
    with store.transaction() as transaction:
        transaction.put_intent(last)
    kept = path.with_name("kept.db")
    for suffix in ("", "-wal"):
        kept.with_name(f"kept.db{suffix}").write_bytes(path.with_name(f"{path.name}{suffix}").read_bytes())
    store.close()
    return kept


def test_commits_that_are_in_the_log_alone_are_kept(path: Path):
    """A killed daemon leaves its last commits in the write-ahead log."""
    kept = killed_at(path, intent("last"))
    damage(kept, *pages_of(path, "touches"))
    rescue(f"sqlite:///{kept}", chain_id=CHAIN_ID)
    store = open_at(kept)
    assert store.intent("last") is not None
    store.close()


def test_a_file_that_a_daemon_writes_is_left_alone(path: Path):
    store = open_at(path)
    with pytest.raises(StoreInUse):
        rescue(f"sqlite:///{path}", chain_id=CHAIN_ID)
    store.close()

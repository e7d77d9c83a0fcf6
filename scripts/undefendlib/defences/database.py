"""The database."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "The database"
_SQLITE = "keeper/store/sqlite.py"
_T_OPENING = "tests/contract/test_store_opening.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "every commit is synced",
        _SQLITE,
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        f"{_T_OPENING}::test_every_commit_is_synced",
    ),
    Removal(
        _GROUP,
        "a damaged file is refused at the start",
        _SQLITE,
        '    if verdict != "ok":',
        "    if False:",
        f"{_T_OPENING}::test_a_damaged_page_is_found_at_the_start",
    ),
    Removal(
        _GROUP,
        "a file that is half repaired is not written to",
        _SQLITE,
        "            _refuse_half_repaired(self._path)\n",
        "",
        "tests/contract/test_store_repair.py::test_nobody_writes_to_a_file_whose_log_is_away_already",
    ),
    Removal(
        _GROUP,
        "a newer Keeper's database is refused",
        "keeper/store/opening.py",
        "    if revision > REVISION:",
        "    if False:",
        f"{_T_OPENING}::test_a_newer_schema_is_refused",
    ),
    Removal(
        _GROUP,
        "another chain's database is refused",
        "keeper/store/opening.py",
        "    if store.holds_chain():",
        "    if False:",
        f"{_T_OPENING}::test_another_chain_is_refused",
    ),
    Removal(
        _GROUP,
        "another program's database is refused",
        "keeper/store/opening.py",
        '    if "alembic_version" not in tables or "facts" not in tables:',
        "    if False:",
        f"{_T_OPENING}::test_another_programs_database_is_refused",
    ),
    Removal(
        _GROUP,
        "a protocol that was not configured for a while is not taken for one that was followed",
        "keeper/pipeline/followed.py",
        "            self.names = self._stored & self._configured",
        "            self.names = self._configured",
        "tests/contract/test_followed.py::test_a_protocol_that_is_put_back_has_what_it_missed",
    ),
    Removal(
        _GROUP,
        "a repair reads what lies between damaged places",
        "keeper/store/salvage.py",
        "            for number in _numbers(span):",
        "            for number in ():",
        "tests/contract/test_store_repair.py::test_every_row_that_can_be_read_one_by_one_is_taken_over_once",
    ),
)

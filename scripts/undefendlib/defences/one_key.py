"""One key, one store, one daemon."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "One key, one daemon"
_EXECUTOR = "keeper/executor"
_FOREIGN = f"{_EXECUTOR}/foreign.py"
_SQLITE = "keeper/store/sqlite.py"
_T_FOREIGN = "tests/unit/executor/test_foreign.py"
_T_OPENING = "tests/contract/test_store_opening.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "a nonce that none of ours used holds transactions back",
        _FOREIGN,
        "                found.append(used)  # or of ours",
        "                pass  # or of ours",
        f"{_T_FOREIGN}::test_a_nonce_that_none_of_ours_used_holds_transactions_back_for_a_while",
    ),
    Removal(
        _GROUP,
        "what a stranger has waiting is left to it",
        _FOREIGN,
        "        self.waiting = frozenset(range(nonce, max(nonce, pending))) - ours",
        "        self.waiting = frozenset()",
        f"{_T_FOREIGN}::test_what_a_stranger_has_waiting_is_left_to_it",
    ),
    Removal(
        _GROUP,
        "a nonce of a stranger's is neither taken nor filled",
        f"{_EXECUTOR}/nonces.py",
        "    taken = {*owned, *foreign}\n    return list(islice((nonce for nonce in count_from",
        "    taken = {*owned}\n    return list(islice((nonce for nonce in count_from",
        f"{_T_FOREIGN}::test_nonces_of_others_are_neither_taken_nor_filled",
    ),
    Removal(
        _GROUP,
        "a store has one writer",
        _SQLITE,
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "        pass",
        f"{_T_OPENING}::test_a_second_writer_is_refused_and_told_who_holds_it",
    ),
    Removal(
        _GROUP,
        "a writer that was taken over from writes nothing more",
        "keeper/store/lease.py",
        "    if row is None or row[0] != ours:",
        "    if False:",
        f"{_T_OPENING}::test_a_writer_that_was_taken_over_from_writes_nothing_more",
    ),
    Removal(
        _GROUP,
        "what is signed is in the journal before it leaves",
        f"{_EXECUTOR}/ordinary.py",
        "        if changed or new:\n            self._kit.journal.record([*changed, *new])",
        "        if changed or new:\n            self._kit.journal.hold([*changed, *new])",
        "tests/unit/executor/test_executor.py::test_an_order_is_sent_whatever_it_brings_and_tended_like_the_rest",
    ),
    Removal(
        _GROUP,
        "a standby waits while somebody else writes, and takes over then",
        "keeper/mode/standby.py",
        "        except StoreInUse as error:",
        "        except LookupError as error:",
        "tests/unit/mode/test_standby.py::test_it_takes_over_as_soon_as_the_one_that_writes_is_gone",
    ),
    Removal(
        _GROUP,
        "a standby stands by instead of refusing",
        "keeper/daemon/running.py",
        "if standby else house.open_store()",
        "if False else house.open_store()",
        "tests/integration/test_two_daemons.py::test_a_second_on_the_same_store_refuses_or_stands_by_and_takes_over",
    ),
    Removal(
        _GROUP,
        "a store on a server has one writer",
        "keeper/store/postgres.py",
        "        if cursor.fetchone() == (True,):",
        "        if True:",
        "tests/contract/test_store_opening.py::test_a_second_writer_is_refused_and_told_who_holds_it[postgres]",
        needs="KEEPER_TEST_POSTGRES_URL",
    ),
)

"""Who may write a store: one at a time, and whoever was taken over from may not write any more.

The lock itself is the engine's (a lock of the operating system, an advisory lock of the server): it ends with its
process or its connection, however these ended. But locks are only as good as what is between us and them: a network
file system that forgets one, a pooler that hands one session to two. So each writer leaves a number, its *term*, one
above the last, and every transaction looks whether it is still its own: a writer that was taken over from finds out
before it commits anything, whatever became of its lock.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import select

from keeper.core.errors import StoreError, StoreInUse
from keeper.core.records import Lease
from keeper.store.database import Database, Statement
from keeper.store.schema import meta
from keeper.store.transaction import SqlTransaction

KEY = "lease"

# on PostgreSQL a share lock, so that a successor waits for the transaction in hand; SQLite has one writer at a time
_LOCKED = Statement(select(meta.c.value).where(meta.c.key == KEY).with_for_update(read=True))
_HELD = Statement(select(meta.c.value).where(meta.c.key == KEY))


def this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def take(database: Database, transaction: SqlTransaction, clock: Callable[[], float] = time.time) -> Lease:
    """Begin a new term, in a transaction that was checked against nothing."""
    before = held(database)
    lease = Lease(1 if before is None else before.term + 1, this_process(), clock())
    transaction.set_meta(KEY, stored(lease))
    return lease


def held(database: Database) -> Lease | None:
    """The newest term; None where nobody ever wrote. Raises StoreError on what no Keeper writes there."""
    row = database.row(_HELD)
    if row is None:
        return None
    try:
        return Lease(**json.loads(row[0]))
    except (ValueError, TypeError) as error:
        raise StoreError(f"the stored lease is not readable ({error!r}); restore a backup") from error


def check(database: Database, ours: str) -> None:
    """Inside a transaction: that the term is still ours, as it was stored. Raises StoreInUse when it is not."""
    row = database.row(_LOCKED)
    if row is None or row[0] != ours:
        successor = held(database)
        raise StoreInUse(
            f"{database.engine.label} was taken over by {successor or 'somebody'}: this process writes nothing more; "
            "see to it that only one daemon runs on a store"
        )


def stored(lease: Lease) -> str:
    return json.dumps(asdict(lease))

"""The daemon: catch up, follow heads one block at a time, and keep the parts that run beside that alive.

Crash-only: everything it needs to go on is in the store, so a start is always a recovery, and any error that is not
known to pass ends the process loudly for its supervisor to start it again.

running      `run_daemon`, `run_backfill`: everything is started, and ended, in order
following    `Daemon`: every step to every head
catching_up  what was missed, by ranges; protocols that are new; a branch that was left
between      what is done between heads, and gives way to them
heads        heads until told to stop, and the doubt in those that cannot be
signals      to stop, to pause and to resume
"""

from keeper.daemon.following import Daemon
from keeper.daemon.running import run_backfill, run_daemon

__all__ = ["Daemon", "run_backfill", "run_daemon"]

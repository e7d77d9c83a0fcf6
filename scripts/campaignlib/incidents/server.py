"""The database server: killed, restarted, cut off, silent, full, crowded. Only where the store is one.

Without its store the daemon does nothing, which excuses it meanwhile; what it had begun must be whole afterwards.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from scripts.campaignlib.incidents.base import Incident

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene
    from scripts.campaignlib.server import Server

_NO_SERVER = "the store is a file: there is no server"
_NO_DISK = "there is no private mount namespace here, so no disk of the server's own"
_TABLES = ("blocks", "facts", "intents", "attempts", "notices", "deliveries", "audit", "meta")
_FALLS_EVERY = 8


class OnServer(Incident):
    group = "server"
    fair = False

    def __init__(self, kind: str, blocks: int) -> None:
        super().__init__(kind, blocks)
        self._hits = 0
        self._passed = 0

    def impossible(self, scene: Scene) -> str | None:
        return None if scene.server else _NO_SERVER

    def begin(self, scene: Scene) -> None:
        scene.world.fall()
        self.strike(server_of(scene))

    def strike(self, server: Server) -> None: ...

    def look(self, server: Server) -> None:
        """With every block."""

    def step(self, scene: Scene) -> None:
        self._passed += 1
        self.look(server_of(scene))
        if not self.hits and self._passed % _FALLS_EVERY == 0:
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        self.heal(server_of(scene))

    def heal(self, server: Server) -> None: ...

    @property
    def hits(self) -> int:
        return self._hits


class Killed(OnServer):
    """It comes back some blocks later, and recovers what was committed."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("server killed", chance.randrange(2, 6))
        self._after_s = chance.choice((0.0, 0.05, 0.3, 1.0)) * chance.random()

    def look(self, server: Server) -> None:
        """Right after a block, when somebody is at work with it."""
        if not self._hits:
            time.sleep(self._after_s)
            server.kill()
            self._hits = 1

    def heal(self, server: Server) -> None:
        server.start()


class Restarted(OnServer):
    """In good order, and at once."""

    def __init__(self) -> None:
        super().__init__("server restarted", 2)

    def strike(self, server: Server) -> None:
        server.stop()
        server.start()
        self._hits = 1


class CutInTransaction(OnServer):
    """The daemon's session ends while it waits in the middle of a transaction, for a lock on one of its tables."""

    _LOOKS_EVERY_S = 0.01

    def __init__(self, chance: random.Random) -> None:
        super().__init__("connection cut in mid-transaction", 6)
        self._table = chance.choice(_TABLES)
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def strike(self, server: Server) -> None:
        self._thread = threading.Thread(target=self._wait, args=(server,), name="cut", daemon=True)
        self._thread.start()

    def _wait(self, server: Server) -> None:
        with server.connected() as connection, contextlib.suppress(psycopg.OperationalError):
            connection.execute("BEGIN")
            connection.execute(f"LOCK TABLE {self._table} IN SHARE MODE")  # type: ignore[call-overload]
            while not self._done.is_set():
                cut = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'keeper' AND wait_event_type = 'Lock' AND query NOT LIKE 'LOCK%'"
                ).fetchall()
                if cut:
                    self._hits += len(cut)
                    break
                self._done.wait(self._LOOKS_EVERY_S)
            connection.execute("ROLLBACK")

    def heal(self, server: Server) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join(30)

    @property
    def over(self) -> bool:
        return self._hits > 0


class CommitUnanswered(OnServer):
    """A transaction is durable, and who committed it never hears of that."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("answer to a commit lost", chance.randrange(3, 7))
        self._chance = chance
        self._share = chance.choice((0.1, 0.3, 0.6))
        self._before = 0

    def strike(self, server: Server) -> None:
        self._before = server.gate.lost
        server.gate.chance, server.gate.lose = self._chance, self._share

    def look(self, server: Server) -> None:
        self._hits = server.gate.lost - self._before

    def heal(self, server: Server) -> None:
        server.gate.lose = 0.0
        self._hits = server.gate.lost - self._before


class Silent(OnServer):
    """Connections stand and nothing passes; then everything does, as if nothing had been."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("server silent", chance.randrange(2, 7))
        self._before = 0

    def strike(self, server: Server) -> None:
        self._before = server.gate.held
        server.gate.silent = True

    def look(self, server: Server) -> None:
        self._hits = server.gate.held - self._before

    def heal(self, server: Server) -> None:
        server.gate.silent = False


class DiskFull(OnServer):
    """Not a byte is left on the server's disk: it refuses to write, or goes down and cannot recover."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("server's disk full", chance.randrange(3, 7))
        self._before = 0

    def impossible(self, scene: Scene) -> str | None:
        return _NO_SERVER if not scene.server else None if scene.server.disk.is_own else _NO_DISK

    def strike(self, server: Server) -> None:
        self._before = server.full()
        server.disk.fill()

    def look(self, server: Server) -> None:
        server.disk.fill()  # what it gave back meanwhile
        self._hits = server.full() - self._before

    def heal(self, server: Server) -> None:
        server.disk.free()
        server.start()


class TooManyConnections(OnServer):
    """Others have taken them all when the daemon connects again."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("too many connections", chance.randrange(2, 6))
        self._before = 0

    def strike(self, server: Server) -> None:
        self._before = server.refused()
        server.crowd()
        server.disconnect()
        server.crowd()

    def look(self, server: Server) -> None:
        server.crowd()
        self._hits = server.refused() - self._before

    def heal(self, server: Server) -> None:
        server.disperse()


def server_of(scene: Scene) -> Server:
    assert scene.server is not None
    return scene.server

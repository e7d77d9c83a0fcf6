"""The machine under the daemon: its disk, its limits, its clock, its database file."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.campaignlib.fsync import is_possible
from scripts.campaignlib.incidents.base import Incident, between_lives
from scripts.campaignlib.machine import Limit, size_of

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene

_STARTS_WITHIN_S = 20.0
_NEWER = "database of a newer version"
_NO_FILE = "the store is a server's, which has disks of its own: the daemon writes no database file"
_NO_DISK = "there is no private mount namespace here, so no disk of the campaign's own"
_NO_FILTER = "this kernel or processor has no seccomp filter that hands on syncs"


class OnMachine(Incident):
    group = "machine"
    fair = False

    def __init__(self, kind: str, blocks: int) -> None:
        super().__init__(kind, blocks)
        self._exits = 0

    def begin(self, scene: Scene) -> None:
        scene.world.fall()


class DiskFull(OnMachine):
    def __init__(self, chance: random.Random) -> None:
        super().__init__("disk full", chance.randrange(3, 7))

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server else None if scene.disk.is_own else _NO_DISK

    def begin(self, scene: Scene) -> None:
        """Between two lives, with the log folded in: what is written next needs room at once."""
        super().begin(scene)
        with between_lives(scene.keeper):
            with closing(sqlite3.connect(scene.database)) as opened:
                opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            scene.disk.fill()
        self.did = 1

    def end(self, scene: Scene) -> None:
        scene.disk.free()


class ReadOnly(OnMachine):
    """The file system turns read-only under the daemon's feet where the kernel allows it, else between two lives."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("file system read-only", chance.randrange(3, 6))

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server else None if scene.disk.is_own else _NO_DISK

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        with between_lives(scene.keeper):
            if not scene.disk.read_only():
                raise OSError("cannot make the campaign's disk read-only")
        self.did = 1

    def end(self, scene: Scene) -> None:
        scene.disk.writable()


class FilesTooLarge(OnMachine):
    """No file may grow any more (RLIMIT_FSIZE): a write fails in its middle."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("writes fail", chance.randrange(2, 5))
        self._limit = Limit(resource.RLIMIT_FSIZE)

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server else None

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        if scene.keeper.wait_ready(_STARTS_WITHIN_S):
            self._limit.lower(scene.keeper.pid, 8_192)
            self.did = 1

    def end(self, scene: Scene) -> None:
        self._limit.lift()


class SyncFails(OnMachine):
    def __init__(self, chance: random.Random) -> None:
        super().__init__("fsync fails", chance.randrange(2, 5))
        self._before = self._hits = 0

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server else None if is_possible() else _NO_FILTER

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        self._before = scene.syncs.failed
        scene.syncs.failing = True

    def step(self, scene: Scene) -> None:
        self._hits = scene.syncs.failed - self._before

    def end(self, scene: Scene) -> None:
        scene.syncs.failing = False

    @property
    def hits(self) -> int:
        return self._hits


class SlowDisk(OnMachine):
    """Every sync takes its time; that delays, and excuses nothing."""

    fair = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__("slow disk", chance.randrange(4, 9))
        self._delay_s = chance.choice((0.02, 0.05, 0.1))
        self._before = self._hits = 0

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server else None if is_possible() else _NO_FILTER

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        self._before = scene.syncs.seen
        scene.syncs.delay_s = self._delay_s

    def step(self, scene: Scene) -> None:
        self._hits = scene.syncs.seen - self._before

    def end(self, scene: Scene) -> None:
        scene.syncs.delay_s = 0.0

    @property
    def hits(self) -> int:
        return self._hits


class NoDescriptors(OnMachine):
    """Nothing more can be opened: no connection, no file."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("file descriptors exhausted", chance.randrange(3, 7))
        self._limit = Limit(resource.RLIMIT_NOFILE)

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        if scene.keeper.wait_ready(_STARTS_WITHIN_S):
            self._limit.lower(scene.keeper.pid, max(3, scene.keeper.open_files() - 2))
            for proxy in scene.proxies:
                proxy.drop()
            self.did = 1

    def end(self, scene: Scene) -> None:
        self._limit.lift()


class NoMemory(OnMachine):
    """Its address space may not grow any more."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("memory limit reached", chance.randrange(3, 7))
        self._limit = Limit(resource.RLIMIT_AS)

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        if scene.keeper.wait_ready(_STARTS_WITHIN_S):
            self._limit.lower(scene.keeper.pid, size_of(scene.keeper.pid) - 2**20)
            self.did = 1

    def end(self, scene: Scene) -> None:
        self._limit.lift()


class ClockSteps(OnMachine):
    """An hour forth, then an hour back of the true time, then right again."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("clock steps by an hour", 8)
        self._ahead = chance.choice((3_600.0, -3_600.0))
        self._blocks = 0

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        scene.clock.step(self._ahead)
        self.did = 1

    def step(self, scene: Scene) -> None:
        self._blocks += 1
        if self._blocks == 4:
            scene.clock.step(-self._ahead)

    def end(self, scene: Scene) -> None:
        scene.clock.step(0.0)


class SpoiledDatabase(OnMachine):
    """The daemon finds its database damaged or from a newer version: it must say so, end, and touch nothing."""

    _ENDS_WITHIN_S = 30.0
    KINDS = ("database truncated", _NEWER, "database overwritten")

    def __init__(self, kind: str) -> None:
        super().__init__(kind, 1)

    def impossible(self, scene: Scene) -> str | None:
        return _NO_FILE if scene.server and self.kind != _NEWER else None

    def begin(self, scene: Scene) -> None:
        with between_lives(scene.keeper), self._spoiled(scene):
            sent = sum(len(proxy.sent) for proxy in scene.proxies)
            code, told = scene.keeper.once(self._ENDS_WITHIN_S)
            if code in (0, None) or sum(len(proxy.sent) for proxy in scene.proxies) != sent:
                scene.findings.append(f"{self.kind}: exit {code}, said {told[-500:]!r}")
            elif "Traceback" in told or not any(word in told for word in ("restore", "install", "repair")):
                scene.findings.append(f"{self.kind}: no remedy in {told[-500:]!r}")
        self.did = 1

    @contextmanager
    def _spoiled(self, scene: Scene) -> Iterator[None]:
        """Inside it is, and afterwards everything is as before."""
        if scene.server:
            [(revision,)] = scene.server.rows("SELECT version_num FROM alembic_version")
            scene.server.execute("UPDATE alembic_version SET version_num = '9999'")
            yield
            scene.server.execute("UPDATE alembic_version SET version_num = %s", revision)
            return
        database = scene.database
        saved = [
            (file, file.with_name(f"saved-{file.name}"))
            for file in database.parent.glob(f"{database.name}*")
            if file.is_file()
        ]
        for file, copy in saved:
            shutil.copy2(file, copy)
        self._spoil(database)
        yield
        for file in database.parent.glob(f"{database.name}*"):
            file.unlink()
        for file, copy in saved:
            copy.replace(file)

    def _spoil(self, database: Path) -> None:
        if self.kind == _NEWER:
            with closing(sqlite3.connect(database)) as opened, opened:
                opened.execute("UPDATE alembic_version SET version_num = '9999'")
            return
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.stat().st_size
        with database.open("r+b") as file:
            if self.kind == "database truncated":
                file.truncate(size // 2 // 4096 * 4096 + 100)
            else:
                for page in range(size // 4096 // 4, size // 4096, 7):
                    file.seek(page * 4096)
                    file.write(b"\x5a" * 4096)


class Repaired(OnMachine):
    """Somebody runs `keeper repair` between two lives: the index is made anew, the record stays."""

    _ENDS_WITHIN_S = 120.0

    def __init__(self) -> None:
        super().__init__("index made anew by keeper repair", 2)

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        with between_lives(scene.keeper):
            code, _, said = scene.keeper.run("repair", "--yes", patience_s=self._ENDS_WITHIN_S)
            if code != 0:
                scene.findings.append(f"{self.kind}: exit {code}, said {said[-500:]!r}")
        self.did = 1

"""What befalls Keeper in a campaign, one incident at a time: each begins, lasts some blocks, and ends."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.campaignlib import faults
from scripts.campaignlib.fsync import is_possible
from scripts.campaignlib.inbox import TROUBLES
from scripts.campaignlib.machine import Limit, size_of
from scripts.campaignlib.proxy import SEND, Fault, Hang

if TYPE_CHECKING:
    from scripts.campaignlib.keeper import Keeper
    from scripts.campaignlib.scene import Scene

_STARTS_WITHIN_S = 20.0
_AT_ONCE = 100
RECEIPT = "eth_getTransactionReceipt"


class Incident:
    """fair: whether Keeper can act all the same, since its machine is whole and one endpoint honest. heard: whether the
    receiver of notices is well. blocks: how long it lasts. hits: how often something happened because of it."""

    group = ""
    fair = True
    heard = True

    def __init__(self, kind: str, blocks: int) -> None:
        self.kind = kind
        self.blocks = blocks

    def possible(self, scene: Scene) -> bool:
        return True

    def begin(self, scene: Scene) -> None: ...
    def step(self, scene: Scene) -> None:
        """With every block while it lasts."""

    def end(self, scene: Scene) -> None: ...

    @property
    def hits(self) -> int:
        return 1

    @property
    def over(self) -> bool:
        """Whether it ended by itself."""
        return False


# --- nodes ------------------------------------------------------------------------------------------------------------


class NodeFault(Incident):
    """One endpoint is bad, the other one is honest."""

    group = "node"

    def __init__(self, kind: str, chance: random.Random) -> None:
        super().__init__(kind, chance.randrange(4, 12))
        self._chance = chance
        self._fault: Fault | None = None
        self._where = 0 if chance.random() < 0.85 else 1  # the one that is asked first

    def begin(self, scene: Scene) -> None:
        proxy = scene.proxies[self._where]
        self._fault = (faults.KINDS | faults.ON_DEMAND)[self.kind](self._chance, proxy)
        proxy.put(self._fault)
        if self.kind == "wrong chain id":
            proxy.drop()  # it is asked on connecting
        if self.kind.startswith(("transaction", "already", "nonce", "receipts")):
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        assert self._fault is not None
        scene.proxies[self._where].take(self._fault)
        if isinstance(self._fault, faults.Spoil) and self.kind == "hang":
            scene.proxies[self._where].drop()  # what hung shall not answer later

    @property
    def hits(self) -> int:
        return 0 if self._fault is None else self._fault.hits


class Down(Incident):
    """One endpoint refuses connections."""

    group = "node"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("connection refused", chance.randrange(3, 8))
        self._where = chance.randrange(2)

    def begin(self, scene: Scene) -> None:
        scene.proxies[self._where].down()

    def end(self, scene: Scene) -> None:
        scene.proxies[self._where].up()


class Blackout(Incident):
    """No endpoint answers anything."""

    group = "node"
    fair = False

    def __init__(self, chance: random.Random) -> None:
        super().__init__("both endpoints silent", chance.randrange(3, 10))
        self._faults: list[Fault] = []

    def begin(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            fault = faults.Refusing(self.kind, Hang())
            self._faults.append(fault)
            proxy.put(fault)
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        for proxy, fault in zip(scene.proxies, self._faults, strict=True):
            proxy.take(fault)
            proxy.drop()

    @property
    def hits(self) -> int:
        return sum(fault.hits for fault in self._faults)


class TwoBranches(Incident):
    """The second endpoint follows a branch of its own, longer than the true one for a while."""

    group = "node"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("endpoints on different branches", chance.randrange(4, 9))
        self._lead = chance.randrange(0, 3)
        self._fork: Any = None

    def begin(self, scene: Scene) -> None:
        self._fork = scene.world.chain.fork()
        self._fork.rpc("evm_setAutomine", False)
        self._fork.mine(1 + self._lead)
        scene.proxies[1].move(self._fork.anvil.port)

    def step(self, scene: Scene) -> None:
        self._fork.mine()

    def end(self, scene: Scene) -> None:
        scene.proxies[1].move(scene.world.chain.anvil.port)
        scene.proxies[1].drop()
        self._fork.stop()


class Outage(Incident):
    """Both endpoints are gone while a thousand blocks pass."""

    group = "node"
    fair = False
    heard = False

    def __init__(self, chance: random.Random, length: int) -> None:
        super().__init__(f"outage of {length} blocks", 2)
        self._length = length

    def begin(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            proxy.down()
        scene.world.fall()
        for start in range(0, self._length, _AT_ONCE):  # a node that works for longer is presumed gone
            scene.world.chain.mine(min(_AT_ONCE, self._length - start))

    def end(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            proxy.up()


# --- kills ------------------------------------------------------------------------------------------------------------


class KillAtRandom(Incident):
    group = "kill"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("killed at random", 2)
        self._delay_s = chance.choice((0.01, 0.03, 0.1, 0.5, 1.0)) * chance.random()

    def begin(self, scene: Scene) -> None:
        scene.keeper.kill()

    def step(self, scene: Scene) -> None:
        """Right after a block, when it is at work; and in the middle of its start."""
        threading.Timer(self._delay_s, scene.keeper.kill).start()


class KillAt(Incident):
    """Killed in the middle of a request: nobody can know what it knew."""

    group = "kill"
    _MOMENTS: Mapping[str, tuple[bool, Callable[[str, Any], bool]]] = {
        "killed as a price fell": (True, lambda method, _: method == "eth_call"),
        "killed with its intent journalled": (True, lambda method, _: method == SEND),
        "killed as its transaction arrived": (False, lambda method, _: method == SEND),
        "killed as it was included": (False, lambda method, result: method == RECEIPT and isinstance(result, dict)),
        "killed while simulating": (True, lambda method, _: method == "eth_simulateV1"),
    }
    KINDS = tuple(_MOMENTS)

    def __init__(self, kind: str) -> None:
        super().__init__(kind, 8)
        self._traps: list[faults.Trap] = []
        self._sprung = False

    def begin(self, scene: Scene) -> None:
        before, when = self._MOMENTS[self.kind]

        def spring() -> None:
            if not self._sprung:
                self._sprung = scene.keeper.kill()

        for proxy in scene.proxies:
            trap = faults.Trap(self.kind, spring, before, when)
            self._traps.append(trap)
            proxy.put(trap)
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        for proxy, trap in zip(scene.proxies, self._traps, strict=True):
            proxy.take(trap)

    @property
    def hits(self) -> int:
        return int(self._sprung)

    @property
    def over(self) -> bool:
        return self._sprung


class KillWhileTelling(Incident):
    """Killed once a notice has arrived and is not answered."""

    group = "kill"

    def __init__(self) -> None:
        super().__init__("killed with a notice in flight", 8)
        self._struck = threading.Event()

    def begin(self, scene: Scene) -> None:
        def strike(_: Mapping[str, Any]) -> None:
            if not self._struck.is_set():
                self._struck.set()
                scene.keeper.kill()

        scene.inbox.before_answer = strike
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        scene.inbox.before_answer = None

    @property
    def hits(self) -> int:
        return int(self._struck.is_set())

    @property
    def over(self) -> bool:
        return self._struck.is_set()


# --- machines ---------------------------------------------------------------------------------------------------------


class OnMachine(Incident):
    group = "machine"
    fair = False

    def __init__(self, kind: str, blocks: int) -> None:
        super().__init__(kind, blocks)
        self._exits = 0

    def begin(self, scene: Scene) -> None:
        scene.world.fall()


@contextmanager
def between_lives(keeper: Keeper) -> Iterator[None]:
    """It is killed, and starts again afterwards."""
    with keeper.held():
        keeper.kill()
        assert keeper.process is not None
        keeper.process.wait(30)
        yield


class DiskFull(OnMachine):
    def __init__(self, chance: random.Random) -> None:
        super().__init__("disk full", chance.randrange(3, 7))

    def possible(self, scene: Scene) -> bool:
        return scene.disk.is_own

    def begin(self, scene: Scene) -> None:
        """Between two lives, with the log folded in: what is written next needs room at once."""
        super().begin(scene)
        with between_lives(scene.keeper):
            with closing(sqlite3.connect(scene.database)) as opened:
                opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            scene.disk.fill()

    def end(self, scene: Scene) -> None:
        scene.disk.free()


class ReadOnly(OnMachine):
    """The file system turns read-only under the daemon's feet where the kernel allows it, else between two lives."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("file system read-only", chance.randrange(3, 6))

    def possible(self, scene: Scene) -> bool:
        return scene.disk.is_own

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        with between_lives(scene.keeper):
            if not scene.disk.read_only():
                raise OSError("cannot make the campaign's disk read-only")

    def end(self, scene: Scene) -> None:
        scene.disk.writable()


class FilesTooLarge(OnMachine):
    """No file may grow any more (RLIMIT_FSIZE): a write fails in its middle."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__("writes fail", chance.randrange(2, 5))
        self._limit = Limit(resource.RLIMIT_FSIZE)

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        if scene.keeper.wait_ready(_STARTS_WITHIN_S):
            self._limit.lower(scene.keeper.pid, 8_192)

    def end(self, scene: Scene) -> None:
        self._limit.lift()


class SyncFails(OnMachine):
    def __init__(self, chance: random.Random) -> None:
        super().__init__("fsync fails", chance.randrange(2, 5))

    def possible(self, scene: Scene) -> bool:
        return is_possible()

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        scene.syncs.failing = True

    def end(self, scene: Scene) -> None:
        scene.syncs.failing = False


class SlowDisk(OnMachine):
    """Every sync takes its time; that delays, and excuses nothing."""

    fair = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__("slow disk", chance.randrange(4, 9))
        self._delay_s = chance.choice((0.02, 0.05, 0.1))

    def possible(self, scene: Scene) -> bool:
        return is_possible()

    def begin(self, scene: Scene) -> None:
        super().begin(scene)
        scene.syncs.delay_s = self._delay_s

    def end(self, scene: Scene) -> None:
        scene.syncs.delay_s = 0.0


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

    def step(self, scene: Scene) -> None:
        self._blocks += 1
        if self._blocks == 4:
            scene.clock.step(-self._ahead)

    def end(self, scene: Scene) -> None:
        scene.clock.step(0.0)


class SpoiledDatabase(OnMachine):
    """The daemon finds its database damaged or from a newer version: it must say so, end, and touch nothing."""

    _ENDS_WITHIN_S = 30.0
    KINDS = ("database truncated", "database of a newer version", "database overwritten")

    def __init__(self, kind: str) -> None:
        super().__init__(kind, 1)

    def begin(self, scene: Scene) -> None:
        keeper, database = scene.keeper, scene.database
        with between_lives(keeper):
            saved = [
                (file, file.with_name(f"saved-{file.name}"))
                for file in database.parent.glob(f"{database.name}*")
                if file.is_file()
            ]
            for file, copy in saved:
                shutil.copy2(file, copy)
            sent = sum(len(proxy.sent) for proxy in scene.proxies)
            self._spoil(database)
            code, told = keeper.once(self._ENDS_WITHIN_S)
            if code in (0, None) or sum(len(proxy.sent) for proxy in scene.proxies) != sent:
                scene.findings.append(f"{self.kind}: exit {code}, said {told[-500:]!r}")
            elif "Traceback" in told or not any(word in told for word in ("restore", "install", "repair")):
                scene.findings.append(f"{self.kind}: no remedy in {told[-500:]!r}")
            for file in database.parent.glob(f"{database.name}*"):
                file.unlink()
            for file, copy in saved:
                copy.replace(file)

    def _spoil(self, database: Path) -> None:
        if self.kind == "database of a newer version":
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


# --- receivers, chain, load -------------------------------------------------------------------------------------------


class BadReceiver(Incident):
    group = "receiver"
    heard = False

    def __init__(self, trouble: str, chance: random.Random) -> None:
        super().__init__(f"receiver {trouble}", chance.randrange(4, 10))
        self._trouble = trouble
        self._before = 0
        self._hits = 0

    def begin(self, scene: Scene) -> None:
        self._before = scene.inbox.hits
        scene.inbox.trouble = self._trouble
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        scene.inbox.trouble = None
        self._hits = scene.inbox.hits - self._before

    @property
    def hits(self) -> int:
        return self._hits


class Reorganization(Incident):
    group = "chain"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("reorganization", 1)
        self._depth = chance.choice((1, 1, 2, 2, 3, 5, 8))

    def begin(self, scene: Scene) -> None:
        scene.world.reorganize(self._depth)


class Rival(Incident):
    group = "chain"

    def __init__(self) -> None:
        super().__init__("a rival liquidates first", 3)

    def begin(self, scene: Scene) -> None:
        scene.world.compete()
        scene.world.fall()


class FastBlocks(Incident):
    """Blocks every 250 ms."""

    group = "load"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("blocks every 250 ms", chance.randrange(40, 80))

    def begin(self, scene: Scene) -> None:
        scene.interval_s = min(0.25, scene.interval_s)

    def end(self, scene: Scene) -> None:
        scene.interval_s = scene.usual_interval_s


class Storm(Incident):
    """Thousands of events of the protocol in one block, none of which matters."""

    group = "load"
    EVENTS = 5_000

    def __init__(self) -> None:
        super().__init__(f"storm of {self.EVENTS} events in a block", 3)
        self._events = 0

    def begin(self, scene: Scene) -> None:
        self._events = scene.world.storm(self.EVENTS)
        scene.world.fall()

    @property
    def hits(self) -> int:
        return int(self._events >= self.EVENTS)


# --- all --------------------------------------------------------------------------------------------------------------


def deck(chance: random.Random, outage_blocks: int) -> dict[str, Callable[[], Incident]]:
    """One of each, by kind. Each draws from a chance of its own, so that none changes what befalls after it."""

    def own() -> random.Random:
        return random.Random(chance.getrandbits(64))  # noqa: S311  (repeatable, which is the point)

    made: dict[str, Callable[[], Incident]] = {
        kind: lambda kind=kind: NodeFault(kind, own()) for kind in (*faults.KINDS, *faults.ON_DEMAND)
    }
    others: list[Callable[[], Incident]] = [
        lambda: Down(own()),
        lambda: Blackout(own()),
        lambda: TwoBranches(own()),
        lambda: Outage(own(), outage_blocks),
        lambda: KillAtRandom(own()),
        *(lambda kind=kind: KillAt(kind) for kind in KillAt.KINDS),
        KillWhileTelling,
        lambda: DiskFull(own()),
        lambda: ReadOnly(own()),
        lambda: FilesTooLarge(own()),
        lambda: SyncFails(own()),
        lambda: SlowDisk(own()),
        lambda: NoDescriptors(own()),
        lambda: NoMemory(own()),
        lambda: ClockSteps(own()),
        *(lambda kind=kind: SpoiledDatabase(kind) for kind in SpoiledDatabase.KINDS),
        Repaired,
        *(lambda trouble=trouble: BadReceiver(trouble, own()) for trouble in TROUBLES),
        lambda: Reorganization(own()),
        Rival,
        lambda: FastBlocks(own()),
        Storm,
    ]
    return made | {make().kind: make for make in others}

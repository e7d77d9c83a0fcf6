"""The daemon under test: the shipped command in a process of its own, under a supervisor that starts it again at once,
and the records that it leaves, read as its users read them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keeper.config.load import load_config
from keeper.core.errors import KeeperError
from keeper.core.ports import Store
from keeper.core.types import BlockRef
from keeper.queries import views
from keeper.wire import House

Json = dict[str, Any]

_KEEPER = (sys.executable, "-m", "keeper")
_RESTART_S = 0.2
_TAIL = 400


class Keeper:
    """One deployment, and its daemon however often it is started.

    prepare: called in each child before the daemon begins. born: called with each new process. reading: a configuration
    by which its store is read past whatever befalls the way there.
    """

    def __init__(self, config: Path, environment: dict[str, str], log: Path, reading: Path) -> None:
        self.config = config
        self.log = log
        self.environment = {**os.environ, **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.prepare: Callable[[], None] | None = None
        self.pass_fds: tuple[int, ...] = ()
        self.born: Callable[[int], None] = lambda pid: None
        self.said: Counter[str] = Counter()
        """Log events by name, over all lives."""
        self.exits: list[Json] = []
        """Every end that we did not cause: the code, and the last lines."""
        self.kills = 0
        self.lives = 0
        self.started_at = 0.0
        self._house = House(reading, load_config(reading, environment=self.environment))
        self._held = False
        self._killed = False
        self._ready = threading.Event()
        self._tail: list[str] = []
        self._turn = threading.RLock()
        self._ending = False
        self._watching = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    # --- the process

    def start(self, patience_s: float = 60.0) -> None:
        """The first life, until it says that it has started."""
        self._launch()
        self._watching.start()
        self.wait_ready(patience_s)

    def wait_ready(self, patience_s: float = 60.0) -> bool:
        return self._ready.wait(patience_s)

    @property
    def alive(self) -> bool:
        """Whether it runs and has started."""
        return self.process is not None and self.process.poll() is None and self._ready.is_set()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> bool:
        """SIGKILL, if it runs; whether it did. The supervisor starts it again, unless held."""
        process = self.process
        if process is not None and process.poll() is None:
            self._killed = True
            self.kills += 1
            process.kill()
            return True
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stays dead inside, if it dies."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def stop(self, patience_s: float = 60.0) -> int:
        """SIGTERM, and the exit code; it is not started again."""
        self._ending = True
        with self._turn:
            assert self.process is not None
            self.process.terminate()
            try:
                return self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                return self.process.wait(patience_s)

    def end(self) -> None:
        """Whatever happened before, nothing of it runs afterwards."""
        self._ending = True
        with self._turn:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()
                self.process.wait(30)

    def once(self, patience_s: float) -> tuple[int | None, str]:
        """A life of its own while the supervisor holds still: its exit code (None: it had to be killed) and stderr."""
        command = [*_KEEPER, "run", "--config", str(self.config), "--log-format", "json"]
        with subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as one:
            try:
                _, told = one.communicate(timeout=patience_s)
                return one.returncode, told.decode(errors="replace")
            except subprocess.TimeoutExpired:
                one.kill()
                _, told = one.communicate()
                return None, told.decode(errors="replace")

    def _launch(self) -> None:
        with self._turn:
            if self._ending:
                return
            self._ready.clear()
            self._killed = False
            command = [*_KEEPER, "run", "--config", str(self.config), "--log-format", "json"]
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # not a file: what limits the size of its files shall not silence it
                preexec_fn=self.prepare,
                pass_fds=self.pass_fds,
            )
            self.lives += 1
            self.started_at = time.monotonic()
            self.born(self.process.pid)
            threading.Thread(target=self._listen, args=(self.process,), name="log", daemon=True).start()

    def _supervise(self) -> None:
        while not self._ending:
            process = self.process
            if process is None or process.poll() is None or self._held:
                time.sleep(0.02)
                continue
            if not self._killed and not self._ending:
                time.sleep(0.1)  # for its last words
                self.exits.append({"code": process.returncode, "said": self._tail[-6:]})
                time.sleep(_RESTART_S)
            self._launch()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with self.log.open("ab") as log:
            for line in process.stderr:
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").rstrip()
                self._tail = [*self._tail, text][-_TAIL:]
                if text.startswith("{"):
                    try:
                        event = str(json.loads(text).get("event"))
                    except ValueError:
                        continue
                    self.said[event] += 1
                    if event == "started" and process is self.process:
                        self._ready.set()

    # --- what it recorded

    @contextmanager
    def reading(self) -> Iterator[Store]:
        with closing(self._house.open_store(read_only=True)) as store, store.snapshot():
            yield store

    def cursor(self) -> BlockRef | None:
        """None also while nobody can read the store."""
        try:
            with self.reading() as store:
                return store.cursor()
        except KeeperError:
            return None

    def calls(self) -> list[Json]:
        with self.reading() as store:
            return list(views.call_rows(store))

    def liquidations(self) -> list[Json]:
        with self.reading() as store:
            return list(views.liquidation_rows(store))

    def transactions(self) -> list[Json]:
        with self.reading() as store:
            return list(views.transaction_rows(store))

    def undelivered(self) -> list[str]:
        """Notices on their way."""
        with self.reading() as store:
            return [one.notice.id for one in store.deliveries() if one.status.value in ("pending", "held", "sending")]

    def run(self, *arguments: str, config: Path | None = None, patience_s: float = 300.0) -> tuple[int, str, str]:
        """Another command to its end: exit code, stdout, stderr."""
        command = [*_KEEPER, *arguments, "--config", str(config or self.config)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=patience_s)
        return done.returncode, done.stdout, done.stderr

    # --- the machine

    def memory_kib(self) -> int:
        """Resident; 0 when it does not run."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")), 0)

    def open_files(self) -> int:
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  (names are counted, no paths made)
        except OSError:
            return 0


SIGKILLED = -signal.SIGKILL

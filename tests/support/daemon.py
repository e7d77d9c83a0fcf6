"""Keeper as its users run it: a process of its own with an ordinary configuration file, observed from outside.

    with deploy(tmp_path, chain, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until("a margin call", lambda: inbox.events(alice) == ["opened"])
        assert keeper.terminate() == 0

Nothing here sleeps for a fixed time: `until` polls what the query commands print, read in this process because
starting an interpreter for each poll would take the processor from the daemon. `ask` runs the command itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from keeper.config.load import load_config
from keeper.core.ports import Store
from keeper.core.types import BlockRef
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.queries import views
from keeper.wire import House
from tests.support.inbox import SECRET, Inbox

T = TypeVar("T")
Json = dict[str, Any]

PATIENCE_S = 60.0
_PAUSE_S = 0.02
_KEEPER = (sys.executable, "-m", "keeper")


class Keeper:
    """One deployment, and its daemon however often it is started."""

    def __init__(self, chain: DevChain, config: Path, log: Path) -> None:
        self.chain = chain
        self.config = config
        self.log = log
        self.environment = {
            **os.environ,
            "KEEPER_PRIVATE_KEY": chain.liquidator.private_key,
            "TEST_WEBHOOK_SECRET": SECRET,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = load_config(config, environment=self.environment)
        self._house = House(config, self.settings)
        self._log_start = 0

    # --- the process

    def start(self, *arguments: str) -> None:
        """Start the daemon and wait until it says so, with its store open."""
        self.launch(*arguments)
        self.until("the daemon to start", lambda: self.said("started"))

    def launch(self, *arguments: str) -> None:
        assert self.process is None or self.process.poll() is not None, "the daemon runs already"
        command = [*_KEEPER, "run", "--config", str(self.config), "--log-format", "json", *arguments]
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stderr=log)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def pulse_file(self) -> Path:
        return self._house.files.pulse

    def wait(self) -> int:
        """Exit code of a daemon that ends by itself."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL; harmless when it is gone already."""
        assert self.process is not None
        self.process.kill()
        assert self.wait() == -signal.SIGKILL, f"the daemon had ended by itself: {self.log_tail()}"

    # --- what it says

    def said(self, event: str) -> list[Json]:
        """Log lines of this event since the latest start."""
        return [line for line in self._lines(self._log_start) if line["event"] == event]

    def ever_said(self, event: str) -> list[Json]:
        """The same, over all starts."""
        return [line for line in self._lines(0) if line["event"] == event]

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-8_000:] if self.log.exists() else ""

    def _lines(self, start: int) -> list[Json]:
        text = self.log.read_bytes()[start:].decode(errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    # --- what it recorded

    def ask(self, command: str, *arguments: str) -> list[Json]:
        """What `keeper COMMAND --json` prints."""
        run = self.run(command, "--json", *arguments)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any other command to its end."""
        whole = [*_KEEPER, command, "--config", str(self.config), *arguments]
        return subprocess.run(whole, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S)

    def health(self) -> dict[str, Json]:
        """Rows of `keeper health` by account; none before the first block."""
        with self.reading() as store:
            blocks = store.blocks()
            if not blocks:
                return {}
            (adapter,) = self._house.adapters()
            rows = views.health_rows(store, adapter, blocks[-1], self._house.rule(), ())
            return {row["account"]: row for row in rows}

    def positions(self) -> dict[str, Json]:
        """The same by position, of every protocol."""
        with self.reading() as store:
            blocks = store.blocks()
            return {
                row["position"]: row
                for adapter in self._house.adapters()
                for row in (views.health_rows(store, adapter, blocks[-1], self._house.rules(), ()) if blocks else ())
            }

    def calls(self, account: str | None = None) -> list[Json]:
        with self.reading() as store:
            return [row for row in views.call_rows(store) if account in (None, row["account"])]

    def sent_liquidations(self) -> list[dict[str, Any]]:
        """Without those that were ready as a daemon was killed, and by the node's word never left. What was given up
        for any other reason counts: two of ours on one nonce would show so."""
        return [row for row in self.liquidations() if not (row["status"] == "abandoned" and _never_left(row))]

    def liquidations(self) -> list[Json]:
        with self.reading() as store:
            return list(views.liquidation_rows(store))

    def transactions(self) -> list[Json]:
        with self.reading() as store:
            return list(views.transaction_rows(store))

    def cursor(self) -> BlockRef | None:
        with self.reading() as store:
            return store.cursor()

    @contextmanager
    def reading(self) -> Iterator[Store]:
        with closing(self._house.open_store(read_only=True)) as store, store.snapshot():
            yield store

    # --- waiting

    def until(self, what: str, condition: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
        """The first truthy value of a condition; fails with the end of the log when none comes, or the daemon ends."""
        deadline = time.monotonic() + patience_s
        while True:
            ended = self.process is None or self.process.poll() is not None
            if found := condition():
                return found
            if ended:
                raise AssertionError(f"the daemon ended while waiting for {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {patience_s:.0f} s for {what}; the end of the log:\n{self.log_tail()}")
            time.sleep(_PAUSE_S)

    def until_synced(self) -> None:
        """Until the latest block of the chain is in the store."""
        self.until("the tip to be indexed", self.is_synced)

    def is_synced(self) -> bool:
        cursor = self.cursor()
        return cursor is not None and cursor.hash == self.chain.block_hash(self.chain.block_number)

    def until_told(self, inbox: Inbox, account: str, *events: str) -> None:
        """Until an account has been told exactly this, and the daemon knows that it has."""
        self.until(f"{account} to be told {events}", lambda: inbox.events(account) == list(events) and self.is_quiet())

    def is_quiet(self) -> bool:
        """Whether nothing waits in the outbox."""
        settled = ("sent", "dropped", "dead")
        return all(notice["status"] in settled for call in self.calls() for notice in call["notices"])


@contextmanager
def deploy(
    folder: Path, chain: DevChain, inbox: Inbox | None = None, *, mode: str = "off", **options: Any
) -> Iterator[Keeper]:
    """A deployment that tells by webhook; its daemon does not outlive the context. options: of `write_config`."""
    webhook = [{"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}] if inbox else []
    config = write_config(folder / "keeper.toml", chain, mode=mode, notifiers=webhook, **options)
    keeper = Keeper(chain, config, folder / "keeper.log")
    try:
        yield keeper
    finally:
        if keeper.process is not None and keeper.process.poll() is None:
            keeper.process.kill()
            keeper.process.wait(PATIENCE_S)


def _never_left(row: Json) -> bool:
    return "never left" in (row["reason"] or "") and all(one["broadcast_at"] is None for one in row["attempts"])

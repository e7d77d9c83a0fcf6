"""`keeper watch` as its users run it: a process of its own, told of only by what it prints and whom it notifies.

with watching(tmp_path, alice, "--rpc", proxy.http, "--notify", inbox.url, "--config", str(config)) as watch:
    watch.until("the call", lambda: inbox.events(alice) == ["opened"])
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.support.inbox import SECRET

T = TypeVar("T")
Json = dict[str, Any]

PATIENCE_S = 60.0
KEEPER = (sys.executable, "-m", "keeper")


class Watching:
    """One watch, however often it is started: its state stays in the folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.arguments = arguments
        self.state = folder / "state"
        self.log = folder / "watch.log"
        self.environment = {**os.environ, "TEST_WEBHOOK_SECRET": SECRET}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *more: str) -> list[str]:
        return [*KEEPER, "watch", *self.arguments, "--store", str(self.state), "--log-format", "json", *more]

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        """To its end."""
        return subprocess.run(
            self.command(*more), env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )

    def start(self, *more: str) -> None:
        """Until the first look was judged."""
        seen = len(self.said("watching"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command("--every", "0.4", "--budget", "1000000", *more),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.until("the first look", lambda: len(self.said("watching")) > seen)

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL

    def said(self, event: str) -> list[Json]:
        """Log lines of this event, over all starts."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    def until(self, what: str, condition: Callable[[], T]) -> T:
        """The first truthy value of a condition; fails with the end of the log."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            tail = self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""
            assert self.process is not None and self.process.poll() is None, f"it ended, waiting for {what}:\n{tail}"
            assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}:\n{tail}"
            time.sleep(0.02)
        return found


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[Watching]:
    watch = Watching(folder, *arguments)
    try:
        yield watch
    finally:
        if watch.process is not None and watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait(PATIENCE_S)

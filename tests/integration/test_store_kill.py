"""Kill -9 at any instant leaves a store that holds whole transactions, all of those that were reported durable."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from keeper.store import open_store
from tests.support.store_work import Script, view

ROOT = Path(__file__).parents[2]
KILLS = 12


def test_killed_at_random_instants_the_store_holds_whole_transactions(tmp_path):
    """After each kill: the state is exactly that after n transactions of the script, n being what the store itself
    says; nothing reported durable is missing; every effect in the world is in the journal. Then work goes on."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    url = f"sqlite:///{tmp_path / 'keeper.db'}"
    open_store(url, chain_id=31337).close()
    instants = random.Random(seed)
    script = Script(seed)
    for _ in range(KILLS):
        _work_and_kill(tmp_path, url, seed, after_s=instants.uniform(0.0, 0.15))
        reported = (tmp_path / "done").stat().st_size

        store = open_store(url, chain_id=31337)
        steps = int(store.meta("steps") or 0)
        while script.steps < steps:
            script.next()
        assert view(store) == view(script.model)
        journalled = {attempt.tx_hash.decode() for one in store.intents() for attempt in one.attempts}
        told = {one.notice.id for one in store.deliveries()}
        store.close()

        assert 0 <= steps - reported <= 1
        assert set((tmp_path / "effects").read_text().splitlines()) <= journalled | told
        _settle_reports(tmp_path / "done", steps)
    assert script.steps > 3 * KILLS


def _work_and_kill(directory: Path, url: str, seed: int, after_s: float) -> None:
    """Start a worker, let it do something, and kill it `after_s` later."""
    done, effects = directory / "done", directory / "effects"
    done.touch()
    effects.touch()
    before = done.stat().st_size
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.store_worker", url, str(seed), str(done), str(effects)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    started = time.monotonic()
    while done.stat().st_size == before and worker.poll() is None:
        assert time.monotonic() - started < 30
        time.sleep(0.001)
    time.sleep(after_s)
    worker.send_signal(signal.SIGKILL)
    _, errors = worker.communicate()
    assert worker.returncode == -signal.SIGKILL, errors.decode()


def _settle_reports(done: Path, steps: int) -> None:
    """A kill between commit and report leaves one unreported: bring the count up for the next round."""
    done.write_bytes(b"." * steps)

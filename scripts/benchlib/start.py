"""From the start of the shipped daemon to the first head that it has evaluated and stored, with a large book stored.

Against reading the bytes of its database file, and against reading its positions with SQLite and nothing else. All find
the file where it is after a restart of the machine: not in memory.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from keeper.devnet.chain import DevChain

from .row import Row, counted, timed
from .startup import cpu_medians
from .stored import Deployment

_ROUNDS = 3
_MIB = 2**20
_LIMIT_MIB = 512


def measure(positions: int = 1_000_000) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, DevChain.start(manual_mining=True) as chain:
        deployment = Deployment(chain, Path(name), positions)
        size = deployment.database.stat().st_size
        files, rows, ours, resident = [], [], [], []
        for _ in range(_ROUNDS):
            deployment.forget_cached()
            files.append(_read_file(deployment.database))
            deployment.forget_cached()
            rows.append(_read_rows(deployment.database))
            deployment.forget_cached()
            took, most = _start(deployment)
            ours.append(took)
            resident.append(most)
        loading = deployment.loading()
    file_s, rows_s, ours_s = (statistics.median(part) for part in (files, rows, ours))
    what = f"start with {positions:,} stored positions to first evaluated head"

    def why() -> str:
        [imports_s] = cpu_medians([[sys.executable, "-c", "import keeper.daemon"]], 3)
        return (
            f"{size / _MIB:.0f} MiB come in {file_s * 1e3:.0f} ms, where importing the program alone takes "
            f"{imports_s:.2f} s; the rest is loading, {loading}"
        )

    return [
        timed(f"{what}, over reading the database file", file_s, ours_s, 5.0, reason=why),
        timed(f"{what}, over reading its positions with sqlite3", rows_s, ours_s, 5.0, reason=why),
        counted(f"resident memory of that start, in MiB, at most {_LIMIT_MIB}", max(resident) / _MIB, _LIMIT_MIB),
    ]


def _start(deployment: Deployment) -> tuple[float, int]:
    """Seconds until a block that was there before the start is stored, and the most resident bytes by then."""
    deployment.chain.mine()
    begin = time.perf_counter()
    with deployment.daemon() as process:
        deployment.wait(process, deployment.chain.block_number)
        return time.perf_counter() - begin, _high_water(process)


def _high_water(process: subprocess.Popen[bytes]) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _read_file(file: Path) -> float:
    begin = time.perf_counter()
    room = bytearray(8 * _MIB)  # as the daemon reads it; with less at once the floor would be higher
    with file.open("rb", buffering=0) as source:
        while source.readinto(room):
            pass
    return time.perf_counter() - begin


def _read_rows(file: Path) -> float:
    begin = time.perf_counter()
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        for _ in database.execute("SELECT key, payload FROM facts WHERE kind = 'position'"):
            pass
    return time.perf_counter() - begin

"""What a daemon with a large book takes of a core while no block comes: its jobs, and its waiting."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from keeper.devnet.chain import DevChain

from .row import Row, counted
from .stored import Deployment

POSITIONS = 100_000
_SETTLE_S = 5.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def measure(seconds: float = 30.0) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, DevChain.start(manual_mining=True) as chain:
        deployment = Deployment(chain, Path(name), POSITIONS)
        with deployment.daemon() as process:
            chain.mine()
            deployment.wait(process, chain.block_number)
            time.sleep(_SETTLE_S)
            before, begin = _processor_s(process.pid), time.perf_counter()
            time.sleep(seconds)
            share = (_processor_s(process.pid) - before) / (time.perf_counter() - begin)
    what = f"processor time between blocks with {POSITIONS:,} positions, as a share of one core"
    return [counted(what, share, 0.01, f"{share:.2%} over {seconds:.0f} s")]


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S

"""Where numbers come from: without it a ratio says little, and an absolute number nothing."""

from __future__ import annotations

import datetime
import os
import platform
import sqlite3
import subprocess
from pathlib import Path

from keeper.devnet.npm import anvil_binary


def describe() -> dict[str, str]:
    anvil = subprocess.run([str(anvil_binary()), "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "anvil": anvil.split()[2] if len(anvil.split()) > 2 else anvil.strip(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())

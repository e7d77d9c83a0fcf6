"""A command line tool answers at once: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import subprocess
import sys

from scripts.benchlib.startup import cpu_medians


def test_help_takes_at_most_three_times_the_bare_interpreter() -> None:
    bare_s, help_s = cpu_medians([[sys.executable, "-c", ""], [sys.executable, "-m", "keeper", "--help"]], rounds=9)
    assert help_s <= 3 * bare_s, f"keeper --help took {help_s * 1e3:.0f} ms, the bare interpreter {bare_s * 1e3:.0f} ms"


def test_help_imports_nothing_heavy() -> None:
    """The same, told by names: a slow machine cannot hide it."""
    command = [sys.executable, "-X", "importtime", "-m", "keeper", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    heavy = {
        "aiohttp",
        "asyncio",
        "eth_utils",
        "msgspec",
        "numpy",
        "pydantic",
        "rich",
        "sqlalchemy",
        "structlog",
        "web3",
    }
    assert "argparse" in imported
    assert not heavy & imported

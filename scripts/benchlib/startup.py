"""Starting up: what a person waits for, over the bare interpreter."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence

from .row import Row, timed

_BARE = [sys.executable, "-c", ""]
_HELP = [sys.executable, "-m", "keeper", "--help"]
_QUERY = [sys.executable, "-c", "import keeper.queries.report"]
_DAEMON = [sys.executable, "-c", "import keeper.daemon"]


def measure(rounds: int = 15) -> list[Row]:
    """Medians of alternating runs."""
    bare_s, help_s, query_s, daemon_s = cpu_medians([_BARE, _HELP, _QUERY, _DAEMON], rounds)
    return [
        timed("keeper --help, over the bare interpreter", bare_s, help_s, 3),
        timed("importing what keeper health needs, over the bare interpreter", bare_s, query_s, 40),
        timed("importing what keeper run needs, over the bare interpreter", bare_s, daemon_s, 80),
    ]


def cpu_medians(commands: Sequence[Sequence[str]], rounds: int) -> list[float]:
    """Processor seconds of each command, which is what starting up consists of and what other load changes least.

    One run of each comes first and is not counted: it may have to compile bytecode.
    """
    took: list[list[float]] = [[] for _ in commands]
    for round_ in range(rounds + 1):
        for command, seconds in zip(commands, took, strict=True):
            before = _children_s()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if round_:
                seconds.append(_children_s() - before)
    return [statistics.median(seconds) for seconds in took]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

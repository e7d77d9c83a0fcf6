"""Why something takes as long as it does: the functions that its processor time is spent in."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAMED = 4


def shares(run: Callable[[], Any]) -> str:
    """The functions that most of the time goes to, each with its share of it, not counting what it calls."""
    profile = cProfile.Profile()
    profile.runcall(run)
    stats: Any = pstats.Stats(profile)
    whole = sum(own for _, _, own, _, _ in stats.stats.values())
    dearest = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])[:_NAMED]
    said = ", ".join(f"{_name(where)} {own / whole:.0%}" for where, (_, _, own, _, _) in dearest)
    return f"by profile: {said}"


def _name(where: tuple[str, int, str]) -> str:
    file, _, function = where
    if file == "~":  # written in C
        return function.strip("<>").removeprefix("built-in method ").removeprefix("method ")
    return f"{Path(file).stem}.{function}"

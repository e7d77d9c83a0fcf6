"""`keeper stats`: how fast the daemon was from a head to each stage of what followed, since it started.

It reads the daemon's pulse alone, so it answers when neither the daemon nor the node does, and says how old that is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from keeper.core.latency import STAGES, summary
from keeper.pulse import Pulse, read_pulse
from keeper.wire import open_house

Json = dict[str, Any]

_COLUMNS = ("count", "mean", "p50", "p90", "p99", "max")


def stats(args: argparse.Namespace) -> int:
    """Exit code 1 where there is no pulse: then nobody has followed this chain with this configuration."""
    house = open_house(args)
    pulse = read_pulse(house.files.pulse)
    if pulse is None:
        print(f"keeper: no pulse at {house.files.pulse}: start `keeper run` with this configuration", file=sys.stderr)
        return 1
    now, rows = time.time(), rows_of(pulse)
    if args.json:
        about = {"pulse": {"at": pulse.at, "age_s": round(pulse.age_s(now), 1), "stale": pulse.is_stale(now)}}
        for row in (*rows, about):
            print(json.dumps(row, separators=(",", ":")))
        return 0
    _show(rows, pulse, now)
    return 0


def rows_of(pulse: Pulse) -> list[Json]:
    """One object for each stage: `{stage, count, mean_us, p50_us, p90_us, p99_us, max_us}`. Quantiles are the upper
    bounds of their buckets, or the largest sample where that is less; null without a sample, and beyond the last
    bucket."""
    stages = pulse.section("latency").get("stages", {})
    return [{"stage": stage, **summary(stages[stage])} for stage in STAGES if stage in stages]


def _show(rows: Sequence[Json], pulse: Pulse, now: float) -> None:
    from rich.table import Table

    from keeper import terminal

    console = terminal.console()
    table = Table(box=None, pad_edge=False)
    table.add_column("from a head until it is")
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        times = [span(row[f"{name}_us"]) for name in _COLUMNS[1:]]
        table.add_row(row["stage"], str(row["count"]), *times)
    console.print(table)
    age = pulse.age_s(now)
    late = "; the daemon hangs or has ended" if pulse.is_stale(now) else ""
    console.print(f"\nas the daemon said {age:.1f} s ago{late}; quantiles are upper bounds", style="dim")


def span(value_us: int | None) -> str:
    """Microseconds as people read them."""
    if value_us is None:
        return "-"
    if value_us < 1_000:
        return f"{value_us} µs"
    return f"{value_us / 1_000:.3g} ms" if value_us < 1_000_000 else f"{value_us / 1_000_000:.3g} s"

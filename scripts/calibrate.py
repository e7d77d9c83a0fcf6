"""How early, and how needlessly, positions are called under some settings: on recorded crashes and calm months.

    .venv/bin/python scripts/calibrate.py --data ../shared/data            the shipped settings, and lines by health
    .venv/bin/python scripts/calibrate.py --data … --set volatility.probability=0.05 --set call=1.06

`positions that began above 1.10` are counted, whatever their call line was then, so that settings are comparable.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import rule_of
from keeper.replay.engine import replay
from keeper.replay.history import read_history
from keeper.replay.outcome import MONTH_S, Outcome
from keeper.replay.positions import read_positions
from scripts.calibratelib.series import Series, load
from scripts.calibratelib.windows import CHECK, CHOOSE, FRESH, Window, write

ABOVE = 1.10
CRASHES = ("crash week", "worst day")
_held: dict[str, Series] = {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of recorded prices")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the settings")
    parser.add_argument("--only", choices=("choose", "check", "fresh"), help="one set of windows")
    parser.add_argument("--windows", action="store_true", help="say every window by itself")
    args = parser.parse_args()
    if not args.data.is_dir():
        print(f"calibrate: {args.data} is no folder; it holds prices/ and oracle-rounds/", file=sys.stderr)
        return 1
    compared: list[tuple[str, Mapping[str, Any]]] = [("by volatility", changed(args.set))]
    if not args.set:
        compared += [
            (f"by health {call}", {"by": "health", "call": call, "watch": "1.4", "target": target})
            for call, target in (("1.05", "1.25"), ("1.10", "1.25"), ("1.25", "1.35"))
        ]
    sets = {"choose": CHOOSE, "check": CHECK, "fresh": FRESH}
    with ProcessPoolExecutor(os.cpu_count(), initializer=_start, initargs=(args.data,)) as pool:
        for label, settings in compared:
            for name, windows in sets.items():
                if args.only in (None, name):
                    for warm in (False, True):
                        jobs = [(window, settings, warm) for window in windows]
                        found = list(pool.map(_replayed, jobs))
                        tell(f"{label}, {name}, {'warm' if warm else 'cold'}", windows, found, each=args.windows)
    return 0


def changed(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE as tables; a value with + between numbers is a list."""
    tables: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        *outer, name = key.split(".")
        table = tables
        for part in outer:
            table = table.setdefault(part, {})
        if outer and name not in ("widest", "estimator"):
            numbers = tuple(float(part) for part in text.split("+"))
            table[name] = numbers if name == "memories_hours" else numbers[0]
        else:
            table[name] = text
    return tables


def _start(data: Path) -> None:
    _held.update(load(data))


def _replayed(job: tuple[Window, Mapping[str, Any], bool]) -> list[Outcome]:
    window, settings, warm = job
    with tempfile.TemporaryDirectory() as folder:
        prices, positions = write(window, _held[window.series], Path(folder), warm=warm)
        history = read_history(prices, lambda *_: None)
        tracks = read_positions(positions, history.assets)
        return replay(history, tracks, rule_of(MarginCalls.model_validate(settings)), lambda *_: None)


def tell(title: str, windows: Sequence[Window], found: Sequence[Sequence[Outcome]], *, each: bool) -> None:
    print(f"\n{title}\n{'windows':<34} {'breached':>8} {'15 min':>7} {'1 hour':>7} {'needless':>8} {'worst day':>9}")
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for window, outcomes in zip(windows, found, strict=True):
        kinds[window.kind] += outcomes
        if each:
            _row(f"  {window.name[-24:]} {window.kind}", outcomes)
    for kind, outcomes in kinds.items():
        _row(kind, outcomes)
    _row("all crashes", [one for kind in CRASHES for one in kinds[kind]])
    sys.stdout.flush()


def _row(name: str, outcomes: Iterable[Outcome]) -> None:
    everyone = list(outcomes)
    above = [one for one in everyone if float(one.position.rpartition("-")[2]) > ABOVE]
    leads = [one.lead_s or 0 for one in above if one.liquidatable_at is not None]
    months = sum(one.to - one.since for one in above) / MONTH_S
    needless = sum(call.is_needless for one in above for call in one.calls) / months
    shares = [
        f"{100 * sum(lead >= least for lead in leads) / len(leads):.1f} %" if leads else "-" for least in (900, 3600)
    ]
    worst = max(one.worst_day for one in everyone)
    print(f"{name:<34} {len(leads):>8} {shares[0]:>7} {shares[1]:>7} {needless:>8.3f} {worst:>9}")


if __name__ == "__main__":
    sys.exit(main())

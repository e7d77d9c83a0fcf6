"""The daemon under load for as long as you like: see scripts/endurance and docs/load.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from scripts.endurancelib.report import Bounds, as_json, table
from scripts.endurancelib.run import run
from scripts.endurancelib.scene import Size


def main() -> int:
    usual = Size()
    parser = argparse.ArgumentParser(prog="scripts/endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the load lasts [20]")
    parser.add_argument(
        "--positions", type=int, default=usual.stored, help=f"how many are only stored [{usual.stored:,}]"
    )
    parser.add_argument("--crowd", type=int, default=usual.crowd, help=f"called at once [{usual.crowd:,}]")
    parser.add_argument(
        "--events", type=int, default=usual.storm_events, help=f"of a storm, in one block [{usual.storm_events:,}]"
    )
    parser.add_argument("--cycle", type=float, default=240.0, metavar="S", help="seconds until all happens again [240]")
    parser.add_argument("--seed", type=int, default=1, help="of what happens on the chain [1]")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the log, the database and every sample there")
    args = parser.parse_args()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", file=sys.stderr, flush=True)

    size = Size(stored=args.positions, crowd=args.crowd, storm_events=args.events)
    with tempfile.TemporaryDirectory(prefix="endurance-", dir=Path.cwd()) as temporary:  # a disk; /tmp may be memory
        folder = (args.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(folder, args.minutes, size, say, seed=args.seed, cycle_s=args.cycle)
        if args.keep:
            rows = [*outcome.samples, *outcome.lags, *outcome.opened]
            (folder / "samples.jsonl").write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    told = as_json(outcome, Bounds())
    print(json.dumps(told) if args.json else table(told))
    return 0 if all(one["met"] for one in told["verdicts"]) else 1


if __name__ == "__main__":
    sys.exit(main())

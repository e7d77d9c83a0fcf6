"""A campaign of faults against the daemon, on the real contracts: see scripts/campaign and docs/campaign.md."""

from __future__ import annotations

import argparse
import difflib
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.campaignlib.incidents import deck
from scripts.campaignlib.report import as_json, summary, table
from scripts.campaignlib.run import ALL_KINDS, STORES, Outcome, run
from scripts.campaignlib.server import ServerError


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of every choice; the same seed befalls the same [1]")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults are injected [10]")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--block-s", type=float, default=2.0, help="seconds between blocks [2]")
    parser.add_argument("--only", action="append", metavar="KIND", help="these kinds of faults alone; repeatable")
    parser.add_argument(
        "--store",
        choices=STORES,
        default="sqlite",
        help="of the daemon: a file, or a PostgreSQL server of the campaign's own, and what befalls servers [sqlite]",
    )
    parser.add_argument(
        "--no-second-opinion",
        action="store_true",
        help="act on one endpoint's word: what is ready then leaves as the head comes (fast lane)",
    )
    parser.add_argument("--crowd", type=int, default=0, help="further positions below their call line all the time [0]")
    parser.add_argument("--outage-blocks", type=int, default=1_000, help="length of an outage [1000]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs and databases there")
    parser.add_argument(
        "--sum", type=Path, nargs="+", metavar="FILE", help="add up what --json printed before, and end"
    )
    parser.add_argument("--list", action="store_true", help="name the kinds of faults and end")
    args = parser.parse_args()
    if args.sum:
        show([json.loads(file.read_text()) for file in args.sum])
        return 0
    known = deck(random.Random(0), args.outage_blocks)  # noqa: S311  (nothing secret is drawn)
    if args.list:
        print("\n".join(known))
        return 0
    if unknown := sorted(set(args.only or ()) - known.keys()):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        parser.error(f"--only: no fault is called {unknown[0]!r}; " + (f"{near[0]!r} is" if near else "see --list"))
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", file=sys.stderr, flush=True)

    def campaign(folder: Path) -> Outcome:
        return run(
            folder,
            args.seed,
            args.minutes,
            say,
            interval_s=args.block_s,
            kinds=ALL_KINDS,
            store=args.store,
            crowd=args.crowd,
            second_opinion=not args.no_second_opinion,
            only=args.only,
            outage_blocks=args.outage_blocks,
        )

    with tempfile.TemporaryDirectory(prefix="keeper-campaign-") as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outcome = campaign(folder)
        except ServerError as error:
            print(f"campaign: {error}", file=sys.stderr)
            return 2
    told = as_json(outcome)
    if args.json:
        print(json.dumps(told))
    else:
        show([told])
    return 1 if outcome.lost or outcome.findings else 0


def show(told: Sequence[Mapping[str, Any]]) -> None:
    print(table(told))
    for one in told:
        print("", *summary(one), sep="\n")
        for what in (*one["losses"], *one["findings"]):
            print(f"- {what}")


if __name__ == "__main__":
    sys.exit(main())

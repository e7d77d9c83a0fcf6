"""Behind scripts/undefend."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from scripts.undefendlib.defences import DEFENCES
from scripts.undefendlib.removal import ROOT, Copy, Removal, Verdict
from scripts.undefendlib.table import FILE, is_current, rows, write


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/undefend", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many at a time")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("--markdown", action="store_true", help=f"write the table of {FILE.relative_to(ROOT)}")
    parser.add_argument("--check", action="store_true", help="only that texts, tests and table are current")
    args = parser.parse_args(arguments)
    chosen = [one for one in DEFENCES if all(word.lower() in _said(one) for word in args.words)]
    if not chosen:
        print(f"undefend: no defence has {' '.join(args.words)}; see --list", file=sys.stderr)
        return 2
    if args.list:
        print(*rows(chosen), sep="\n")
        return 0
    rotten = [f"{one.defence}: {objection}" for one in chosen if (objection := one.objection) is not None]
    if args.markdown and not rotten:
        write()
    elif args.check and not is_current():
        rotten.append(f"{FILE.relative_to(ROOT)} is not current; run scripts/undefend --markdown")
    for line in rotten:
        print(f"undefend: {line}", file=sys.stderr)
    if rotten or args.markdown or args.check:
        return 1 if rotten else 0
    for one in chosen:
        if not one.can_be_tried:
            print(f"undefend: not tried, since {one.needs} is not set: {one.defence}", file=sys.stderr)
    chosen = [one for one in chosen if one.can_be_tried]
    return _run(chosen, max(args.jobs, 1)) if chosen else 2


def _run(chosen: list[Removal], jobs: int) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keeper-undefend-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            place = Path(folder) / str(number)
            place.mkdir()
            copies.put(Copy(place))
        if (said := (first := copies.get()).is_sound(chosen)) is not None:
            print(f"undefend: with every defence in place tests fail already:\n{said}", file=sys.stderr)
            return 1
        copies.put(first)

        def tried(removal: Removal) -> Verdict:
            copy = copies.get()
            try:
                return copy.try_it(removal)
            finally:
                copies.put(copy)

        verdicts = []
        for verdict in pool.map(tried, chosen):
            verdicts.append(verdict)
            one, outcome = verdict.removal, "fails" if verdict.fails else "PASSES"
            print(f"{len(verdicts):3}/{len(chosen)} {outcome:6} | {one.defence} | {one.file} | {one.test}", flush=True)
            if not verdict.fails:
                print("    " + verdict.said.replace("\n", "\n    "), flush=True)
    unnoticed = sum(not verdict.fails for verdict in verdicts)
    print(f"{len(verdicts)} defences taken out, {unnoticed} unnoticed, in {time.monotonic() - began:.0f} s")
    return 1 if unnoticed else 0


def _said(one: Removal) -> str:
    return f"{one.group} {one.defence} {one.file} {one.test}".lower()


if __name__ == "__main__":
    sys.exit(main())

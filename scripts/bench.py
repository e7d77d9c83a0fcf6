"""Runs the parts of benchlib and shows their rows. A missed target is a row that says so, not a failure."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchlib import machine, picture, scale
from benchlib.comparing import changes, earlier
from benchlib.row import Row
from rich.console import Console
from rich.table import Table

from keeper import observe

PARTS = (
    "rpc",
    "multicall",
    "decode",
    "backfill",
    "screen",
    "store",
    "head",
    "ready",
    "pending",
    "signing",
    "bar",
    "round_trips",
    "idle",
    "start",
    "startup",
    "bot",
    "sdks",
)
PICTURE = Path(__file__).parents[1] / "docs" / "scale.svg"
QUICK = {
    "decode": 50_000,
    "backfill": 50_000,
    "screen": 100_000,
    "store": 100,
    "head": 8,
    "ready": 3,
    "signing": 500,
    "bar": 20_000,
    "pending": 8,
    "multicall": 4,
    "idle": 10,
    "start": 50_000,
    "startup": 5,
    "bot": 2,
    "sdks": 500,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these of {', '.join(PARTS)}")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--json", action="store_true", help="JSON Lines on stdout: what, floor_s, ours_s, ratio, target, met"
    )
    shape.add_argument("--markdown", action="store_true", help="a table for docs/bench.md")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="print the change since what --json wrote into FILE"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=PICTURE,
        metavar="FILE",
        help="measure 10k to 1M accounts in 5 to 60 reserves, and draw it (docs/scale.svg unless told otherwise)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and accounts; says less")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    try:
        before = earlier(args.compare) if args.compare else {}
    except (OSError, ValueError) as error:
        parser.error(str(error))
    observe.configure()
    logging.getLogger("keeper").setLevel(logging.WARNING)  # what the parts do is not the news here
    if args.plot:
        return _plot(args.plot)
    rows = []
    for part in args.parts or PARTS:
        print(f"bench: {part} …", file=sys.stderr, flush=True)
        for row in _run(part, quick=args.quick):
            rows.append(row)
            if args.json:
                print(json.dumps(row.as_json()), flush=True)
    if args.compare:
        _changes(before, rows, to_stderr=args.json)
    elif args.markdown:
        print(_markdown(rows, machine.describe()))
    elif not args.json:
        _table(rows, machine.describe())
    return 0


def _plot(file: Path) -> int:
    """Draw the sizes, and print them as the table of docs/bench.md."""
    print("| accounts | reserves | a block | looked at whole | load | memory of the book | judged exactly |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    found = []
    for size in scale.sizes():
        found.append(size)
        cells = [f"{size.accounts:,}", str(size.reserves), *map(_seconds, (size.block_s, size.full_s, size.load_s))]
        cells += [f"{(size.resident - size.bare) / 2**20:.0f} MiB", f"{size.judged:,}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    file.write_text(picture.svg(found, _where(machine.describe())), "utf-8")
    return 0


def _run(part: str, *, quick: bool) -> Sequence[Row]:
    measure: Callable[..., Sequence[Row]] = vars(__import__(f"benchlib.{part}", fromlist=["measure"]))["measure"]
    return measure(QUICK[part]) if quick and part in QUICK else measure()


def _table(rows: Sequence[Row], where: dict[str, str]) -> None:
    table = Table(caption=_where(where), caption_justify="left")
    for heading in ("what", "floor", "ours", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        said = [text for text in (row.remark, row.reason) if text]
        what = "\n".join([row.what, *(f"[dim]{text}[/]" for text in said)])
        table.add_row(what, *_cells(row), "[green]met[/]" if row.met else "[red]missed[/]")
    Console().print(table)


def _markdown(rows: Sequence[Row], where: dict[str, str]) -> str:
    lines = ["| what | floor | ours | ratio | target | |", "|---|--:|--:|--:|--:|---|"]
    for row in rows:
        said = "; ".join(text for text in (row.remark, row.reason) if text)
        what = f"{row.what} ({said})" if said else row.what
        lines.append(f"| {what} | {' | '.join(_cells(row))} | {'met' if row.met else '**missed**'} |")
    return "\n".join([*lines, "", _where(where) + "."])


def _changes(before: Mapping[str, Mapping[str, Any]], rows: Sequence[Row], *, to_stderr: bool) -> None:
    table = Table(caption="ratios, ours in floors; what moves by less than 5 % moved by the machine's doing")
    for heading in ("what", "before", "now", "change", ""):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for cells in changes(before, rows):
        table.add_row(*cells)
    Console(stderr=to_stderr).print(table)


def _cells(row: Row) -> list[str]:
    return [_seconds(row.floor_s), _seconds(row.ours_s), f"{row.ratio:.3g}", f"≤ {row.target:g}"]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    for unit, least in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= least:
            return f"{value / least:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def _where(where: dict[str, str]) -> str:
    return (
        f"{where['cpu']}, {where['cores']} cores (load {where['load']}), {where['system']}, Python {where['python']}, "
        f"SQLite {where['sqlite']}, Anvil {where['anvil']}, {where['date']}"
    )


if __name__ == "__main__":
    sys.exit(main())

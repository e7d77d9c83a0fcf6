"""What became of each row since an earlier run: `scripts/bench --compare FILE`, a file that `--json` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .row import Row

_STEADY = 0.05  # a ratio that moved by less moved by the machine's doing


def earlier(file: Path) -> dict[str, Mapping[str, Any]]:
    """Rows by what they measure. Raises ValueError naming the line that is none."""
    rows: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows[row["what"]] = {"ratio": float(row["ratio"]), "met": bool(row["met"]), "ours_s": row["ours_s"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}, line {number} is no row of scripts/bench --json: {error!r}") from error
    return rows


def changes(before: Mapping[str, Mapping[str, Any]], now: Sequence[Row]) -> Iterator[tuple[str, str, str, str, str]]:
    """What, the ratio before and now, the change, and a word on it; then what only the earlier run had."""
    for row in now:
        old = before.get(row.what)
        if old is None:
            yield row.what, "", f"{row.ratio:.3g}", "", "new"
            continue
        change = row.ratio / old["ratio"] - 1 if old["ratio"] else 0.0
        yield row.what, f"{old['ratio']:.3g}", f"{row.ratio:.3g}", f"{change:+.1%}", _word(old["met"], row.met, change)
    for what in before.keys() - {row.what for row in now}:
        yield what, f"{before[what]['ratio']:.3g}", "", "", "not run"


def _word(met: bool, meets: bool, change: float) -> str:
    if met != meets:
        return "now met" if meets else "now missed"
    if abs(change) < _STEADY:
        return "as before"
    return "better" if change < 0 else "worse"

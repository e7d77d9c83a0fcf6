"""The table of defences in the documentation, written from the removals themselves."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from scripts.undefendlib.defences import DEFENCES
from scripts.undefendlib.removal import ROOT, Removal

FILE = ROOT / "docs" / "undefended.md"
_TOP = """# Defences, and the test that misses each

What is promised in [defences](defences.md) and the [threat model](threat-model.md) is tested, and that it is tested is
tested too: `scripts/undefend` takes each of these defences out of a copy of the sources, one at a time, and runs the
one test that has to fail then. It exits 1 where a test still passes, and where a defence does not stand where it stood
any more, so the table cannot rot. With every run the suite holds all texts, and takes two defences out. What is
promised elsewhere and stands in no row was not tried in this way. This page is written by
`scripts/undefend --markdown`.
"""


def rows(chosen: Iterable[Removal]) -> list[str]:
    return [f"{one.group} | {one.defence} | {one.file} | {one.test}" for one in chosen]


def page() -> str:
    parts = [_TOP]
    for group, members in groupby(DEFENCES, key=lambda one: one.group):
        lines = [f"## {group}", "", "| defence | taken out of | fails then |", "|---|---|---|"]
        lines += [f"| {one.defence} | `{one.file}` | `{_short(one.test)}`{_where(one)} |" for one in members]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def write() -> None:
    FILE.write_text(page(), "utf-8")


def is_current() -> bool:
    return FILE.exists() and FILE.read_text("utf-8") == page()


def _short(test: str) -> str:
    return test.removeprefix("tests/").replace("|", "\\|")


def _where(one: Removal) -> str:
    return "" if one.needs is None else f" (where `{one.needs}` names a server)"

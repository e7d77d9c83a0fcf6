"""`keeper calls show` and `keeper calls export`: the record of the procedure, for a person and for an auditor."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from keeper import terminal
from keeper.core.errors import ConfigError
from keeper.core.ports import Store
from keeper.core.units import format_units
from keeper.evaluator.page import one_line
from keeper.queries import report, views
from keeper.queries.trail import iso, trail_rows
from keeper.queries.trailforms import Origin, csv_lines, html_lines
from keeper.wire import House, open_house

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment(text: str, now: float) -> float:
    """Unix seconds of "2026-11-01", "2026-11-01T12:00", or "30d" (s, m, h, d, w) before now; UTC unless it says else.

    Raises ConfigError on anything else.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since {text!r} is no moment; give a date such as 2026-11-01, a time such as 2026-11-01T12:00, or how "
            "long ago, such as 30d or 12h"
        ) from None
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


# --- export -----------------------------------------------------------------------------------------------------------


def export(args: argparse.Namespace) -> int:
    house = open_house(args)
    now = time.time()
    since = 0.0 if args.since is None else moment(args.since, now)
    accounts = [report.account_of(text) for text in args.account]
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        rows = trail_rows(store, views.tokens_of(store, house.adapters()), since, accounts)
        with _output(args.output) as out:
            out.writelines(_written(args.format, rows, _origin(house, store, now, since)))
    return 0


def _written(form: str, rows: Iterable[Json], origin: Origin) -> Iterator[str]:
    if form == "csv":
        return csv_lines(rows)
    if form == "html":
        return html_lines(rows, origin)
    return (json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def _origin(house: House, store: Store, now: float, since: float) -> Origin:
    cursor = store.cursor()
    number, hash_ = (None, "") if cursor is None else (cursor.number, f"0x{cursor.hash.hex()}")
    return Origin(house.config.chain.id, number, hash_, now, since)


@contextmanager
def _output(path: Any) -> Iterator[TextIO]:
    """Where to write: stdout, or a file that appears only when all of it is written."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            yield out
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror}); name another file with --output") from None
    finally:
        part.unlink(missing_ok=True)
    print(f"keeper: written to {path}", file=sys.stderr)


# --- one call ---------------------------------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> int:
    house = open_house(args)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        rows = [row for row in trail_rows(store, views.tokens_of(store, house.adapters())) if row["type"] == "call"]
    chosen = _chosen(args.id, rows)
    if args.json:
        print(json.dumps(chosen, separators=(",", ":")))
        return 0
    _print(terminal.console(soft_wrap=True), chosen)
    return 0


def _chosen(text: str, rows: Sequence[Json]) -> Json:
    """By the id of a call or of a notice of it, or its beginning; or by account, its newest."""
    names = {row["id"]: row for row in rows}
    names |= {notice["id"]: row for row in rows for notice in row["notices"]}
    names |= {row["account"].lower(): row for row in rows}
    found = {id(row): row for name, row in names.items() if name.startswith(text.lower())} if text else {}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ConfigError(f"{text!r} is the beginning of {len(found)} calls; give more of the id")
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`keeper calls --json` shows them"
    raise ConfigError(f"there is no call {text!r}; {hint}")


def _print(console: Console, call: Json) -> None:
    from rich.text import Text

    console.print(Text(f"{call['account']} on {call['protocol']}: {call['status']}", style="bold"))
    console.print(Text(f"call {call['id']}, position {call['position']}", style="dim"))
    for entry in call["trail"]:
        line = Text(f"\n{iso(entry['at'])}  ")
        line.append(one_line(_headline(entry)), style=views.band_style(entry["band"]) if entry.get("band") else "")
        console.print(line)
        for detail in _evidence(entry):
            console.print(Text(f"    {one_line(detail)}"))
    for demand in call["demands"]:
        amount = format_units(int(demand["amount"]), demand["decimals"])
        console.print(Text(f"demanded: {demand['action'].replace('_', ' ')} {amount} {demand['symbol']}"))


def _headline(entry: Json) -> str:
    match entry["type"]:
        case "step":
            health = "" if entry["health_wad"] is None else f", health {format_units(int(entry['health_wad']), 18, 4)}"
            return f"{entry['event']} ({entry['band']}{health})"
        case "notice":
            return f"notice on {entry['channel']}: {entry['event']} ({entry['status']})"
        case "delivery":
            return f"delivery on {entry.get('channel', '?')}: {entry['event']}"
        case other:
            return f"{other}: {entry['event']}"


def _evidence(entry: Json) -> Iterator[str]:
    if entry.get("block_number") is not None:
        yield f"block {entry['block_number']} {entry['block_hash']}"
    match entry["type"]:
        case "step":
            for price in entry["prices"]:
                yield f"price of {price['symbol'] or price['asset']}: {price['price']}"
        case "liquidation":
            seized = entry["seized_amount"] or f"{entry['seized']} units of {entry['collateral_asset']}"
            repaid = entry["repaid_amount"] or f"{entry['repaid']} units of {entry['debt_asset']}"
            yield f"{seized} seized for {repaid} repaid, by {entry['liquidator']}"
            yield f"transaction {entry['transaction']}"
        case "notice":
            yield f"notice {entry['notice']}, {entry['attempts']} attempts" + (
                f", last answer: {entry['error']}" if entry["error"] else ""
            )
        case "delivery":
            if entry.get("error"):
                yield str(entry["error"])
        case _:
            yield json.dumps(entry["evidence"], sort_keys=True)

"""The audit trail as a table (CSV) and as a page (HTML) that stands alone: one file, nothing fetched, no scripts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from keeper.core.units import format_units
from keeper.evaluator.page import one_line
from keeper.queries.trail import iso

Json = dict[str, Any]

COLUMNS = (
    "time",
    "type",
    "event",
    "call",
    "protocol",
    "position",
    "account",
    "band",
    "health",
    "block_number",
    "block_hash",
    "channel",
    "status",
    "transaction",
    "detail",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What an export is of. block: the newest that is stored. made_at, since: unix seconds."""

    chain_id: int
    block_number: int | None
    block_hash: str
    made_at: float
    since: float


# --- CSV --------------------------------------------------------------------------------------------------------------


def csv_lines(rows: Iterable[Json]) -> Iterator[str]:
    """A line per entry, below a line of names; as RFC 4180 asks, with what a spreadsheet would run made harmless."""
    yield _csv(COLUMNS)
    for row in rows:
        for entry in row["trail"]:
            yield _csv(_cells(row, entry))


def _cells(row: Json, entry: Json) -> Sequence[str]:
    health = entry.get("health_wad")
    values: dict[str, Any] = {
        "call": row["id"] if row["type"] == "call" else "",
        "protocol": row.get("protocol"),
        "position": row.get("position", row.get("about")),
        "account": row.get("account"),
        "health": None if health is None else format_units(int(health), 18),
        "detail": _detail(entry),
    }
    found = (values.get(name, entry.get(name)) for name in COLUMNS)
    return ["" if value is None else str(value) for value in found]


def _detail(entry: Json) -> str:
    """What has no column of its own."""
    match entry["type"]:
        case "step":
            return "; ".join(f"{price['symbol'] or price['asset']} {price['price']}" for price in entry["prices"])
        case "liquidation":
            seized = entry["seized_amount"] or f"{entry['seized']} units of {entry['collateral_asset']}"
            repaid = entry["repaid_amount"] or f"{entry['repaid']} units of {entry['debt_asset']}"
            return f"{seized} seized for {repaid} repaid, by {entry['liquidator']}"
        case "notice":
            return str(entry["text"])
        case "delivery":
            return str(entry.get("error") or "")
        case _:
            return json.dumps(entry["evidence"], sort_keys=True)


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(_harmless("\n".join(map(one_line, cell.splitlines()))) for cell in cells)
    return line.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


# --- HTML -------------------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 0.3rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid #8884; }
code, pre { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; margin: 0; }
.call { color: #a60; } .urgent { color: #c50; font-weight: 600; } .liquidatable { color: #c00; font-weight: 600; }
small { opacity: 0.75; } details { margin: 0; }
@media print { body { max-width: none; } details { display: block; } h2 { break-after: avoid; } }
"""


def html_lines(rows: Iterable[Json], origin: Origin) -> Iterator[str]:
    """A page to keep: everything is in it, and opening it asks nobody for anything."""
    kept = list(rows)
    calls = [row for row in kept if row["type"] == "call"]
    others = [row for row in kept if row["type"] == "notice"]
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>Margin calls on chain {origin.chain_id}</title>\n<style>{_STYLE}</style></head><body>\n"
    yield f"<h1>Margin calls on chain {origin.chain_id}</h1>\n"
    yield f"<p>{_coverage(origin)} {len(calls)} calls, {len(others)} notices of no call. All times are UTC.</p>\n"
    yield _overview(calls)
    for row in calls:
        yield _call(row)
    if others:
        yield "<h2>Notices of no call</h2>\n"
        for row in others:
            yield f"<p><b>{_text(row['title'])}</b> <small><code>{_text(row['about'])}</code></small></p>\n"
            yield _trail(row["trail"])
    yield "</body></html>\n"


def _coverage(origin: Origin) -> str:
    upto = "before any block" if origin.block_number is None else f"up to block {origin.block_number}"
    hash_ = f" (<code>{_text(origin.block_hash)}</code>)" if origin.block_hash else ""
    since = f", since {iso(origin.since)}" if origin.since else ""
    return f"Exported {iso(origin.made_at)}, {upto}{hash_}{since}."


def _overview(calls: Sequence[Json]) -> str:
    if not calls:
        return "<p>No calls.</p>\n"
    head = _head("opened", "account", "protocol", "status", "deepest", "health at the last step")
    lines = []
    for call in calls:
        depth, opened = _text(call["deepest_band"]), iso(call["steps"][0]["timestamp"])
        lines.append(
            f'<tr><td><a href="#{_text(call["id"])}">{opened}</a></td><td><code>{_text(call["account"])}</code></td>'
            f"<td>{_text(call['protocol'])}</td><td>{_text(call['status'])}</td>"
            f'<td class="{depth}">{depth}</td><td>{_health(call["health_wad"])}</td></tr>'
        )
    return f"<table>{head}{''.join(lines)}</table>\n"


def _call(call: Json) -> str:
    names = {name: _text(call[name]) for name in ("id", "account", "protocol", "status", "position")}
    return (
        f'<h2 id="{names["id"]}">{names["account"]} on {names["protocol"]}: {names["status"]}</h2>\n'
        f"<p><small>Call <code>{names['id']}</code>, position <code>{names['position']}</code></small></p>\n"
        f"{_trail(call['trail'])}"
    )


def _trail(entries: Sequence[Json]) -> str:
    head = _head("time", "what", "band", "health", "block", "details")
    return f"<table>{head}{''.join(map(_line, entries))}</table>\n"


def _line(entry: Json) -> str:
    what = f"{entry['type']}: {entry['event']}" if entry["type"] != "liquidation" else "liquidation"
    if entry.get("channel"):
        what += f" on {entry['channel']}"
    if entry["type"] == "notice":
        what += f" ({entry['status']})"
    block = "" if entry.get("block_number") is None else f"{entry['block_number']}"
    if entry.get("block_hash"):
        block += f"<br><small><code>{_text(entry['block_hash'])}</code></small>"
    band = entry.get("band") or ""
    return (
        f'<tr><td>{_text(entry["time"])}</td><td>{_text(what)}</td><td class="{_text(band)}">{_text(band)}</td>'
        f"<td>{_health(entry.get('health_wad'))}</td><td>{block}</td><td>{_details(entry)}</td></tr>"
    )


def _details(entry: Json) -> str:
    if entry["type"] == "notice":
        lines = "\n".join(one_line(line) for line in str(entry["text"]).splitlines())
        return f"<details><summary>as told</summary><pre>{escape(lines)}</pre></details>"
    said = _text(_detail(entry))
    if entry["type"] == "liquidation":
        said += f"<br><small>transaction <code>{_text(entry['transaction'])}</code></small>"
    return said


def _head(*names: str) -> str:
    return f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in names)}</tr>"


def _health(wad: str | None) -> str:
    return "" if wad is None else format_units(int(wad), 18, 4)


def _text(value: Any) -> str:
    return escape(one_line(str(value)), quote=True)

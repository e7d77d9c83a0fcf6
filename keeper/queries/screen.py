"""What `keeper status` shows a person: one screen of 80 columns, the most urgent words in colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from keeper import terminal
from keeper.evaluator.wording import duration, health
from keeper.queries import views

Json = dict[str, Any]

BANDS = ("safe", "watch", "call", "urgent", "liquidatable", "unknown")
_WRONG = {"degraded": "yellow", "blind": "bold red", "catching_up": "yellow"}


def screen(row: Json) -> Group:
    tables = (_positions(row["positions"]), _nearest(row["nearest"]), _transactions(row["transactions"]))
    return Group(_facts(row), *(part for table in tables if table.row_count for part in (Text(), table)))


# --- facts, a line each -----------------------------------------------------------------------------------------------


def _facts(row: Json) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("keeper", f"{escape(row['program'])}, chain {row['chain_id']}, {_when(row['at'])}")
    for name, words in (
        ("daemon", _daemon(row)),
        ("mode", _mode(row)),
        ("head", _head(row)),
        ("calls", _calls(row)),
        ("notices", _notices(row["undelivered"])),
        ("executor", _executor(row)),
        ("today", _today(row["today"])),
    ):
        grid.add_row(name, words)
    if row["pulse"]["state"] == "live":
        for one in row["ready"]["checks"]:
            if not one["ok"]:
                grid.add_row(f"[red]{escape(one['check'])}[/]", escape(one["detail"]))
        for name, words in _defences(row):
            grid.add_row(name, words)
    return grid


def _defences(row: Json) -> Iterator[tuple[str, str]]:
    """What the defences found; nothing while they find nothing."""
    for one in row["endpoints"] or ():
        if one["quarantined"] is not None:
            left = duration(one["quarantine_left_s"])
            until = "on parole, since nobody else is well" if one.get("paroled") else f"asked nothing for {left} more"
            yield "[red]caught lying[/]", f"{escape(one['url'])}, {until}: {escape(one['quarantined'])}"
    check = row["crosscheck"] or {}
    if count := check.get("contradictions"):
        doubt = check["in_doubt_since_block"]
        since = "" if doubt is None else f", [bold red]in doubt since block {doubt:,}[/]"
        held = check["compared"] + check.get("proven", 0)
        compared = f"{held:,} block{'' if held == 1 else 's'} compared"
        yield "endpoints", f"{count:,} contradiction{'' if count == 1 else 's'} in {compared}{since}"
    beat = row["heartbeat"]
    if beat is not None and not beat["heard"]:
        yield "[red]heartbeat[/]", f"{escape(beat['service'])} was not reached; it may think that Keeper is gone"


def _daemon(row: Json) -> str:
    pulse = row["pulse"]
    if pulse["state"] == "missing":
        return "[bold red]does not run[/] (it never wrote a pulse); start `keeper run`"
    age = duration(pulse["age_s"])
    if pulse["state"] == "stale":
        return f"[bold red]does not run, or hangs[/]: its last pulse is {age} old"
    return f"[green]runs[/] for {duration(row['at'] - pulse['started_at'])}, pulse {pulse['age_s']:.1f} s old"


def _mode(row: Json) -> str:
    said = row["mode"]
    if not said:
        return "unknown while there is no pulse"
    name, stale = said["mode"], row["pulse"]["state"] != "live"
    style, when = ("dim", " when it was last heard") if stale else (_WRONG.get(name, "green"), "")
    words = f"[{style}]{escape(name)}{when}[/]"
    return "; ".join((words, *(escape(reason) for reason in said.get("reasons", {}).values())))


def _head(row: Json) -> str:
    block = row["block"]
    if block is None:
        return "nothing is indexed yet"
    behind = row["head_lag_blocks"] if row["pulse"]["state"] == "live" else None  # else nobody knows
    age = row["head_age_s"]
    lag = "" if behind is None else f", {behind} behind"
    return f"{block['number']:,} ({block['hash'][:6]}…{block['hash'][-4:]}), {duration(age)} old{lag}"


def _calls(row: Json) -> str:
    opened: Mapping[str, int] = row["open_calls"]
    parts = [f"[{views.band_style(band)}]{count} {band}[/]" for band, count in opened.items() if count]
    return f"{sum(opened.values())} open" + (f": {', '.join(parts)}" if parts else "")


def _notices(waiting: Mapping[str, int]) -> str:
    if not waiting:
        return "all delivered"
    parts = [
        f"[bold red]{count} dead[/]" if state == "dead" else f"{count} {state}" for state, count in waiting.items()
    ]
    return f"{', '.join(parts)}; see `keeper calls --undelivered`"


def _executor(row: Json) -> str:
    words = [escape(row["executor"] or "unknown")]
    if row["paused"]:
        words.append("[bold yellow]paused[/]; `keeper resume` goes on")
    words += [f"[bold red]{escape(one['breaker'])} tripped[/] ({escape(one['detail'])})" for one in row["tripped"]]
    if row["tripped"] and not row["paused"]:
        words.append("see `keeper resume`")
    intents = ", ".join(f"{count} {state}" for state, count in row["intents"].items())
    return "; ".join((*words, *((intents,) if intents else ())))


def _today(day: Json) -> str:
    net, gas = Decimal(day["net_wad"]).scaleb(-18), Decimal(day["gas_wei"]).scaleb(-18)
    count = day["liquidations"]
    counted = f"{count} liquidation{'' if count == 1 else 's'}"
    return f"{counted}, net {net:,.2f} of the base currency, gas {gas:.6f} of the native coin"


# --- tables -----------------------------------------------------------------------------------------------------------


def _positions(counted: Mapping[str, Mapping[str, int]]) -> Table:
    table = terminal.table("positions", *BANDS, right=BANDS, whole=BANDS, rules=False)
    for name, counts in counted.items():
        shown = (f"[{views.band_style(band)}]{counts[band]:,}[/]" if counts[band] else "[dim]0[/]" for band in BANDS)
        table.add_row(escape(name), *shown)
    return table


def _nearest(nearest: Sequence[Json]) -> Table:
    names = "nearest", "on", "health", "band", "called below", "collateral", "debt"
    table = terminal.table(*names, right=("health", "called below"), whole=("nearest", "health", "band"), rules=False)
    for row in nearest:
        table.add_row(
            _short(row["account"]),
            escape(row["protocol"]),
            health(row["health_wad"]),
            f"[{views.band_style(row['band'])}]{row['band']}[/]",
            health(row["call_wad"]),
            *(_symbols(row[side]) for side in ("collaterals", "debts")),
        )
    return table


def _transactions(last: Sequence[Json]) -> Table:
    names = "last transactions", "nonce", "kind", "purpose", "status"
    table = terminal.table(*names, right=("nonce",), whole=names, rules=False)
    for row in last:
        table.add_row(_short(row["tx_hash"]), str(row["nonce"]), row["kind"], row["purpose"], row["intent_status"])
    return table


def _symbols(holdings: Sequence[Json]) -> str:
    return ", ".join(escape(one["symbol"]) for one in holdings) or "-"


def _short(text: str) -> Text:
    return Text(f"{text[:6]}…{text[-4:]}")


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"

"""`keeper replay`: reads its files, shows how far it is, prints what became of the positions."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keeper.config.load import load_margin_calls
from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import rule_of, settings_of
from keeper.core.errors import ConfigError
from keeper.replay.engine import replay
from keeper.replay.history import Report, read_history
from keeper.replay.outcome import Outcome, summary
from keeper.replay.positions import read_positions

Json = dict[str, Any]


def run(args: argparse.Namespace) -> int:
    margin = MarginCalls.model_validate({}) if args.config is None else load_margin_calls(args.config)
    if args.sweep is None and args.chart is not None:
        raise ConfigError("--chart draws a comparison of settings; add --sweep, or leave it out")
    with _progress() as report:
        history = read_history(args.prices, report)
        tracks = read_positions(args.positions, history.assets)
        if args.sweep is not None:
            from keeper.replay.sweep import sweep

            return sweep(args, margin, history, tracks, report)
        outcomes = replay(history, tracks, rule_of(margin), report)
    _show(outcomes, summary(outcomes, settings_of(margin)), as_json=args.json)
    return 0


def _show(outcomes: Sequence[Outcome], total: Json, *, as_json: bool) -> None:
    if as_json:
        for outcome in outcomes:
            print(json.dumps(outcome.row(), separators=(",", ":")))
        print(json.dumps({"summary": total}, separators=(",", ":")))
        return
    months = total["position_months"]
    print(f"{total['positions']} positions, {total['began_low']['positions']} of which began below their call line")
    print(f"the others, over {months:g} position-months:")
    for line in _lines(total):
        print(f"  {line}")
    if total["began_low"]["breached"]:
        print("those that began low:")
        for line in _lead_lines(total["began_low"]):
            print(f"  {line}")
    print(f"notices: {total['notices_per_position_day'] or 0:.4f} per position and day,", end=" ")
    print(f"at most {total['notices_worst_position_day']} to one position on one day")


def _lines(total: Json) -> Iterator[str]:
    yield from _lead_lines(total)
    for what in ("needless", "false"):
        rate = total[f"{what}_calls_per_position_month"]
        yield f"{total[f'{what}_calls']} {what} calls" + (
            "" if rate is None else f", {rate:.3f} per position and month"
        )


def _lead_lines(total: Json) -> Iterator[str]:
    yield f"{total['breached']} breached, {total['missed']} of them without a call before"
    if total["breached"]:
        yield f"called 15 minutes ahead: {_percent(total['called_15m'])}, an hour ahead: {_percent(total['called_1h'])}"
        yield f"lead: {_hours(total['lead_s_median'])} in the median, {_hours(total['lead_s_p10'])} in the worst tenth"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on a terminal; elsewhere nothing, since a replay is over soon."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of or None)
            bars.update(tasks[what], completed=done, total=of or None)

        yield report

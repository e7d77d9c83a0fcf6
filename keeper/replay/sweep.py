"""Many settings on one history, in parallel processes: what each costs and gains, and which is best for a stated
trade-off."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from pydantic import ValidationError

from keeper import terminal
from keeper.config.margin_calls import MarginCalls
from keeper.config.table import explain
from keeper.config.thresholds import rule_of, settings_of
from keeper.core.errors import ConfigError
from keeper.core.units import format_units
from keeper.replay.chart import Point, draw
from keeper.replay.engine import replay
from keeper.replay.history import History, Report
from keeper.replay.outcome import summary
from keeper.replay.positions import Track

Json = dict[str, Any]

_FEW: Sequence[Mapping[str, Any]] = (
    *({"by": "health", "call": call, "watch": "1.4", "target": "1.45"} for call in ("1.05", "1.10", "1.15", "1.25")),
    *(
        {"by": "both", "call": call, "volatility": {"probability": probability}}
        for call in ("1.07", "1.09", "1.11")
        for probability in (0.03, 0.08, 0.15)
    ),
)
_LIKE_CALL = ("watch", "target")  # of these few: so that any call is in order
_BY_HEALTH = {"watch", "urgent", "hysteresis", "target"}  # lines that volatility draws, where it has a say
_shared: list[tuple[History, Sequence[Track]]] = []  # in a worker: what it was started with


def sweep(
    args: argparse.Namespace, margin: MarginCalls, history: History, tracks: Sequence[Track], report: Report
) -> int:
    """margin: what is compared with, and what the swept keys are changes of."""
    labelled = [("as configured", margin), *settings(args.sweep, margin)]
    workers = max(1, min(args.workers or os.cpu_count() or 1, len(labelled)))
    rows: list[Json] = []
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (history, tracks)) as pool:
        report("settings compared", 0, len(labelled))
        for (label, _), total in zip(labelled, pool.map(_judge, [one for _, one in labelled]), strict=True):
            rows.append({"label": label, "value": value(total, args.needless_cost), **total})
            report("settings compared", len(rows), len(labelled))
    best = max(rows, key=lambda row: row["value"])
    if args.chart is not None:
        args.chart.write_text(draw([_point(row, row is best) for row in rows]), "utf-8")
    if args.json:
        for row in rows:
            print(json.dumps({"setting": row}, separators=(",", ":")))
        print(json.dumps({"best": best, "needless_cost": args.needless_cost}, separators=(",", ":")))
    else:
        _print(rows, best, args.needless_cost)
    return 0


def value(total: Json, needless_cost: float) -> float:
    """The share of breaches called an hour ahead (0 without breaches), less what needless calls cost."""
    needless = total["needless_calls_per_position_month"] or 0.0
    return round(float((total["called_1h"] or 0.0) - needless_cost * needless), 6)


def _start(history: History, tracks: Sequence[Track]) -> None:
    _shared.append((history, tracks))


def _judge(margin: MarginCalls) -> Json:
    history, tracks = _shared[0]
    return summary(replay(history, tracks, rule_of(margin), lambda *_: None), settings_of(margin))


def settings(swept: Sequence[str], margin: MarginCalls) -> Iterator[tuple[str, MarginCalls]]:
    """Each combination of what is swept, with its label. Raises ConfigError for what is no setting."""
    if not swept:
        for tables in _FEW:
            yield _label({key: one for key, one in tables.items() if key not in _LIKE_CALL}), _checked(tables)
        return
    axes = [_axis(text) for text in swept]
    keys, configured = [key for key, _ in axes], _configured_by(margin)
    for values in itertools.product(*(values for _, values in axes)):
        changes = dict(zip(keys, values, strict=True))
        by = changes.get("by", _by(keys, configured))
        if by != configured:
            changes = {"by": by, **changes}
        tables = _written(margin, by) | {"by": by}
        for key, chosen in changes.items():
            *outer, name = key.split(".")
            table = tables
            for part in outer:
                table = table.setdefault(part, {})
            table[name] = chosen
        yield _label(changes), _checked(tables)


def _configured_by(margin: MarginCalls) -> str:
    """What `auto` comes to."""
    if margin.by == "auto":
        return "health" if margin.by_health else "both"
    return margin.by


def _by(swept: Sequence[str], configured: str) -> str:
    """What positions are called by where these keys are swept and `by` is not: as configured, unless one would be of no
    effect by that."""
    if any(key.startswith("volatility.") for key in swept):
        by = "both" if configured == "health" else configured
    else:
        by = "health" if any(key in _BY_HEALTH for key in swept) else configured
    return "both" if by == "probability" and "call" in swept else by


def _axis(text: str) -> tuple[str, list[Any]]:
    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        raise ConfigError(f"--sweep {text!r} is no KEY=V1,V2; write such as call=1.06,1.08")
    return key, [_value(key, one) for one in values.split(",")]


def _value(key: str, text: str) -> Any:
    """As the configuration wants it: numbers in the table of volatility, lists of hours with +, text elsewhere."""
    if not key.startswith("volatility.") or key.endswith((".widest", ".estimator")):
        return text
    try:
        numbers = tuple(float(part) for part in text.split("+"))
    except ValueError:
        raise ConfigError(f"--sweep {key}: {text!r} is no number") from None
    return numbers if key.endswith(".memories_hours") else numbers[0]


def _written(margin: MarginCalls, by: str) -> Json:
    """The keys that were given, as the file has them, but for those that have no say where positions are called by
    something else than configured."""
    tables = margin.model_dump(by_alias=True, exclude_unset=True, exclude={"accounts"})
    for name, field in type(margin).model_fields.items():
        alias = field.alias or name
        if alias in tables and name.endswith("_wad"):
            tables[alias] = format_units(tables[alias], 18)
    if "widest" in tables.get("volatility", {}):
        tables["volatility"]["widest"] = format_units(tables["volatility"]["widest"], 18)
    mute = {"health": {"volatility"}, "both": _BY_HEALTH, "probability": {"call", *_BY_HEALTH}}.get(by, set())
    return {key: one for key, one in tables.items() if key not in mute}


def _checked(tables: Mapping[str, Any]) -> MarginCalls:
    plain = {key: _tuples(one) for key, one in tables.items()}
    try:
        return MarginCalls.model_validate(plain)
    except ValidationError as error:
        problems = explain(error, MarginCalls)
    raise ConfigError("\n".join(f"--sweep: {problem.removeprefix(': ')}" for problem in problems))


def _tuples(one: Any) -> Any:
    if isinstance(one, dict):
        return {key: _tuples(inner) for key, inner in one.items()}
    return tuple(one) if isinstance(one, list) else one


def _label(changes: Mapping[str, Any]) -> str:
    parts = []
    for key, one in changes.items():
        if isinstance(one, Mapping):
            parts.append(_label(one))
        elif key != "by":
            shown = "+".join(f"{part:g}" for part in one) if isinstance(one, tuple) else f"{one}"
            parts.append(f"{key.rpartition('.')[2]} {shown}")
        else:
            parts.append(f"by {one}")
    return ", ".join(parts)


def _point(row: Json, is_best: bool) -> Point:
    return Point(row["label"], row["needless_calls_per_position_month"] or 0.0, row["called_1h"] or 0.0, is_best)


def _print(rows: Sequence[Json], best: Json, needless_cost: float) -> None:
    numbers = ("15 min", "1 hour", "needless", "worst day", "value")
    table = terminal.table("setting", *numbers, right=numbers, whole=numbers)
    for row in sorted(rows, key=lambda row: -row["value"]):
        early, hour = (f"{100 * (row[name] or 0):.1f} %" for name in ("called_15m", "called_1h"))
        needless = row["needless_calls_per_position_month"] or 0.0
        worst = row["notices_worst_position_day"]
        table.add_row(row["label"], early, hour, f"{needless:.3f}", str(worst), f"{row['value']:.3f}")
    console = terminal.console()
    console.print(table)
    console.print(
        f"best: {best['label']}. The value of a setting is the share of breaches called an hour ahead, less "
        f"{needless_cost:g} for each needless call per position and month."
    )

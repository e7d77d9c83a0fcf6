"""How far a backfill is: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from keeper.indexer.backfill import Progress as Step
from keeper.indexer.backfill import Report

log = structlog.get_logger(__name__)

LOG_EVERY_S = 10.0


@contextmanager
def progress() -> Iterator[Report]:
    """A reporter for the length of a backfill. Goes to stderr, where the logs are."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bars(console) as bars:
            yield _on_terminal(bars)
    else:
        yield _in_log()


def _bars(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)


def _on_terminal(bars: Progress) -> Report:
    tasks: dict[tuple[str, str], TaskID] = {}

    def report(step: Step) -> None:
        key = step.protocol, step.phase
        if key not in tasks:
            words = f"{step.protocol}: " + ("blocks scanned" if step.phase == "scan" else "state reads")
            tasks[key] = bars.add_task(words, total=step.total or None)
        bars.update(tasks[key], completed=step.done, total=step.total or None)

    return report


def _in_log() -> Report:
    last = time.monotonic()

    def report(step: Step) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_S:
            last = time.monotonic()
            log.info("backfill_progressed", protocol=step.protocol, phase=step.phase, done=step.done, of=step.total)

    return report

"""A daemon looked at from outside: its memory, and what its database is made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """At one block. Sizes in bytes: resident memory, the part of it that is the process' own, what the chain's state
    takes in rows (headers, and every version of market, prices, positions and volatility), and the file with its log.

    versions: rows by kind of fact. calls, settled: margin calls and liquidations of ours so far, whose record grows.
    """

    block: int
    seconds: float
    resident: int
    anonymous: int
    chain: int
    file: int
    headers: int
    versions: Mapping[str, int]
    calls: int
    settled: int


def look(block: int, seconds: float, pid: int, database: Path) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        headers, bytes_of_headers = connection.execute(
            "SELECT count(*), sum(length(bloom) + length(hash) + length(parent_hash)) FROM blocks"
        ).fetchone()
        kinds = connection.execute(
            "SELECT kind, count(*), sum(length(key) + coalesce(length(payload), 0)) FROM facts GROUP BY kind"
        ).fetchall()
        calls = connection.execute("SELECT count(DISTINCT key) FROM facts WHERE kind = 'episode'").fetchone()[0]
        settled = connection.execute("SELECT count(*) FROM intents WHERE status = 'confirmed'").fetchone()[0]
    log = database.with_name(database.name + "-wal")
    return Sample(
        block=block,
        seconds=round(seconds, 1),
        resident=_kib(status["VmRSS"]),
        anonymous=_kib(status["RssAnon"]),
        chain=bytes_of_headers + sum(size for kind, _, size in kinds if kind != "episode"),
        file=database.stat().st_size + (log.stat().st_size if log.exists() else 0),
        headers=headers,
        versions={kind: count for kind, count, _ in kinds},
        calls=calls,
        settled=settled,
    )


def height(database: Path) -> int:
    """Block that the daemon has stored; -1 before the first."""
    if not database.exists():
        return -1
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            found = connection.execute("SELECT max(number) FROM blocks").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are being made
            return -1
    return -1 if found is None else int(found)


def quarters(samples: Sequence[Sample], what: str) -> tuple[float, float]:
    """Means of one figure over the second and over the last quarter of a run."""
    values = [float(getattr(sample, what)) for sample in samples]
    quarter = len(values) // 4
    return fmean(values[quarter : 2 * quarter]), fmean(values[-quarter:])


def as_json(sample: Sample) -> dict[str, Any]:
    return asdict(sample)


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024

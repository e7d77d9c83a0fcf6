"""The audit trail of margin calls: every step with its evidence, what was told to whom in which words, and what became
of it. Built from the store alone; one JSON object a call, and one for each notice of no call.

    {"type": "call", …as `keeper calls --json`…, "trail": [entry, …]}      entries oldest first
    {"type": "notice", …, "trail": [entry, …]}

    entry: {"time", "at", "type": step | liquidation | notice | delivery | record, "event", …}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from keeper.core.ports import Store
from keeper.core.records import AuditEntry, Delivery
from keeper.protocols.addresses import checksummed
from keeper.queries.views import Tokens, call_rows

Json = dict[str, Any]
Audit = Mapping[str, list[AuditEntry]]


def trail_rows(store: Store, token: Tokens, since: float = 0.0, accounts: Collection[bytes] = ()) -> Iterator[Json]:
    """Calls in the order of their opening, then notices of no call in that of their telling.

    token: what assets are called. since: unix seconds; what ended before is left out. accounts: only these; empty means
    all, and the notices of none.
    """
    names = {checksummed(account) for account in accounts}
    told: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in store.deliveries():
        told[delivery.notice.id].append(delivery)
    audit: dict[str, list[AuditEntry]] = defaultdict(list)
    for entry in store.audit():
        audit[entry.subject].append(entry)
    for row in call_rows(store, token):
        if not names or row["account"] in names:
            entries = _of_call(row, told, audit)
            if row["status"] == "open" or any(entry["at"] >= since for entry in entries):
                yield {"type": "call", **row, "trail": entries}
    for deliveries in told.values() if not names else ():
        notice = deliveries[0].notice
        if not notice.event.of_episode:
            entries = sorted(_of_notice(deliveries, audit), key=_order)
            if any(entry["at"] >= since for entry in entries):
                about = {"id": notice.id, "event": notice.event.value, "about": notice.position, "title": notice.title}
                yield {"type": "notice", **about, "trail": entries}


def _of_call(row: Json, told: Mapping[str, list[Delivery]], audit: Audit) -> list[Json]:
    entries = list(_steps(row))
    notices = list(dict.fromkeys(notice["id"] for notice in row["notices"]))
    subjects = {row["id"]}
    for notice_id in notices:
        entries += _of_notice(told[notice_id], audit)
        subjects.add(told[notice_id][0].notice.episode)
    entries += [_record(entry) for subject in sorted(subjects) for entry in audit.get(subject, ())]
    return sorted(entries, key=_order)


def _steps(row: Json) -> Iterator[Json]:
    steps = row["steps"]
    for step in steps:
        yield _entry(step["timestamp"], "step", **step)
    for loss in row["losses"]:
        # Its block is not among the steps where the position was still open to liquidation after it.
        later = (step["timestamp"] for step in steps if step["block_number"] >= loss["block_number"])
        yield _entry(next(later, steps[-1]["timestamp"]), "liquidation", event="liquidation", **loss)


def _of_notice(deliveries: Iterable[Delivery], audit: Audit) -> Iterator[Json]:
    deliveries = list(deliveries)
    notice = deliveries[0].notice
    for delivery in deliveries:
        yield _entry(
            delivery.created_at,
            "notice",
            event=notice.event.value,
            notice=notice.id,
            band=notice.band,
            channel=delivery.channel,
            status=delivery.status.value,
            attempts=delivery.attempts,
            error=delivery.error,
            told_by=delivery.carrier,
            block_number=notice.body.get("block_number"),
            block_hash=notice.body.get("block_hash"),
            health_wad=notice.body.get("health_wad"),
            text=notice.text,
        )
    for entry in audit.get(notice.id, ()):
        yield _entry(entry.at, "delivery", event=entry.event, notice=notice.id, **entry.evidence)


def _record(entry: AuditEntry) -> Json:
    return _entry(entry.at, "record", event=entry.event, evidence=dict(entry.evidence))


def _entry(at: float, kind: str, **said: Any) -> Json:
    return {"time": iso(at), **said, "at": at, "type": kind}


def _order(entry: Json) -> tuple[float, int]:
    """What was judged comes before what was told of it in the same second."""
    return float(int(entry["at"])), ("step", "liquidation", "notice", "delivery", "record").index(entry["type"])


def iso(at: float) -> str:
    """UTC, to the second, truncated."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

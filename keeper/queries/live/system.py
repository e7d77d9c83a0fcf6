"""How the daemon fares, as its pulse says, and how old that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from keeper import __version__
from keeper.core.ports import Store
from keeper.core.records import DeliveryStatus
from keeper.core.types import Block
from keeper.pulse import Pulse
from keeper.queries.live.board import BANDS, Board
from keeper.queries.live.rows import block_json

Json = dict[str, Any]

_SETTLED = (DeliveryStatus.SENT, DeliveryStatus.DROPPED)


def pulse_json(pulse: Pulse | None, now: float) -> Json:
    """state: live, stale (the daemon hangs or has ended) or missing (none was ever written, or none can be read)."""
    if pulse is None:
        return {"state": "missing", "at": None, "age_s": None, "started_at": None, "program": None}
    return {
        "state": "stale" if pulse.is_stale(now) else "live",
        "at": pulse.at,
        "age_s": round(pulse.age_s(now), 3),
        "started_at": pulse.started_at,
        "program": pulse.program,
    }


def system_json(pulse: Pulse | None, tip: Block | None, now: float) -> Json:
    """What a page about the machine shows; every section as its owner says it, null while it says nothing."""
    sections: dict[str, Any] = {} if pulse is None else dict(pulse.sections)
    heads, breakers = sections.get("heads", {}), sections.get("breakers", {})
    return {
        "block": None if tip is None else block_json(tip),
        "pulse": pulse_json(pulse, now),
        "head_lag_blocks": heads.get("behind_blocks"),
        "head_age_s": None if tip is None else round(max(0.0, now - tip.timestamp), 1),
        "mode": sections.get("mode"),
        "endpoints": (sections.get("endpoints") or {}).get("endpoints"),
        "round_trips": sections.get("round_trips"),
        "latency": sections.get("latency"),
        "breakers": breakers.get("tripped"),
        "paused": breakers.get("paused"),
        "jobs": sections.get("jobs"),
        "balances": sections.get("balances"),
        "memory": sections.get("memory"),
        "sections": sections,
    }


def status_json(
    store: Store, board: Board | None, pulse: Pulse | None, chain_id: int, calls: Sequence[Json], now: float
) -> Json:
    """One screen: is it alive, where is it, and what wants a hand."""
    sections: dict[str, Any] = {} if pulse is None else dict(pulse.sections)
    opened = [call for call in calls if call["status"] == "open"]
    waiting = Counter(one.status.value for one in store.deliveries() if one.status not in _SETTLED)
    executor = sections.get("executor", {})
    return {
        "chain_id": chain_id,
        "program": __version__,
        "block": None if board is None else block_json(board.block),
        "pulse": pulse_json(pulse, now),
        "mode": sections.get("mode"),
        "head_lag_blocks": sections.get("heads", {}).get("behind_blocks"),
        "head_age_s": None if board is None else round(max(0.0, now - board.block.timestamp), 1),
        "positions": {} if board is None else board.counts(),
        "position_count": 0 if board is None else len(board),
        "open_calls": {band: sum(call["band"] == band for call in opened) for band in BANDS[1:-1]},
        "undelivered": dict(sorted(waiting.items())),
        "intents": dict(sorted(Counter(intent.status.value for intent in store.intents()).items())),
        "executor": executor.get("mode"),
        "paused": sections.get("breakers", {}).get("paused"),
        "tripped": sections.get("breakers", {}).get("tripped", []),
    }

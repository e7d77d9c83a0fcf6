"""What /metrics tells, as plain numbers by what they are of; the names are given in `keeper.web.metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from keeper.core.ports import Store
from keeper.core.records import IntentStatus
from keeper.executor.legs import legs_of
from keeper.pulse import Pulse
from keeper.queries.live.board import BANDS
from keeper.queries.live.live import Live

Json = dict[str, Any]


def figures(store: Store, live: Live, pulse: Pulse | None, calls: Sequence[Json], now: float) -> Json:
    board, tip = live.board, live.tip
    opened = Counter((call["protocol"], call["band"]) for call in calls if call["status"] == "open")
    intents = [leg for intent in store.intents() for leg in legs_of(intent)]
    profit: Counter[str] = Counter()
    gas_wei = 0
    for intent in store.intents():
        if intent.status is not IntentStatus.ABANDONED and intent.gas_cost_wei:
            gas_wei += intent.gas_cost_wei
    for leg in intents:
        statement = leg.realized.get("statement")
        if leg.profit_realized is not None and statement is not None:
            profit[leg.protocol] += leg.profit_realized * 10 ** (18 - statement["base_decimals"])
    return {
        "now": now,
        "pulse": None if pulse is None else {"age_s": pulse.age_s(now), "live": not pulse.is_stale(now)},
        "started_at": None if pulse is None else pulse.started_at,
        "sections": {} if pulse is None else pulse.sections,
        "tip": None if tip is None else {"number": tip.number, "age_s": max(0.0, now - tip.timestamp)},
        "positions": {} if board is None else board.counts(),
        "at_risk": {} if board is None else board.at_risk(),
        "open_calls": [
            {"protocol": protocol, "band": band, "count": opened[protocol, band]}
            for protocol in ([] if board is None else board.protocols)
            for band in BANDS[1:-1]
        ],
        "deliveries": [
            {"channel": channel, "status": status, "count": count}
            for (channel, status), count in sorted(
                Counter((one.channel, one.status.value) for one in store.deliveries()).items()
            )
        ],
        "intents": [
            {"kind": kind, "status": status, "count": count}
            for (kind, status), count in sorted(Counter((one.kind, one.status.value) for one in intents).items())
        ],
        "profit": {protocol: wad / 1e18 for protocol, wad in sorted(profit.items())},
        "gas_spent": gas_wei / 1e18,
    }

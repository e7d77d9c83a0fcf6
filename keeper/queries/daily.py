"""Our transactions day by day, as `keeper liquidations --daily` prints them: built from the store alone.

A transaction belongs to the day (UTC) on which it was seen mined; what never was, to the day on which it was decided.
Values are whole units of the base currency, scaled by 1e18: protocols count with different decimals. Where protocols
count in different currencies, `protocols` keeps them apart and the sums mean nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.core.units import WAD, mul_div_down
from keeper.executor.legs import legs_of

Json = dict[str, Any]

_PURPOSES = ("liquidations", "failed", "cancelled", "approvals", "preparations", "orders", "notices")
_BY_KIND = {"approval": "approvals", "preparation": "preparations", "order": "orders", "notice": "notices"}


def daily_rows(store: Store) -> Iterator[Json]:
    """One row for each day on which anything happened, oldest first."""
    days: dict[str, list[Intent]] = {}
    for intent in _legs(store):
        days.setdefault(day_of(intent), []).append(intent)
    for day in sorted(days):
        yield _row(day, days[day])


def row_of(store: Store, day: str) -> Json:
    """Of one day, YYYY-MM-DD, also when nothing happened on it."""
    return _row(day, [intent for intent in _legs(store) if day_of(intent) == day])


def _legs(store: Store) -> Iterator[Intent]:
    return (leg for one in store.intents() for leg in legs_of(one))


def _row(day: str, intents: Sequence[Intent]) -> Json:
    by_protocol = {name: [one for one in intents if one.protocol == name] for name in _protocols(intents)}
    return {
        "day": day,
        **summary(intents),
        "protocols": {name: summary(ours) for name, ours in by_protocol.items()},
    }


def day_of(intent: Intent) -> str:
    """YYYY-MM-DD."""
    at = intent.realized.get("at", intent.created_at)
    return datetime.fromtimestamp(at, UTC).date().isoformat()


@dataclass(slots=True)
class _Sums:
    expected: int = 0
    realized: int = 0
    gas_base: int = 0
    unpriced: int = 0
    gas_wei: Counter[str] = field(default_factory=Counter)


def summary(intents: Iterable[Intent]) -> Json:
    """profit_*: of liquidations that succeeded, after their gas. net: realized, less the gas of all that brought
    nothing. gas: by what it was spent on. unpriced: transactions whose profit, or gas, nobody could value; they count
    as nothing in the sums."""
    intents = list(intents)
    liquidations = [one for one in intents if one.kind == "liquidation"]
    sums = _Sums()
    for intent in intents:
        _count(sums, intent)
    return {
        "liquidations": len(liquidations),
        "statuses": dict(sorted(Counter(one.status.value for one in liquidations).items())),
        "profit_expected_wad": str(sums.expected),
        "profit_realized_wad": str(sums.realized),
        "difference_wad": str(sums.realized - sums.expected),
        "net_wad": str(sums.realized - sums.gas_base),
        "gas_wei": str(sums.gas_wei.total()),
        "gas": {purpose: str(sums.gas_wei[purpose]) for purpose in _PURPOSES},
        "unpriced": sums.unpriced,
    }


def _count(sums: _Sums, intent: Intent) -> None:
    if intent.tx_hash is None:
        return
    purpose = _purpose(intent)
    sums.gas_wei[purpose] += intent.gas_cost_wei or 0
    base_decimals, gas = intent.realized.get("base_decimals"), intent.realized.get("gas")
    if purpose != "liquidations":
        if gas is None or base_decimals is None:
            sums.unpriced += 1
        else:
            sums.gas_base += _wad(int(gas), base_decimals)
    elif intent.profit_realized is None or base_decimals is None:
        sums.unpriced += 1
    else:
        sums.expected += _wad(intent.profit_expected or 0, base_decimals)
        sums.realized += _wad(intent.profit_realized, base_decimals)


def _purpose(intent: Intent) -> str:
    """What the gas of a mined transaction was spent on. Whatever filled a nonce by doing nothing is a cancellation."""
    if intent.status is IntentStatus.FAILED:
        return "failed"
    if intent.status is IntentStatus.ABANDONED:
        return "cancelled"
    return _BY_KIND.get(intent.kind, "liquidations")


def _wad(amount: int, decimals: int) -> int:
    return mul_div_down(amount, WAD, 10**decimals)


def _protocols(intents: Iterable[Intent]) -> list[str]:
    return sorted({intent.protocol for intent in intents if intent.protocol})

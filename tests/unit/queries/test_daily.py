"""What a day of transactions adds up to: every wei of gas once, and profit only where there was one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.queries.daily import daily_rows
from tests.support.store_work import intent

MIDNIGHT = 1_767_225_600.0  # 2026-01-01
BASE, WAD = 10**8, 10**18


class Held:
    def __init__(self, *intents: Intent) -> None:
        self._intents = intents

    def intents(self) -> tuple[Intent, ...]:
        return self._intents


def rows(*intents: Intent) -> list[dict[str, Any]]:
    return list(daily_rows(cast(Store, Held(*intents))))


def mined(name: str, status: IntentStatus = IntentStatus.CONFIRMED, at: float = MIDNIGHT, **more: Any) -> Intent:
    """It cost 10**15 wei, worth $2."""
    return replace(
        intent(name, status),
        created_at=MIDNIGHT - 1,
        tx_hash=name.encode().rjust(32),
        gas_cost_wei=10**15,
        realized={"at": at, "gas": str(2 * BASE), "base_decimals": 8},
        **more,
    )


def test_a_day_tells_expected_and_realized_profit_and_all_gas_by_what_it_was_for() -> None:
    [row] = rows(
        mined("a", profit_expected=50 * BASE, profit_realized=48 * BASE),
        mined("b", profit_expected=10 * BASE, profit_realized=11 * BASE),
        mined("c", IntentStatus.FAILED, profit_expected=30 * BASE),
        mined("d", IntentStatus.ABANDONED, profit_expected=20 * BASE),
        replace(mined("e"), kind="approval", protocol=""),
        replace(mined("f"), kind="order", protocol=""),
        replace(mined("g"), kind="notice", protocol=""),
    )
    assert row["day"] == "2026-01-01"
    assert (row["liquidations"], row["statuses"]) == (4, {"abandoned": 1, "confirmed": 2, "failed": 1})
    assert (row["profit_expected_wad"], row["profit_realized_wad"]) == (str(60 * WAD), str(59 * WAD))
    assert (row["difference_wad"], row["net_wad"]) == (str(-WAD), str(49 * WAD))
    assert row["gas_wei"] == str(7 * 10**15)
    assert row["gas"] == {
        "liquidations": str(2 * 10**15),
        "failed": str(10**15),
        "cancelled": str(10**15),
        "approvals": str(10**15),
        "preparations": "0",
        "orders": str(10**15),
        "notices": str(10**15),
    }
    assert list(row["protocols"]) == ["aave"]
    assert row["protocols"]["aave"]["net_wad"] == str(55 * WAD)


def test_a_transaction_counts_on_the_day_it_was_mined_and_what_never_was_on_the_day_it_was_decided() -> None:
    waiting = replace(intent("w", IntentStatus.BROADCAST), created_at=MIDNIGHT - 1)
    late = mined("l", at=MIDNIGHT + 86_400, profit_expected=BASE, profit_realized=BASE)
    first, second = rows(waiting, late)
    assert (first["day"], first["statuses"], first["gas_wei"]) == ("2025-12-31", {"broadcast": 1}, "0")
    assert (second["day"], second["profit_realized_wad"]) == ("2026-01-02", str(WAD))


def test_protocols_that_count_with_other_decimals_are_added_in_one_scale() -> None:
    coarse = mined("c", profit_expected=5 * 10**6, profit_realized=5 * 10**6, protocol="usd6")
    coarse = replace(coarse, realized={**coarse.realized, "base_decimals": 6})
    [row] = rows(coarse, mined("a", profit_expected=BASE, profit_realized=BASE))
    assert row["profit_realized_wad"] == str(6 * WAD)


def test_what_nobody_could_value_is_counted_as_such_and_its_gas_is_not_lost() -> None:
    unknown = replace(mined("u"), realized={"at": MIDNIGHT, "gas": None, "base_decimals": None})
    [row] = rows(unknown, replace(unknown, id="f", status=IntentStatus.FAILED))
    assert (row["unpriced"], row["gas_wei"], row["net_wad"]) == (2, str(2 * 10**15), "0")


def test_a_batch_counts_as_each_of_its_liquidations_and_its_gas_once() -> None:
    """Of two legs one failed alone: it cost its part, and the other brought what it says."""
    expected = {"profit": str(20 * BASE), "gas_wei": str(10**15)}
    leg = {"cause": "a", "position": "aave:0x01", "account": "0x01", "debt_asset": "0x01", "collateral_asset": "0x02"}
    statement = {"profit": str(19 * BASE), "repaid": "1", "seized": "1"}
    batch = replace(mined("b"), kind="batch", plan={"legs": [{**leg, "expected": expected}] * 2})
    outcomes = [{"gas": str(BASE), "statement": statement}, {"gas": str(BASE), "failed": "reverted: healthy"}]
    [row] = rows(replace(batch, realized={**batch.realized, "legs": outcomes}))
    assert (row["liquidations"], row["statuses"]) == (2, {"confirmed": 1, "failed": 1})
    assert (row["profit_expected_wad"], row["profit_realized_wad"]) == (str(20 * WAD), str(19 * WAD))
    assert (row["net_wad"], row["gas_wei"]) == (str(18 * WAD), str(10**15))
    [whole] = rows(replace(batch, status=IntentStatus.FAILED))
    assert (whole["statuses"], whole["net_wad"], whole["unpriced"]) == ({"failed": 2}, str(-2 * WAD), 0)

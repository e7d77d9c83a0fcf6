"""What people read fits eighty columns whatever is in it, and the words that decide anything are never broken."""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from rich.console import Console, RenderableType
from rich.table import Table

from keeper import solvency
from keeper.core.types import BlockRef, Health, Skip
from keeper.queries import deliveries, report
from keeper.queries.screen import screen
from keeper.rehearsal.findings import Finding
from keeper.rehearsal.show import table as rehearsal_table

Json = dict[str, Any]

_ACCOUNT = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
_HASH = "0x" + "5f" * 32
_HUGE = str(987_654_321_012 * 10**18)


def _holding(symbol: str) -> Json:
    return {"asset": _ACCOUNT, "symbol": symbol, "decimals": 18, "amount": _HUGE, "value": _HUGE}


_POSITION: Json = {
    "protocol": "morpho-blue-ethereum",
    "position": f"morpho-blue-ethereum:{_ACCOUNT}:{_HASH}",
    "account": _ACCOUNT,
    "market": _HASH,
    "market_name": "PT-sUSDE-27NOV2026 / USDtb (94.5 %)",
    "health_wad": str(1_234_567 * 10**18),
    "band": "liquidatable",
    "collaterals": [_holding("PT-sUSDE-27NOV2026"), _holding("WETH")],
    "debts": [_holding("USDtb")],
    "stale_assets": [_ACCOUNT],
    "unpriced_assets": [],
    "metrics": {
        "base_decimals": 18,
        "equity_value": _HUGE,
        "equity_utilization_wad": str(12 * 10**18),
        "effective_leverage_wad": str(123_456 * 10**18),
        "largest_asset": _ACCOUNT,
        "largest_share_wad": str(10**18),
        "margin_ratio_wad": str(10**18),
        "initial_margin_ratio_wad": str(10**18),
        "maintenance_margin_ratio_wad": str(10**18),
        "collateral_buffer_value": _HUGE,
        "liquidation_penalty_value": _HUGE,
    },
}
_NAMELESS: Json = {  # no digits but those of numbers
    "account": "0xabcdefabcdefabcdef",
    "market_name": None,
    "collaterals": [_holding("WETH"), _holding("token")],
}
_CALL = _POSITION | {
    "status": "liquidated",
    "deepest_band": "liquidatable",
    "opened_block": 123_456_789,
    "notices": [{"status": "sent"}] * 12,
}
_LIQUIDATION = _POSITION | {
    "status": "abandoned",
    "tx_hash": _HASH,
    "block_number": 123_456_789,
    "expected": {"profit": _HUGE, "base_decimals": 18},
    "realized": None,
    "reason": "would_revert: [LiquidationCloseFactorExceedsRepayAmount()] of a health of 1.0000000000000001",
}
_DAY = {
    "day": "2026-11-26",
    "liquidations": 12_345,
    "statuses": {"confirmed": 12_000},
    "profit_expected_wad": str(1_234_567 * 10**18),
    "profit_realized_wad": str(1_234_567 * 10**18),
    "net_wad": str(-1_234_567 * 10**18),
    "gas_wei": str(12 * 10**18),
}
_TRANSACTION = {
    "nonce": 1_234_567,
    "tx_hash": _HASH,
    "kind": "preparation",
    "purpose": "cancellation",
    "status": "broadcast",
    "intent_status": "broadcast",
    "max_fee_wei": str(12_345 * 10**9),
}
_UNDELIVERED = {
    "id": "n" * 26,
    "channel": "telegram-of-the-night-shift",
    "event": "liquidated",
    "band": "liquidatable",
    "status": "pending",
    "attempts": 123,
    "error": "HTTP 503 from https://hooks.example/keeper/notices: [upstream connect error]",
}
_SOLVENCY = {
    "protocol": "morpho-blue-ethereum",
    "currency": "USD",
    "currency_decimals": 8,
    "debt_value": str(98_765_432_101 * 10**8),
    "shortfall_value": str(1_234_567 * 10**8),
    "underwater_positions": 12_345,
    "deficit_value": str(1_234_567 * 10**8),
    "reserve_value": str(123_456_789 * 10**8),
    "coverage": "123.4567",
    "at_risk": [{"move": move, "share": "0.123456", "positions": 12_345} for move in ("-0.05", "-0.15", "-0.3")],
}

_TABLES: dict[str, tuple[Callable[[Sequence[Json]], Table], Json, tuple[str, ...]]] = {
    "health": (report.health_table, _POSITION, ("0x90F7…b906", "1234567.0000", "liquidatable")),
    "metrics": (report.metrics_table, _POSITION, ("0x90F7…b906", "100.0% initial", "100.0% maintenance")),
    "calls": (report._calls_table, _CALL, ("liquidated", "liquidatable", "123456789", "12 of 12 sent")),
    "liquidations": (report._liquidations_table, _LIQUIDATION, ("abandoned", "0x5f5f…5f5f", "123456789")),
    "daily": (report._daily_table, _DAY, ("2026-11-26", "12345", "1,234,567", "-1,234,567", "12.000000")),
    "transactions": (report._transactions_table, _TRANSACTION, ("1234567", "preparation", "cancellation", "broadcast")),
    "undelivered": (deliveries._table, _UNDELIVERED, ("liquidated", "liquidatable", "pending", "123")),
    "solvency": (
        solvency._table,
        _SOLVENCY,
        ("98,765,432,101", "123,456,789", "-15 %: 12.35 % in 12345", "covers 12,346 %", "1,234,567 in 12345"),
    ),
}


_BANDS = ("safe", "watch", "call", "urgent", "liquidatable", "unknown")
_STATUS: Json = {
    "program": "10.20.30",
    "chain_id": 4_294_967_295,
    "at": 1_795_727_255.0,
    "pulse": {"state": "live", "age_s": 9.999, "started_at": 1_700_000_000.0},
    "mode": {
        "mode": "degraded",
        "reasons": {name: f"breaker {name} [tripped] after a loss" for name in ("a", "b", "c")},
    },
    "block": {"number": 123_456_789, "hash": _HASH, "timestamp": 0},
    "head_lag_blocks": 12_345,
    "head_age_s": 123_456.0,
    "open_calls": dict.fromkeys(_BANDS[1:-1], 1_234),
    "undelivered": {"dead": 1_234, "held": 1_234, "pending": 1_234, "sending": 1_234},
    "executor": "live",
    "paused": True,
    "tripped": [{"breaker": "max_loss_per_hour", "detail": "lost 1,234,567.00 of at most 1,000.00 [USD] in an hour"}],
    "intents": dict.fromkeys(("abandoned", "broadcast", "confirmed", "failed", "included", "planned"), 12_345),
    "today": _DAY,
    "ready": {"ready": False, "checks": [{"check": "rpc", "ok": False, "detail": "1 of 4 endpoints answer; not " * 3}]},
    "endpoints": [
        {
            "url": f"wss://mainnet-{number}.provider-of-nodes.example",
            "quarantined": None if number else "eth_getLogs of block 123456789: 0 [logs] where the header admits more",
            "quarantine_left_s": 3_599.0,
            "paroled": False,
        }
        for number in range(4)
    ],
    "crosscheck": {"compared": 1_234_567, "contradictions": 12_345, "in_doubt_since_block": 123_456_789},
    "heartbeat": {"service": "https://hc-ping.example", "heard": False},
    "positions": {f"protocol-{number}": dict.fromkeys(_BANDS, 123_456) for number in range(4)},
    "nearest": [_POSITION | {"call_wad": str(1_284 * 10**15)}] * 5,
    "transactions": [_TRANSACTION | {"intent_status": "abandoned"}] * 5,
}


def _printed(shown: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(shown)
    return out.getvalue()


def test_a_status_is_one_screen_of_eighty_columns_with_the_worst_that_it_may_hold():
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(screen(_STATUS))
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) <= 55
    for words in ("liquidatable", "1234567.0000", "123,456,789", "1,234,567.00 of at most", "123,456", "abandoned"):
        assert words in shown
    for words in ("caught lying", "0 [logs] where", "12,345 contradictions", "in doubt since", "was not reached"):
        assert words in " ".join(shown.split())
    assert "[USD]" in shown  # what comes from outside is no markup


@pytest.mark.parametrize("name", _TABLES)
def test_a_table_fits_eighty_columns_with_the_worst_that_it_may_hold(name: str):
    table, row, whole = _TABLES[name]
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(table([row]))
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert [word for word in whole if word not in shown] == [], shown


@pytest.mark.parametrize(
    ("table", "width"), [(report.health_table, 80), (report.health_table, 60), (report.metrics_table, 80)]
)
def test_a_number_that_finds_no_room_ends_in_an_ellipsis_and_never_in_a_digit(
    table: Callable[[Sequence[Json]], Table], width: int
):
    """A part of it would be another number. Where there is room for it alone, it is whole, with its unit below."""
    whole = {"987,654,321,012.0000", "987,654,321,012.00", "123,456.00x", "1200.0%", "100.0%", "1234567.0000"}
    shown = _printed(table([_POSITION | _NAMELESS]), width)
    found = re.findall(r"\d[\d,.]*[x%…]*", re.sub("0x[a-f0-9]*…[a-f]*", "", shown))
    assert [number for number in found if not number.endswith("…") and number not in whole] == []


def test_a_number_stands_above_its_unit_where_both_have_no_room():
    row = _POSITION | {
        "health_wad": str(10**18),
        "band": "call",
        "collaterals": [_holding("USDC") | {"amount": str(500_000 * 10**18)}],
    }
    lines = [line.split() for line in _printed(report.health_table([row]), 80).splitlines()]
    at = next(number for number, words in enumerate(lines) if "500,000.0000" in words)
    assert ("USDC" in lines[at], "USDC" in lines[at + 1]) == (False, True)


@pytest.mark.parametrize(
    ("title", "unit"),
    [
        (report.METRICS_UNIT, "in the protocol's base currency"),
        (report._PROFIT_UNIT, "profit after gas in the protocol's base currency"),
        (report._DAILY_UNIT, "net in the protocols' base currency"),
    ],
)
def test_a_title_says_what_values_are_counted_in(title: str, unit: str, capsys: pytest.CaptureFixture[str]):
    report.show(argparse.Namespace(json=False), [_DAY], report._daily_table, report.Title("day", "days", title))
    assert unit in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("wad", [10**18 - 1, 99_996 * 10**13])
def test_a_health_is_never_shown_higher_than_it_is(wad: int):
    """Just below 1 it can be liquidated."""
    row = _POSITION | {"health_wad": str(wad), "call_wad": str(wad)}
    finding = Finding("aave", "aave:0x", bytes(20), 8, "USD", BlockRef(1, bytes(32)), before=Health(wad, True, 1, 1))
    status = _STATUS | {"nearest": [row]}
    for shown in (
        report.health_table([row]),
        report._calls_table([row | _CALL | {"health_wad": str(wad)}]),
        screen(status),
    ):
        assert "0.9999" in _printed(shown, 80)
        assert "1.0000" not in _printed(shown, 80)
    assert "0.9999" in _printed(rehearsal_table([finding]), 80)


def test_what_a_rehearsal_finds_is_counted_in_the_base_currency_and_told_whole():
    reason = Skip("would_revert", "of a health of 1.0000000000000001, as somebody else was faster and " * 3)
    health = Health(1_234_567 * 10**18, True, 1, 1)
    finding = Finding(
        *("morpho", f"morpho:{_ACCOUNT}:{_HASH}", bytes(20), 8, "USD", BlockRef(1, bytes(32))),
        before=health, reason=reason, bad_debt=98_765_432_101_234, gas_base=123_456,
    )  # fmt: skip
    shown = _printed(rehearsal_table([finding]), 80)
    assert "profit, gas and bad debt in the protocol's base currency" in " ".join(shown.split())
    assert "987,654.32" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("status", "intent_status", "told"),
    [("included", "confirmed", "confirmed"), ("included", "failed", "failed"), ("replaced", "confirmed", "replaced")],
)
def test_a_transaction_that_was_mined_has_the_fate_of_what_it_was_for(status: str, intent_status: str, told: str):
    """Of several with one nonce one is mined; what became of that is what became of the intent."""
    table = report._transactions_table([_TRANSACTION | {"status": status, "intent_status": intent_status}])
    assert list(table.columns[4].cells) == [told]


def test_one_is_not_told_as_several(capsys: pytest.CaptureFixture[str]):
    for number, title in ((0, "no days"), (1, "1 day"), (2, "2 days")):
        report.show(argparse.Namespace(json=False), [_DAY] * number, report._daily_table, report.Title("day", "days"))
        assert capsys.readouterr().out.splitlines()[0].strip() == title

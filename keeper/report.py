"""The query commands: JSON Lines for scripts, tables for people. They read the store and may run beside the daemon."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from keeper import views
from keeper.core.errors import ConfigError
from keeper.core.ports import Store
from keeper.wire import House, open_house

Json = dict[str, Any]


def health(args: argparse.Namespace) -> int:
    house = open_house(args)
    accounts = frozenset(_account(text) for text in args.account)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        blocks = store.blocks()
        if not blocks:
            print("keeper: nothing is indexed yet; run `keeper backfill` or `keeper run` first", file=sys.stderr)
            return 1
        tip, rules = blocks[-1], house.rules()
        rows = [row for one in house.adapters() for row in views.health_rows(store, one, tip, rules, accounts)]
    return _show(args, rows, _health_table, f"positions at block {tip.number}")


def calls(args: argparse.Namespace) -> int:
    return _records(args, views.call_rows, _calls_table, "margin calls")


def liquidations(args: argparse.Namespace) -> int:
    return _records(args, views.liquidation_rows, _liquidations_table, "liquidations")


def transactions(args: argparse.Namespace) -> int:
    return _records(args, views.transaction_rows, _transactions_table, "transactions")


def _records(
    args: argparse.Namespace,
    read: Callable[[Store], Iterable[Json]],
    table: Callable[[Sequence[Json]], Table],
    title: str,
) -> int:
    house: House = open_house(args)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        rows = list(read(store))
    return _show(args, rows, table, title)


def _show(args: argparse.Namespace, rows: Sequence[Json], table: Callable[[Sequence[Json]], Table], title: str) -> int:
    if args.json:
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
        return 0
    console = Console(highlight=False)
    if not rows:
        console.print(f"no {title}")
        return 0
    shown = table(rows)
    shown.title = f"{len(rows)} {title}"
    console.print(shown)
    return 0


# --- tables -----------------------------------------------------------------------------------------------------------


def _health_table(rows: Sequence[Json]) -> Table:
    table = _table("account", "protocol", "health", "band", "collateral", "debt")
    for row in rows:
        band = row["band"]
        table.add_row(
            _short(row["account"]),
            row["protocol"],
            _health(row["health_wad"]),
            f"[{views.band_style(band)}]{band}[/]",
            _assets(row["collaterals"]),
            _assets(row["debts"]),
        )
    return table


def _calls_table(rows: Sequence[Json]) -> Table:
    table = _table("account", "status", "band", "health", "opened", "notices")
    for row in rows:
        sent = sum(notice["status"] == "sent" for notice in row["notices"])
        band = row["deepest_band"]
        table.add_row(
            _short(row["account"]),
            row["status"],
            f"[{views.band_style(band)}]{band}[/]",
            _health(row["health_wad"]),
            f"block {row['opened_block']}",
            f"{sent}/{len(row['notices'])} sent",
        )
    return table


def _liquidations_table(rows: Sequence[Json]) -> Table:
    table = _table("account", "status", "transaction", "block", "attempts", "reason")
    for row in rows:
        table.add_row(
            _short(row["account"]),
            row["status"],
            _short(row["tx_hash"]),
            str(row["block_number"] or "-"),
            str(len(row["attempts"])),
            row["reason"] or "",
        )
    return table


def _transactions_table(rows: Sequence[Json]) -> Table:
    table = _table("nonce", "transaction", "kind", "purpose", "status", "max fee (gwei)")
    for row in rows:
        fee = Decimal(row["max_fee_wei"]).scaleb(-9)
        table.add_row(
            str(row["nonce"]), _short(row["tx_hash"]), row["kind"], row["purpose"], row["status"], f"{fee:.3f}"
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _health(wad: str | None) -> str:
    return "∞" if wad is None else f"{Decimal(wad).scaleb(-18):.4f}"


def _assets(holdings: Sequence[Json]) -> str:
    from rich.markup import escape

    amounts = ((Decimal(one["amount"]).scaleb(-one["decimals"]), escape(one["symbol"])) for one in holdings)
    return ", ".join(f"{amount:.4f} {symbol}" for amount, symbol in amounts) or "-"


def _short(text: str | None) -> str:
    return "-" if text is None else f"{text[:8]}…{text[-4:]}"


def _account(text: str) -> bytes:
    from eth_utils.address import is_checksum_address, is_hex_address

    mixed = text.lower() != text and text.upper() != text
    if not is_hex_address(text) or (mixed and not is_checksum_address(text)):
        raise ConfigError(f"{text!r} is no account address; give 0x and 40 hex digits, with a right checksum if mixed")
    return bytes.fromhex(text[2:])

"""The query commands: JSON Lines for scripts, tables for people. They read the store and may run beside the daemon."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from keeper import terminal
from keeper.core.errors import ConfigError
from keeper.core.ports import Store
from keeper.evaluator import wording
from keeper.protocols.addresses import checksummed
from keeper.queries import views
from keeper.queries.daily import daily_rows
from keeper.wire import House, open_house

if TYPE_CHECKING:
    from rich.table import Table

    from keeper.terminal import Amounts

Json = dict[str, Any]

METRICS_UNIT = "values in the protocol's base currency"
_PROFIT_UNIT = "profit after gas in the protocol's base currency"
_DAILY_UNIT = "expected, realized and net in the protocols' base currency"


class Title(NamedTuple):
    """What rows are, when there is one, and when there are more or none. unit: what their values are counted in, where
    the columns do not say it."""

    one: str
    many: str
    unit: str = ""


def health(args: argparse.Namespace) -> int:
    house = open_house(args)
    accounts = frozenset(account_of(text) for text in args.account)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        blocks = store.blocks()
        if not blocks:
            print("keeper: nothing is indexed yet; run `keeper backfill` or `keeper run` first", file=sys.stderr)
            return 1
        tip, rule = blocks[-1], house.rule()
        rows = [row for one in house.adapters() for row in views.health_rows(store, one, tip, rule, accounts)]
        differing = _verify(house, store, accounts) if args.verify else 0
    at = f"at block {tip.number}"
    show(args, rows, health_table, Title(f"open position {at}", f"open positions {at}"))
    if rows and not args.json and (accounts or args.metrics):
        show(args, rows, metrics_table, Title("account metrics", "account metrics", METRICS_UNIT))
    return differing


def _verify(house: House, store: Store, accounts: frozenset[bytes]) -> int:
    """Hold the stored positions against the contracts; 1 when anything differs."""
    import asyncio

    from keeper.queries.verify import second_opinion  # web3.py takes its time to import

    found = asyncio.run(second_opinion(house, store, accounts))
    for one in found:
        print(f"keeper: {one.position}: {one.name} is {one.ours} here, {one.theirs} on chain", file=sys.stderr)
    print(f"keeper: verified against the contracts: {len(found)} differences", file=sys.stderr)
    return 1 if found else 0


def calls(args: argparse.Namespace) -> int:
    return _records(args, views.call_rows, _calls_table, Title("margin call", "margin calls"))


def liquidations(args: argparse.Namespace) -> int:
    if args.daily:
        return _records(args, daily_rows, _daily_table, Title("day", "days", _DAILY_UNIT))
    return _records(
        args, views.liquidation_rows, _liquidations_table, Title("liquidation", "liquidations", _PROFIT_UNIT)
    )


def transactions(args: argparse.Namespace) -> int:
    return _records(args, views.transaction_rows, _transactions_table, Title("transaction", "transactions"))


def _records(
    args: argparse.Namespace,
    read: Callable[[Store], Iterable[Json]],
    table: Callable[[Sequence[Json]], Table],
    title: Title,
) -> int:
    house: House = open_house(args)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        rows = list(read(store))
    return show(args, rows, table, title)


def show(args: argparse.Namespace, rows: Sequence[Json], table: Callable[[Sequence[Json]], Table], title: Title) -> int:
    if args.json:
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
        return 0
    out = terminal.console()
    if not rows:
        out.print(f"no {title.many}")
        return 0
    shown = table(rows)
    counted = f"{len(rows)} {title.one if len(rows) == 1 else title.many}"
    shown.title = f"{counted}; {title.unit}" if title.unit else counted
    out.print(shown)
    return 0


# --- tables: of at most 80 columns ------------------------------------------------------------------------------------


def health_table(rows: Sequence[Json]) -> Table:
    columns = "account", "protocol", "health", "band", "collateral", "debt"
    table = terminal.table(*columns, right=("health",), whole=("account", "health", "band"))
    for row in rows:
        stale = "\n[dim]stale price[/]" if row["stale_assets"] else ""
        table.add_row(
            _short(row["account"]),
            _protocol(row),
            "?" if row["unpriced_assets"] else wording.health(row["health_wad"]),
            _band(row["band"]) + stale,
            _assets(row["collaterals"]),
            _assets(row["debts"]),
        )
    return table


def _protocol(row: Json) -> str:
    """The protocol, and the market of an isolated position."""
    return f"{row['protocol']}\n[dim]{_plain(row['market_name'])}[/]" if row.get("market_name") else row["protocol"]


def metrics_table(rows: Sequence[Json]) -> Table:
    """Values in the protocol's base currency; initial and maintenance margin as shares of the exposure."""
    table = terminal.table(
        "account", "equity", "exposure", "margin", "at stake", right=("equity",), whole=("equity", "margin")
    )
    symbols = {one["asset"]: one["symbol"] for row in rows for one in (*row["collaterals"], *row["debts"])}
    for row in rows:
        who = f"{_short(row['account'])}\n{_protocol(row)}"
        if (found := row["metrics"]) is None:
            table.add_row(who, *"????")
            continue
        leverage, largest, decimals = found["effective_leverage_wad"], found["largest_asset"], found["base_decimals"]
        times = "no" if leverage is None else f"{Decimal(leverage).scaleb(-18):,.2f}x"
        exposure = [(times, "equity"), (_percent(found["equity_utilization_wad"]), "used")]
        if largest is not None:
            exposure.append((_percent(found["largest_share_wad"]), symbols.get(largest, _short(largest))))
        at_stake = [(found["collateral_buffer_value"], "buffer"), (found["liquidation_penalty_value"], "penalty")]
        table.add_row(
            who,
            _value(found["equity_value"], decimals),
            terminal.Amounts(exposure),
            f"{_percent(found['margin_ratio_wad'])}\n{_percent(found['initial_margin_ratio_wad'])} initial\n"
            f"{_percent(found['maintenance_margin_ratio_wad'])} maintenance",
            terminal.Amounts([(_value(units, decimals), what) for units, what in at_stake]),
        )
    return table


def _calls_table(rows: Sequence[Json]) -> Table:
    table = terminal.table(
        *("position", "status", "deepest", "health", "opened at", "notices"),
        right=("health", "opened at"),
        whole=("status", "deepest", "health", "opened at", "notices"),
    )
    for row in rows:
        sent = sum(notice["status"] == "sent" for notice in row["notices"])
        table.add_row(
            _position(row),
            row["status"],
            _band(row["deepest_band"]),
            wording.health(row["health_wad"]),
            str(row["opened_block"]),
            f"{sent} of {len(row['notices'])} sent",
        )
    return table


def _liquidations_table(rows: Sequence[Json]) -> Table:
    table = terminal.table(
        *("position", "status", "transaction", "block", "profit", "reason"),
        right=("block", "profit"),
        whole=("status", "transaction", "block", "profit"),
    )
    for row in rows:
        table.add_row(
            _position(row),
            row["status"],
            _short(row["tx_hash"]),
            str(row["block_number"] or "-"),
            _profit(row),
            _plain(row["reason"] or ""),
        )
    return table


def _profit(row: Json) -> str:
    """What it brought; what it may bring, marked as such, while that is not known."""
    if row["status"] in ("failed", "abandoned"):
        return "-"
    statement, mark = (row["realized"], "") if row["realized"] is not None else (row["expected"], "~")
    if statement is None:
        return "?"
    return f"{mark}{Decimal(statement['profit']).scaleb(-statement['base_decimals']):,.2f}"


def _daily_table(rows: Sequence[Json]) -> Table:
    table = terminal.table(*_DAILY, right=_DAILY[1:], whole=(*_DAILY[:-1],))
    for row in rows:
        profits = (_sum(Decimal(row[key]).scaleb(-18)) for key in _DAILY_PROFITS)
        table.add_row(
            row["day"],
            str(row["liquidations"]),
            str(row["statuses"].get("confirmed", 0)),
            *profits,
            f"{Decimal(row['gas_wei']).scaleb(-18):.6f}",
        )
    return table


def _sum(amount: Decimal) -> str:
    """Cents, as long as they are worth their place."""
    return f"{amount:,.2f}" if abs(amount) < 100_000 else f"{amount:,.0f}"


_DAILY = ("day", "count", "confirmed", "expected", "realized", "net", "gas (native)")
_DAILY_PROFITS = ("profit_expected_wad", "profit_realized_wad", "net_wad")


def _transactions_table(rows: Sequence[Json]) -> Table:
    table = terminal.table(
        *("nonce", "transaction", "kind", "purpose", "status", "max fee (gwei)"),
        right=("nonce", "max fee (gwei)"),
        whole=("nonce", "transaction", "kind", "purpose", "status"),
    )
    for row in rows:
        fee = Decimal(row["max_fee_wei"]).scaleb(-9)
        table.add_row(str(row["nonce"]), _short(row["tx_hash"]), row["kind"], row["purpose"], _fate(row), f"{fee:.3f}")
    return table


def _fate(row: Json) -> str:
    """Of a transaction: its own until it is mined, and from then on that of what it was for."""
    fate: str = row["intent_status" if row["status"] == "included" else "status"]
    return fate


def _band(label: str) -> str:
    return f"[{views.band_style(label)}]{label}[/]"


def _percent(wad: str | None) -> str:
    return "-" if wad is None else f"{Decimal(wad).scaleb(-16):.1f}%"


def _value(amount: str | None, decimals: int) -> str:
    return "-" if amount is None else f"{Decimal(amount).scaleb(-decimals):,.2f}"


def _assets(holdings: Sequence[Json]) -> Amounts | str:
    amounts = [(Decimal(one["amount"]).scaleb(-one["decimals"]), one["symbol"]) for one in holdings]
    return terminal.Amounts([(f"{amount:,.4f}", symbol) for amount, symbol in amounts]) if amounts else "-"


def _plain(text: str) -> str:
    """Text from outside: nothing in it is markup."""
    from rich.markup import escape

    return escape(text)


def _position(row: Json) -> str:
    """Its protocol and account and, of an isolated one, its market."""
    market = views.market_of(row["position"])
    where = f"{row['protocol']}" if market is None else f"{row['protocol']}\nin {_short(market)}"
    return f"{_short(row['account'])}\n[dim]{_plain(where)}[/]"


def _short(text: str | None) -> str:
    return "-" if text is None else f"{text[:6]}…{text[-4:]}"


def account_of(text: str) -> bytes:
    """Of a command line. Raises ConfigError for what is none."""
    try:
        account = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        account = b""
    mixed = text[2:] not in (text[2:].lower(), text[2:].upper())
    if not text.startswith("0x") or len(text) != 42 or len(account) != 20 or (mixed and checksummed(account) != text):
        raise ConfigError(f"{text!r} is no account address; give 0x and 40 hex digits, with a right checksum if mixed")
    return account

"""What a look found, for people and for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from keeper.core.types import Block
from keeper.core.units import format_units
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import breach_json, demand_json
from keeper.evaluator.wording import clean_symbol
from keeper.protocols.addresses import checksummed
from keeper.queries import views
from keeper.watch.accounts import Owner
from keeper.watch.eyes import Eyes

Json = dict[str, Any]


RulesOf = Callable[[str, bytes], BandRules]
"""The lines of a position, by protocol and key."""


def rows_of(eyes: Eyes, block: Block, rules_of: RulesOf) -> Iterator[Json]:
    """Each position as `keeper health --json` shows it, with what its owner may do and what would breach it."""
    for name, adapter in eyes.adapters.items():
        sight = eyes.sights[name]
        for key, position in sorted(sight.positions.items()):
            state = (sight.market, sight.prices, position, block.timestamp)
            rules = rules_of(name, key)
            row = views.health_row(adapter, sight.market, key, adapter.assess(*state), block, rules)
            demands = adapter.demands(*state, rules.target_wad)
            breaches = adapter.breach_prices(*state)
            yield row | {
                "demands": [demand_json(demand, checksummed(demand.asset)) for demand in demands],
                "breach_prices": [breach_json(breach, checksummed(breach.asset)) for breach in breaches],
            }


def print_rows(rows: Sequence[Json], block: Block, *, as_json: bool) -> None:
    """JSON Lines for scripts, tables of at most 80 columns for people, on stdout."""
    if as_json:
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
        sys.stdout.flush()
    elif rows:
        _print_tables(rows, block)


def _print_tables(rows: Sequence[Json], block: Block) -> None:
    from keeper import terminal
    from keeper.queries import report

    console = terminal.console()
    for table, title in (
        (report.health_table(rows), f"{len(rows)} positions at block {block.number}"),
        (report.metrics_table(rows), "account metrics"),
    ):
        table.title = title
        console.print(table)
    for row in rows:
        for line in _advice(row):
            console.print(line, markup=False)


def _advice(row: Json) -> Iterator[str]:
    """What would breach a position and what would cure it, a line each."""
    who = f"{row['account'][:6]}…{row['account'][-4:]} {row['protocol']}"
    for breach in row["breach_prices"]:
        price, move = Decimal(breach["price"]), Decimal(breach["move"])
        yield f"{who}: open to liquidation at {clean_symbol(breach['symbol'])} {price:,.2f} ({100 * move:+.2f} %)"
    for demand in row["demands"]:
        amount = f"{format_units(int(demand['amount']), demand['decimals'], 6)} {clean_symbol(demand['symbol'])}"
        verb = "add" if demand["action"] == "add_collateral" else "repay"
        yield f"{who}: {verb} {amount} to restore health {Decimal(demand['resulting_health_wad']).scaleb(-18):.4f}"


def nothing_found(owners: Sequence[Owner], eyes: Eyes, chain_id: int) -> str:
    """That there is no position, and where it was looked for."""
    who = ", ".join(named(owner) for owner in owners)
    where = ", ".join(f"{adapter.name} ({adapter.kind})" for adapter in eyes.adapters.values())
    return f"{who}: no position in {where} on chain {chain_id}"


def named(owner: Owner) -> str:
    """An account as it was given."""
    account = checksummed(owner.account)
    return f"{owner.name} ({account})" if owner.name else account

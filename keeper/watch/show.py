"""What a look found, for people and for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.types import Block, BreachPrice, Demand
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import breach_json, demand_json
from keeper.evaluator.wording import breach_words, clean_symbol, demand_words, four_places
from keeper.protocols.addresses import checksummed
from keeper.queries import views
from keeper.watch.accounts import Owner
from keeper.watch.eyes import Eyes

Json = dict[str, Any]


RulesOf = Callable[[str, bytes], BandRules]
"""The lines of a position, by protocol and key."""


@dataclass(frozen=True, slots=True)
class Found:
    """A position that a look found. row: as `keeper health --json` shows it, with what its owner may do and what would
    breach it. advice: the same two in words, a line each."""

    row: Json
    advice: tuple[str, ...]


def positions(eyes: Eyes, block: Block, rules_of: RulesOf) -> Iterator[Found]:
    """Each position that was seen at this block."""
    for name, adapter in eyes.adapters.items():
        sight = eyes.sights[name]
        currency = adapter.currency(sight.market)
        for key, position in sorted(sight.positions.items()):
            state = (sight.market, sight.prices, position, block.timestamp)
            rules, assessment = rules_of(name, key), adapter.assess(*state)
            demands, breaches = adapter.demands(*state, rules.target_wad), adapter.breach_prices(*state)
            row = views.health_row(adapter, sight.market, key, assessment, block, rules) | {
                "demands": [demand_json(demand, checksummed(demand.asset)) for demand in demands],
                "breach_prices": [_breach_row(breach, currency) for breach in breaches],
            }
            who = f"{row['account'][:6]}…{row['account'][-4:]} {name}"
            said = advice(demands, breaches, currency, open_now=assessment.health.liquidatable)
            yield Found(row, tuple(f"{who}: {words}" for words in said))


def advice(
    demands: Sequence[Demand], breaches: Sequence[BreachPrice], currency: str, *, open_now: bool
) -> Iterator[str]:
    """What would breach a position, or make it safe that is open to liquidation now, and what would cure it: amounts
    and prices as notices tell them."""
    where = "no longer open to liquidation" if open_now else "open to liquidation"
    for breach in breaches:
        yield f"{where} with {breach_words(breach, breach.quote or currency, None)}"
    for demand in demands:
        reached = demand.resulting_health_wad
        aim = "to owe nothing" if reached is None else f"for health {four_places(reached)}"
        yield f"{demand_words(demand, None)} {aim}"


def _breach_row(breach: BreachPrice, currency: str) -> Json:
    """quote: what the price is counted in; null where nobody knows."""
    quote = clean_symbol(breach.quote or currency) if breach.quote or currency else None
    return {**breach_json(breach, checksummed(breach.asset)), "quote": quote}


def print_positions(seen: Sequence[Found], block: Block, *, as_json: bool) -> None:
    """JSON Lines for scripts, tables of at most 80 columns for people, on stdout."""
    if as_json:
        for one in seen:
            print(json.dumps(one.row, separators=(",", ":")))
        sys.stdout.flush()
    elif seen:
        _print_tables(seen, block)


def _print_tables(seen: Sequence[Found], block: Block) -> None:
    from keeper import terminal
    from keeper.queries import report

    console, rows = terminal.console(), [one.row for one in seen]
    for table, title in (
        (report.health_table(rows), f"{len(rows)} positions at block {block.number}"),
        (report.metrics_table(rows), f"account metrics; {report.METRICS_UNIT}"),
    ):
        table.title = title
        console.print(table)
    for one in seen:
        for line in one.advice:
            console.print(line, markup=False)


def nothing_found(owners: Sequence[Owner], eyes: Eyes, chain_id: int) -> str:
    """That there is no position, and where it was looked for."""
    who = ", ".join(named(owner) for owner in owners)
    where = ", ".join(f"{adapter.name} ({adapter.kind})" for adapter in eyes.adapters.values())
    return f"{who}: no position in {where} on chain {chain_id}"


def named(owner: Owner) -> str:
    """An account as it was given."""
    account = checksummed(owner.account)
    return f"{owner.name} ({account})" if owner.name else account

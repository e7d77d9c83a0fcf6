"""The JSON objects of the web server: those of the commands (`keeper.queries.views`), with what a page shows beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keeper.core.ports import Store
from keeper.core.records import Intent
from keeper.core.types import Block
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import breach_json, demand_json
from keeper.executor.legs import legs_of
from keeper.protocols.addresses import checksummed
from keeper.queries import views
from keeper.queries.live.book import LiveBook

Json = dict[str, Any]


def block_json(block: Block) -> Json:
    return {"number": block.number, "hash": "0x" + block.hash.hex(), "timestamp": block.timestamp}


# --- positions --------------------------------------------------------------------------------------------------------


def position_row(book: LiveBook, key: bytes, block: Block, label: str | None) -> Json:
    """As `keeper health --json`, with every line and what the account is called."""
    adapter, held, now = book.adapter, book.book, block.timestamp
    assessment = adapter.assess(held.market, held.prices, held.positions[key], now)
    rules = book.rules(key, now)
    outlook = views.outlook_json(book.lines if book.lines.adapt else None, adapter, held, key, assessment, block)
    row = views.health_row(adapter, held.market, key, assessment, block, rules, outlook)
    return {**row, **lines_json(rules), "label": label}


def lines_json(rules: BandRules) -> Json:
    return {
        "watch_wad": str(rules.watch_wad),
        "call_wad": str(rules.call_wad),
        "urgent_wad": str(rules.urgent_wad),
        "target_wad": str(rules.target_wad),
    }


def remedies(book: LiveBook, key: bytes, block: Block) -> Json:
    """What would restore the target health, and at which prices it breaches: now, not as it was told. Empty where
    nothing is owed, or nobody can tell; demands also where the target is reached."""
    adapter, held, now = book.adapter, book.book, block.timestamp
    position, health, rules = held.positions[key], book.health(key, now), book.rules(key, now)
    nothing: Json = {"demands": [], "breach_prices": []}
    if health is None or health.factor_wad is None or health.unpriced_assets:
        return nothing
    breaches = adapter.breach_prices(held.market, held.prices, position, now)
    nothing["breach_prices"] = [breach_json(one, checksummed(one.asset)) for one in breaches]
    if health.factor_wad < rules.target_wad:
        demands = adapter.demands(held.market, held.prices, position, now, rules.target_wad)
        nothing["demands"] = [demand_json(one, checksummed(one.asset)) for one in demands]
    return nothing


# --- records ----------------------------------------------------------------------------------------------------------


def call_rows(store: Store, tokens: views.Tokens) -> list[Json]:
    """Newest first."""
    return list(views.call_rows(store, tokens))[::-1]


def liquidation_rows(store: Store) -> list[Json]:
    """Newest first."""
    return list(views.liquidation_rows(store))[::-1]


def transaction_rows(store: Store) -> list[Json]:
    """As `keeper transactions --json`, newest first, each with whom it concerns, what it brought and its life."""
    intents = {intent.id: intent for intent in store.intents()}
    trails = _trails(store, intents)
    rows = list(views.transaction_rows(store))[::-1]
    return [{**row, **_purpose(intents[row["intent"]]), "trail": trails.get(row["intent"], [])} for row in rows]


def _purpose(intent: Intent) -> Json:
    statement = intent.realized.get("statement") or intent.plan.get("expected") or {}
    positions = [leg.position for leg in legs_of(intent)]
    return {
        "protocol": intent.protocol,
        "position": intent.position,
        "positions": positions or [intent.position],
        "account": checksummed(intent.account) if intent.account else None,
        "profit_expected": None if intent.profit_expected is None else str(intent.profit_expected),
        "profit_realized": None if intent.profit_realized is None else str(intent.profit_realized),
        "base_decimals": statement.get("base_decimals"),
        "block_number": intent.included_number,
        "block_hash": None if intent.included_hash is None else "0x" + intent.included_hash.hex(),
        "gas_used": intent.gas_used,
        "gas_cost_wei": None if intent.gas_cost_wei is None else str(intent.gas_cost_wei),
        "reason": intent.reason,
    }


def _trails(store: Store, intents: Mapping[str, Intent]) -> dict[str, list[Json]]:
    """By intent, when it became what."""
    found: dict[str, list[Json]] = {}
    for entry in store.audit():
        if entry.subject in intents:
            found.setdefault(entry.subject, []).append({"event": entry.event, "at": entry.at})
    return found


def of_position(rows: Iterable[Json], position: str) -> list[Json]:
    return [row for row in rows if row["position"] == position]


def currencies(books: Sequence[LiveBook]) -> dict[str, str]:
    """By protocol, what its values are counted in; empty where nobody knows."""
    return {book.adapter.name: book.adapter.currency(book.book.market) for book in books if book.ready}

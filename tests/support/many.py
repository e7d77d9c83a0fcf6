"""Stores to show: many positions, and words of strangers. Only for a store that no daemon follows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from keeper.core.records import MARKET_KEY, CommittedBlock, Fact
from keeper.queries.views import load_book
from keeper.wire import House


def multiply_positions(house: House, count: int) -> list[str]:
    """Store so many positions more, at the block the store is at, as if it had found them there.

    Each is one of the stored positions with its debts scaled, so that healths spread from below the breach far upward.
    Returns their ids. The chain knows nothing of them.
    """
    with closing(house.open_store()) as store:
        adapter = house.adapters()[0]
        block = store.blocks()[-1]
        models = [position for position in load_book(store, adapter).positions.values() if position.debts]
        facts, ids = [], []
        for number in range(count):
            key = (0xACC0_0000 + number).to_bytes(20, "big")
            model = models[number % len(models)]
            percent = 20 + number * 7_919 % 10_000 / 100  # a prime step: every health, in no order
            debts = tuple((asset, int(scaled * percent / 100)) for asset, scaled in model.debts)
            facts.append(Fact(adapter.name, "position", key, adapter.dump_position(replace(model, debts=debts))))
            ids.append(adapter.position_id(key))
        with store.transaction() as tx:
            tx.amend(CommittedBlock(block, tuple(facts)))
        return ids


def rename_asset(house: House, symbol: str, name: str) -> None:
    """Have the stored market call an asset by another name, as whoever deploys a token may."""
    with closing(house.open_store()) as store:
        adapter = house.adapters()[0]
        market = adapter.load_market(store.fact(adapter.name, "market", MARKET_KEY) or b"")
        reserves = tuple(
            replace(reserve, symbol=name) if reserve.symbol == symbol else reserve for reserve in market.reserves
        )
        assert reserves != market.reserves, f"no asset is called {symbol}"
        changed = Fact(adapter.name, "market", MARKET_KEY, adapter.dump_market(replace(market, reserves=reserves)))
        with store.transaction() as tx:
            tx.amend(CommittedBlock(store.blocks()[-1], (changed,)))

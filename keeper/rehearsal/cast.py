"""Which positions are rehearsed, in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.queries.views import load_book
from keeper.wire import Adapter


@dataclass(frozen=True, slots=True)
class Cast:
    """keys: protocol and key of each, the nearest to liquidation first. markets: as indexed, by protocol.

    indexed: open positions in the store. without_debt: of those, which owe nothing; nothing could open them.
    left_out: that the accounts, the health or the limit excluded.
    """

    keys: Sequence[tuple[str, bytes]]
    markets: dict[str, Any]
    block: Block
    indexed: int
    without_debt: int
    left_out: int


def choose_cast(
    store: Store,
    adapters: Sequence[Adapter],
    block: Block,
    *,
    accounts: Collection[bytes] = (),
    below_wad: int | None = None,
    limit: int | None = None,
) -> Cast:
    """By health at the indexed block; who cannot be judged (no price) comes last, and is never too healthy.

    accounts: only theirs, also those without debt. below_wad: only health factors below it.
    """
    candidates: list[tuple[bool, int, str, bytes]] = []
    markets: dict[str, Any] = {}
    indexed = without_debt = left_out = 0
    for adapter in adapters:
        book = load_book(store, adapter)
        markets[adapter.name] = book.market
        for key, position in book.positions.items():
            indexed += 1
            health = adapter.health(book.market, book.prices, position, block.timestamp)
            factor, named = health.factor_wad, adapter.account(key) in accounts
            if factor is None and not health.unpriced_assets and not named:
                without_debt += 1
            elif (accounts and not named) or not _is_below(factor, below_wad):
                left_out += 1
            else:
                candidates.append((factor is None, factor or 0, adapter.name, key))
    candidates.sort()
    chosen = candidates if limit is None else candidates[:limit]
    keys = [(name, key) for _, _, name, key in chosen]
    return Cast(keys, markets, block, indexed, without_debt, left_out + len(candidates) - len(chosen))


def _is_below(factor_wad: int | None, below_wad: int | None) -> bool:
    """What is not known is below everything."""
    return factor_wad is None or below_wad is None or factor_wad < below_wad

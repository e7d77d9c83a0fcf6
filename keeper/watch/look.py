"""One look at one protocol: everything a few accounts have in it at one block, and what they are judged by. Pure reads.

Two round trips once the market is known, for any number of accounts; protocols are looked at together (`core.reads`).
The second asks the protocol's own view of every position too, so each look is verified where it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from keeper.core.errors import DecodeError
from keeper.core.ports import ProtocolAdapter, Reads, Watchable
from keeper.core.reads import together
from keeper.core.types import Block, Call, CallResult, Prices


class Watched(ProtocolAdapter[Any, Any], Watchable[Any], Protocol):
    """An adapter that offers both."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an earlier look found: the market, and the keys of the positions that the accounts had."""

    market: Any
    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look found. positions: those with something in them, by key. views: what the protocol itself says of each;
    None where it does not judge it."""

    market: Any
    prices: Prices
    positions: Mapping[bytes, Any]
    views: Mapping[bytes, Mapping[str, Any] | None]


def look(
    adapter: Watched,
    accounts: Collection[bytes],
    block: Block,
    known: Known | None = None,
    *,
    search: bool = True,
    afresh: bool = False,
    also: Collection[bytes] = (),
) -> Reads[Sight]:
    """Everything these accounts have at this block.

    known: from an earlier look; without its market, that is discovered first. search: also where positions must be
    searched (isolated markets); else only those known are read there. afresh: discover the market again. also: further
    touches to read.
    """
    market = known.market if known is not None else None
    keys = known.keys if known is not None else frozenset()
    renewing: list[Reads[Any]] = []
    if market is None or afresh:
        market = yield from adapter.bootstrap(market)
    else:
        renewing.append(adapter.renew(market))
    asked = adapter.head_calls(market)
    touches, searches = _enumerated(adapter, market, accounts, search)
    first: list[Reads[Any]] = [_read(asked), *renewing, *searches]
    head, *found = yield from together(first)
    if renewing:
        market, *found = found
        if (again := adapter.head_calls(market)) != asked:
            head = yield again
    touches.update(also)
    for one in (*found, *(adapter.whole(market, key) for key in sorted(keys))):
        touches.update(one)
    second: list[Reads[Any]] = [
        adapter.snapshot(market, sorted(touches), block, head, {}),
        _views(adapter, market, keys if renewing else ()),  # a market that was discovered may not know all of them yet
    ]
    update, views = yield from together(second)
    market = market if update.market is None else update.market
    positions = {key: position for key, position in update.positions.items() if position is not None}
    if unseen := positions.keys() - views.keys():
        views |= yield from _views(adapter, market, unseen)
    return Sight(market, update.prices, positions, {key: views[key] for key in positions})


def differing(adapter: Watched, sight: Sight, now: int) -> list[bytes]:
    """Keys of positions of which our view is not the protocol's own, to the last digit.

    Where the protocol refuses to judge (an asset has no price), we must not judge either.
    """
    wrong = []
    for key, position in sight.positions.items():
        ours, theirs = adapter.assess(sight.market, sight.prices, position, now), sight.views[key]
        agree = bool(ours.health.unpriced_assets) if theirs is None else dict(ours.native) == dict(theirs)
        if not agree:
            wrong.append(key)
    return wrong


# --- inside -----------------------------------------------------------------------------------------------------------


def _enumerated(
    adapter: Watched, market: Any, accounts: Collection[bytes], search: bool
) -> tuple[set[bytes], list[Reads[Sequence[bytes]]]]:
    """Touches of all positions that are known without asking, and what must be asked to know of others."""
    touches: set[bytes] = set()
    searches: list[Reads[Sequence[bytes]]] = []
    for account in sorted(accounts):
        reads = adapter.positions_of(market, account)
        try:
            calls = next(reads)
        except StopIteration as done:
            touches.update(done.value)
            continue
        if search:
            searches.append(_resumed(reads, calls))
        else:
            reads.close()
    return touches, searches


def _resumed(reads: Reads[Sequence[bytes]], calls: Sequence[Call]) -> Reads[Sequence[bytes]]:
    """A read whose first calls were taken from it already."""
    try:
        while True:
            calls = reads.send((yield calls))
    except StopIteration as done:
        touches: Sequence[bytes] = done.value
        return touches


def _read(calls: Sequence[Call]) -> Reads[Sequence[CallResult]]:
    return (yield calls)


def _views(adapter: Watched, market: Any, keys: Collection[bytes]) -> Reads[dict[bytes, Mapping[str, Any] | None]]:
    calls = {key: adapter.confirm_calls(market, key) for key in sorted(keys)}
    if not calls:
        return {}
    results = yield [call for group in calls.values() for call in group]
    views: dict[bytes, Mapping[str, Any] | None] = {}
    start = 0
    for key, group in calls.items():
        answers = results[start : start + len(group)]
        start += len(group)
        try:
            views[key] = adapter.native_view(answers)
        except DecodeError:
            views[key] = None
    return views

"""Which prices nobody can rely on, and whose positions depend on them: looked at now and then, off the head path."""

from __future__ import annotations

from dataclasses import dataclass, field

from keeper.core.types import Block, Health
from keeper.evaluator.feed_notices import Affected, Feed
from keeper.track import Track
from keeper.upkeep.conditions import Conditions

AT_ONCE = 1_000
"""Positions judged in one go, so that a block never waits long for its turn."""


@dataclass(slots=True)
class _Round:
    waiting: list[bytes] = field(default_factory=list)
    bad: dict[bytes, list[Affected]] = field(default_factory=dict)
    missing: set[bytes] = field(default_factory=set)  # of those, the ones without any usable price


class FeedWatch:
    """Goes through every watched position; at the end of a round it tells what it found.

    Watched is whoever has an open call or is in the watch band, and every position of an account that was named.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._rounds: dict[str, _Round] = {}

    def look(self, track: Track, tip: Block) -> None:
        """Judge the next positions in turn."""
        round_ = self._rounds.setdefault(track.name, _Round())
        if not round_.waiting:
            round_.waiting = sorted(track.judge.watched(track.book, tip.timestamp))
        taken = round_.waiting[-AT_ONCE:]
        del round_.waiting[-AT_ONCE:]
        for key in taken:
            health = track.judge.health(track.book, key, tip.timestamp)
            if health is not None and (health.debt_value or health.unpriced_assets):
                self._note(round_, track, key, health)
        if not round_.waiting:
            self._conditions.feeds(
                track.name, round_.bad, lambda asset: _feed(track, asset, asset not in round_.missing)
            )
            self._rounds[track.name] = _Round()

    def _note(self, round_: _Round, track: Track, key: bytes, health: Health) -> None:
        round_.missing.update(health.unpriced_assets)
        for asset in {*health.stale_assets, *health.unpriced_assets}:
            one = Affected(
                position=track.adapter.position_id(key),
                account=track.adapter.account(key),
                health_wad=health.factor_wad,
                called=key in track.judge.episodes,
            )
            round_.bad.setdefault(asset, []).append(one)


def _feed(track: Track, asset: bytes, priced: bool) -> Feed:
    price, market = track.book.prices.get(asset), track.book.market
    token = None if market is None else track.adapter.token(market, asset)
    return Feed(
        protocol=track.name,
        asset=asset,
        symbol="" if token is None else token.symbol,
        priced=priced,
        updated_at=None if price is None else price.updated_at,
    )

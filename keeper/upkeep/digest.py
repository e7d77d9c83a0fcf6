"""The daily digest: one for each channel that asked for it, and one a day whatever restarts or is missed.

The day's digest is due from its hour (UTC) on. Which day was told last stands in the store, written with the notice, so
that a restart neither repeats a day nor loses one; days that were missed are told together, by the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice

from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.evaluator import wording as words
from keeper.evaluator.daily_digest import DailyDigest, Happening, Near, OpenCall
from keeper.evaluator.episode_json import load_episode
from keeper.evaluator.episodes import Episode, Mark
from keeper.notifier.routing import Route
from keeper.track import Track
from keeper.upkeep.conditions import Conditions

_REORG_BLOCKS = 256  # by as much a block that is told of may be lower than the last digest's


@dataclass(frozen=True, slots=True)
class Told:
    """The last digest of a channel: its day ("2026-11-26"), when it was made, and the block and its time it was made
    at. What is in later blocks is for the next one."""

    day: str
    at: float
    block: int
    block_time: int


def due_day(now: float, hour_utc: int) -> str:
    """The day whose digest is due: today's from its hour on, until then yesterday's."""
    moment = datetime.fromtimestamp(now, UTC)
    return (moment if moment.hour >= hour_utc else moment - timedelta(days=1)).date().isoformat()


@dataclass(frozen=True, slots=True)
class Digests:
    """channels: those that asked. hour_utc: from when on a day's digest is told. closest: positions it lists."""

    store: Store
    conditions: Conditions
    channels: Sequence[str]
    hour_utc: int
    closest: int

    def tell(self, tracks: Sequence[Track], tip: Block) -> None:
        """Put what is due in the outbox; nothing on most days' minutes. A channel's first digest is that of the first
        day that begins while it is configured."""
        now = self.conditions.clock()
        day = due_day(now, self.hour_utc)
        for channel in self.channels:
            last = self._last(channel)
            if last is None:
                self._remember(channel, Told(day, now, tip.number, tip.timestamp))
            elif last.day < day:
                self._tell(channel, last, Told(day, now, tip.number, tip.timestamp), tracks, tip)

    def _tell(self, channel: str, last: Told, this: Told, tracks: Sequence[Track], tip: Block) -> None:
        conditions, route = self.conditions, self.conditions.router[channel]
        notice = DailyDigest(
            channel=channel,
            at=tip.ref,
            now=this.at,
            day=this.day,
            since=last.at,
            directory=conditions.directory,
            watched=sum(_watched(track, route) for track in tracks),
            calls=[call for track in tracks for call in _calls(track, route, tip.timestamp)],
            closest=self._closest(tracks, route, tip.timestamp),
            happened=list(self._happened(tracks, route, last)),
            troubles=conditions.troubles(channel),
        ).notice()
        with self.store.transaction() as tx:
            tx.add_notice(notice, [channel], this.at)
            tx.set_meta(_key(channel), _row(this))
        conditions.wake()

    def _closest(self, tracks: Sequence[Track], route: Route, now: int) -> list[Near]:
        found = []
        for track in tracks:
            judge, adapter, market = track.judge, track.adapter, track.book.market
            nearest = judge.nearest(track.book, now, partial(_cares, route, track))
            for key, health in islice(nearest, self.closest):
                debt = words.value(health.debt_value, adapter.base_decimals(market), adapter.currency(market))
                assert health.factor_wad is not None  # the nearest owe something
                found.append(Near(track.name, adapter.account(key), health.factor_wad, debt))
        return sorted(found, key=lambda near: near.health_wad)[: self.closest]

    def _happened(self, tracks: Sequence[Track], route: Route, last: Told) -> Iterator[Happening]:
        """Every step of an episode since the last digest, oldest first."""
        steps = []
        for track in tracks:
            for _, _, payload, _ in self.store.episodes(track.name, since=max(0, last.block - _REORG_BLOCKS)):
                episode = load_episode(payload)
                if _cares(route, track, episode.key):
                    steps += [(mark, track, episode) for mark in episode.marks if mark.timestamp > last.block_time]
        for mark, track, episode in sorted(steps, key=lambda step: step[0].timestamp):
            yield Happening(track.name, episode.account, mark.event, mark.timestamp, _detail(track, episode, mark))

    def _last(self, channel: str) -> Told | None:
        text = self.store.meta(_key(channel))
        if text is None:
            return None
        row = json.loads(text)
        return Told(row["day"], row["at"], row["block"], row["block_time"])

    def _remember(self, channel: str, told: Told) -> None:
        with self.store.transaction() as tx:
            tx.set_meta(_key(channel), _row(told))


def _calls(track: Track, route: Route, now: int) -> list[OpenCall]:
    found = []
    for key, episode in track.judge.episodes.items():
        if _cares(route, track, key):
            health = track.judge.health(track.book, key, now)
            factor = None if health is None else health.factor_wad
            found.append(OpenCall(track.name, episode.account, episode.band, factor, episode.opened.timestamp))
    return sorted(found, key=lambda call: (-call.band, call.health_wad or 0, call.account))


def _watched(track: Track, route: Route) -> int:
    if route.protocols and track.name not in route.protocols:
        return 0
    return sum(track.judge.calls(key) and _cares(route, track, key) for key in track.book.positions)


def _detail(track: Track, episode: Episode, mark: Mark) -> str:
    if mark.event == "liquidated":
        market = track.book.market
        decimals, currency = track.adapter.base_decimals(market), track.adapter.currency(market)
        penalties = [loss.penalty_value for loss in episode.losses if loss.penalty_value is not None]
        return f"penalty {words.value(sum(penalties), decimals, currency)}" if penalties else ""
    return "" if mark.health_wad is None else f"health {words.four_places(mark.health_wad)}, {mark.band.label}"


def _cares(route: Route, track: Track, key: bytes) -> bool:
    named = not route.accounts or track.adapter.account(key) in route.accounts
    return named and (not route.protocols or track.name in route.protocols)


def _key(channel: str) -> str:
    return f"digest:{channel}"


def _row(told: Told) -> str:
    return json.dumps({"day": told.day, "at": told.at, "block": told.block, "block_time": told.block_time})

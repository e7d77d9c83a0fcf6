"""What is wrong with Keeper or its prices: told when it begins and when it is over, once each, per channel.

As with positions, what is said is the difference between what readers believe and what is true, so a restart repeats
nothing and forgets nothing; both are put into the same outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from keeper.core.ports import Store
from keeper.core.records import DeliveryStatus, NoticeEvent
from keeper.evaluator.directory import Directory
from keeper.evaluator.feed_notices import Affected, Feed, PriceRecovered, StalePrice
from keeper.evaluator.house import (
    HouseNotice,
    KeeperRecovered,
    KeeperUnhealthy,
    ProtocolCovered,
    ProtocolUncovered,
    Trouble,
    stands,
    subject_of,
)
from keeper.notifier.routing import Route, Router

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Conditions:
    """operators: channels that hear of Keeper itself; empty: every one. clock: unix seconds. wake: the deliveries."""

    store: Store
    router: Router
    operators: tuple[str, ...]
    directory: Directory
    clock: Callable[[], float]
    wake: Callable[[], None]

    # --- Keeper itself

    def begin(self, trouble: Trouble, *, owners_too: bool = False, without: Collection[str] = ()) -> None:
        """Something is wrong. owners_too: every channel hears of it. without: channels that cannot be told."""
        told, at, now = self.store.told(), self.store.cursor(), self.clock()
        what = f"{KeeperUnhealthy.prefix}:{trouble.about}"
        everyone = self.router.of_event(NoticeEvent.UNHEALTHY)
        channels = everyone if owners_too or not self.operators else self.operators
        self._put(
            KeeperUnhealthy(channel, at, now, trouble)
            for channel in channels
            if channel not in without and not stands(told, what, channel)
        )

    def end(self, about: str, said: str) -> None:
        """It is over, for those who were told that it began."""
        at, now = self.store.cursor(), self.clock()
        standing = self._standing(f"{KeeperUnhealthy.prefix}:{about}@")
        self._put(KeeperRecovered(channel, at, now, about, said) for _, channel in standing)

    def troubles(self, channel: str) -> list[str]:
        """What this channel was told is wrong and still is, in the words in which it was told."""
        prefixes = (KeeperUnhealthy.prefix, StalePrice.prefix)
        found = (what for prefix in prefixes for what, told in self._standing(f"{prefix}:") if told == channel)
        return [self.store.deliveries(subject_of(what, channel))[-1].notice.title for what in found]

    # --- protocols

    def uncovered(self, trouble: Trouble) -> None:
        """A protocol's losses are not covered. Every channel that wants such news hears of it."""
        told, at, now = self.store.told(), self.store.cursor(), self.clock()
        what = f"{ProtocolUncovered.prefix}:{trouble.about}"
        self._put(
            ProtocolUncovered(channel, at, now, trouble)
            for channel in self.router.of_event(NoticeEvent.UNCOVERED)
            if not stands(told, what, channel)
        )

    def covered(self, protocol: str, said: str) -> None:
        at, now = self.store.cursor(), self.clock()
        standing = self._standing(f"{ProtocolUncovered.prefix}:{protocol}@")
        self._put(ProtocolCovered(channel, at, now, protocol, said) for _, channel in standing)

    # --- prices

    def feeds(self, protocol: str, bad: Mapping[bytes, Sequence[Affected]], feed: Callable[[bytes], Feed]) -> None:
        """Which prices of a protocol nobody can rely on at present, with the positions that depend on each; feed: of
        any of its assets. Told to those whose positions they are, and when they recover."""
        told, at, now = self.store.told(), self.store.cursor(), self.clock()
        notices: list[HouseNotice] = []
        for asset, positions in sorted(bad.items()):
            one = feed(asset)
            for route in self._routes(NoticeEvent.STALE_PRICE):
                affected = [each for each in positions if _cares(route, protocol, each)]
                if affected and not stands(told, f"{StalePrice.prefix}:{one.about}", route.channel):
                    notices.append(StalePrice(route.channel, at, now, one, self.directory, affected))
        for what, channel in self._standing(f"{StalePrice.prefix}:{protocol}:"):
            asset = bytes.fromhex(what.rpartition(":0x")[2])
            if asset not in bad:
                notices.append(PriceRecovered(channel, at, now, feed(asset), self.directory))
        self._put(notices)

    # --- inside

    def _routes(self, event: NoticeEvent) -> Iterable[Route]:
        """Channels told at first hand; those that escalate others are for calls."""
        wanting = self.router.of_event(event)
        return (route for route in self.router.routes if route.channel in wanting and route.escalates is None)

    def _standing(self, prefix: str) -> list[tuple[str, str]]:
        """Subject and channel of everything of this kind that readers believe to be wrong."""
        told = self.store.told()
        found = (one.position for one in told.values() if one.position.startswith(prefix) and not one.event.closes)
        return [(what, channel) for what, _, channel in (position.rpartition("@") for position in sorted(found))]

    def _put(self, notices: Iterable[HouseNotice]) -> None:
        composed = [(notice.channel, notice.notice(self._heard(notice))) for notice in notices]
        # What a channel refused for good was said; it is not believed, but neither is it news.
        composed = [(channel, one) for channel, one in composed if self.store.delivery(one.id, channel) is None]
        if not composed:
            return
        with self.store.transaction() as tx:
            for channel, notice in composed:
                tx.add_notice(notice, [channel], self.clock())
        for channel, notice in composed:
            log.warning("condition_told", tells=notice.event.value, about=notice.position, channel=channel)
        self.wake()

    def _heard(self, notice: HouseNotice) -> str:
        """The id of what the channel was last told of the same, or will be."""
        told = (one for one in self.store.deliveries(notice.subject) if one.channel == notice.channel)
        believed = [one.notice.id for one in told if one.status not in (DeliveryStatus.DROPPED, DeliveryStatus.DEAD)]
        return believed[-1] if believed else ""


def _cares(route: Route, protocol: str, one: Affected) -> bool:
    return (not route.accounts or one.account in route.accounts) and (
        not route.protocols or protocol in route.protocols
    )

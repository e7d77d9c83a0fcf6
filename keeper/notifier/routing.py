"""Which channels hear of a notice, and when each may be disturbed. Pure: what is configured, as values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from keeper.core.records import Delivery, Notice, NoticeEvent
from keeper.core.types import Band
from keeper.notifier.quiet import QuietHours


class Subject(Protocol):
    """What a channel chooses by: of a notice, or of one that is still to be written."""

    @property
    def account(self) -> bytes: ...
    @property
    def protocol(self) -> str: ...
    @property
    def event(self) -> NoticeEvent: ...
    @property
    def band(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The rules of one channel.

    min_band, accounts, protocols, events: what it wants; an empty set wants all.
    quiet, quiet_below: hours in which what is less deep than this band is held back.
    per_minute: more messages than this are told together.
    escalates, patience_s: it tells only what that channel told this long ago and nobody acknowledged.
    give_up_s: after so long without success a delivery is dead.
    """

    channel: str
    min_band: Band = Band.CALL
    accounts: frozenset[bytes] = frozenset()
    protocols: frozenset[str] = frozenset()
    events: frozenset[NoticeEvent] = frozenset()
    quiet: QuietHours | None = None
    quiet_below: Band = Band.URGENT
    per_minute: int | None = None
    escalates: str | None = None
    patience_s: float = 900.0
    give_up_s: float = float("inf")

    def wants(self, notice: Subject) -> bool:
        """By the deepest band its readers have heard of, so that whoever heard of an opening hears of the closing."""
        return self._wants(notice.band, notice.account, notice.protocol, notice.event)

    def still_wants(self, notice: Notice) -> bool:
        """Whether what waits is for this channel: since it came into the outbox the rules, or whose name this is, may
        have changed. A summary is if all of it is; what is of no episode is told by other rules, and was."""
        if notice.event is NoticeEvent.SUMMARY:
            return all(self._wants_part(part) for part in notice.body["notices"])
        return not notice.event.of_episode or self.wants(notice)

    def _wants_part(self, part: Mapping[str, Any]) -> bool:
        event = NoticeEvent(part["event"])
        if not event.of_episode:
            return True
        return self._wants(part["band"], bytes.fromhex(part["account"].removeprefix("0x")), part["protocol"], event)

    def _wants(self, band: str, account: bytes, protocol: str, event: NoticeEvent) -> bool:
        return (
            Band[band.upper()] >= self.min_band
            and (not self.accounts or account in self.accounts)
            and (not self.protocols or protocol in self.protocols)
            and (not self.events or event in self.events)
        )

    def held_until(self, notice: Notice, now: float) -> float | None:
        """When the quiet hours end that hold this notice back; None when it may disturb. A loss always may."""
        if self.quiet is None or notice.event is NoticeEvent.LIQUIDATED:
            return None
        return None if Band[notice.band.upper()] >= self.quiet_below else self.quiet.ends_at(now)

    def patient_until(self, delivery: Delivery, before: Delivery | None, now: float) -> float | None:
        """Until when somebody may acknowledge what the channel before this one told; None when nobody can.

        Counted from when it was told there: while it waits or is held there, nobody could have known. What was told
        later than now, by a clock that was set back since, counts from when it was put in the outbox.
        """
        if self.escalates is None or delivery.notice.event.ends or before is None:
            return None
        match before.status.value:
            case "sent":
                told_at = before.sent_at or 0.0
                return (told_at if told_at <= now else delivery.created_at) + self.patience_s
            case "held":
                return before.due_at + self.patience_s
            case "dead":
                return None
            case _:
                return delivery.created_at + self.patience_s


@dataclass(frozen=True, slots=True)
class Router:
    """All channels of a deployment."""

    routes: tuple[Route, ...]

    @classmethod
    def of(cls, routes: Iterable[Route]) -> Router:
        return cls(tuple(routes))

    def __getitem__(self, channel: str) -> Route:
        return next((route for route in self.routes if route.channel == channel), Route(channel=channel))

    def channels(self, notice: Subject) -> tuple[str, ...]:
        """Who hears of a notice. One that escalates another's hears only of what that one does."""
        wanting: Mapping[str, Route] = {route.channel: route for route in self.routes if route.wants(notice)}
        return tuple(name for name in wanting if self._heard_before(name, wanting))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(route.channel for route in self.routes)

    def without_others(self, channels: Collection[str]) -> frozenset[str]:
        """These, but for those that escalate one that is not among them."""
        left = frozenset(channels)
        while alone := {name for name in left if (before := self[name].escalates) is not None and before not in left}:
            left -= alone
        return left

    def of_event(self, event: NoticeEvent) -> tuple[str, ...]:
        """Who hears of what concerns no position, whatever depth of episodes they are for."""
        return tuple(route.channel for route in self.routes if not route.events or event in route.events)

    def directly_after(self, channel: str) -> tuple[str, ...]:
        """Channels that escalate this one's notices."""
        return tuple(route.channel for route in self.routes if route.escalates == channel)

    @property
    def escalating(self) -> frozenset[str]:
        return frozenset(route.channel for route in self.routes if route.escalates is not None)

    def _heard_before(self, name: str, wanting: Mapping[str, Route]) -> bool:
        before = wanting[name].escalates
        return before is None or (before in wanting and self._heard_before(before, wanting))

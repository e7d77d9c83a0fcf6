"""What is told of no single position: prices nobody can rely on, Keeper itself, breakers, and the day.

Each is told per channel, and remembered per channel: what a channel hears depends on whose positions it is for. The
`position` of such a notice is its subject, "<what>:<which>@<channel>", so that order and belief work as for positions.
It is judged at no block as far as reorgs are concerned: one that takes back a block does not take back what was wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keeper.core.records import Notice, NoticeEvent, Told
from keeper.core.types import Band, BlockRef
from keeper.evaluator import wording as words
from keeper.evaluator.directory import Directory
from keeper.evaluator.page import (
    Code,
    Page,
    Phrase,
    Section,
    Strong,
    headline,
    html,
    lines,
    listing,
    markdown,
    text,
)

_LISTED = 20
"""More positions than this are counted, not named."""


@dataclass(frozen=True, slots=True)
class HouseNotice:
    """One thing to say on one channel.

    at: the newest block, or None before the first. now: unix seconds.
    """

    channel: str
    at: BlockRef | None
    now: float

    event: ClassVar[NoticeEvent]
    prefix: ClassVar[str]
    band: ClassVar[Band]

    @property
    def about(self) -> str:
        """Which of its kind."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        return subject_of(f"{self.prefix}:{self.about}", self.channel)

    def title(self) -> Phrase:
        raise NotImplementedError

    def sections(self) -> Iterator[Section]:
        raise NotImplementedError

    def facts(self) -> Mapping[str, Any]:
        """What the body says besides the fields of every notice."""
        raise NotImplementedError

    def occasion(self) -> str:
        """What tells this from the same said before: part of the idempotency key, the same after a restart."""
        return "" if self.at is None else self.at.hash.hex()

    def notice(self) -> Notice:
        at = self.at
        said = "|".join((self.subject, self.event.value, self.occasion()))
        notice_id = hashlib.sha256(said.encode()).hexdigest()[:32]
        judged: list[Phrase] = []
        if at is not None:
            judged.append((f"Newest block {at.number} (", Code(f"0x{at.hash.hex()}"), f"); {words.when(self.now)}."))
        page = Page(self.title(), (*self.sections(), lines(*judged)))
        body: dict[str, Any] = {
            "id": notice_id,
            "event": self.event.value,
            "position": self.subject,
            "account": None,
            "protocol": self.prefix,
            "episode": self.subject,
            "band": self.band.label,
            "health_wad": None,
            "block_number": None if at is None else at.number,
            "block_hash": None if at is None else f"0x{at.hash.hex()}",
            "timestamp": int(self.now),
            "demands": [],
            **self.facts(),
        }
        return Notice(
            id=notice_id,
            position=self.subject,
            account=b"",
            protocol=self.prefix,
            episode=self.subject,
            event=self.event,
            band=self.band.label,
            block_number=0,
            block_hash=b"",
            body=body,
            text=text(page),
            markdown=markdown(page),
            title=headline(page),
            html=html(page),
        )


def subject_of(what: str, channel: str) -> str:
    return f"{what}@{channel}"


def stands(told: Mapping[str, Told], what: str, channel: str) -> bool:
    """Whether the readers of a channel believe that this is wrong."""
    believed = told.get(subject_of(what, channel))
    return believed is not None and not believed.event.closes


# --- prices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Affected:
    """A position that depends on a feed. health_wad None: unknown, or nothing is owed."""

    position: str
    account: bytes
    health_wad: int | None
    called: bool


@dataclass(frozen=True, slots=True)
class Feed:
    """The price of one asset in one protocol. updated_at: of its last round; None where the feed does not tell."""

    protocol: str
    asset: bytes
    symbol: str
    priced: bool
    updated_at: int | None = None

    @property
    def about(self) -> str:
        return f"{self.protocol}:0x{self.asset.hex()}"


@dataclass(frozen=True, slots=True)
class _OfFeed(HouseNotice):
    feed: Feed
    directory: Directory

    prefix = "prices"
    band = Band.WATCH

    @property
    def about(self) -> str:
        return self.feed.about

    def facts(self) -> Mapping[str, Any]:
        feed = self.feed
        return {
            "protocol": feed.protocol,
            "asset": self.directory.show(feed.asset),
            "symbol": words.clean_symbol(feed.symbol),
            "priced": feed.priced,
            "price_updated_at": feed.updated_at,
        }


@dataclass(frozen=True, slots=True)
class StalePrice(_OfFeed):
    """A feed is older than it may be, or gives no usable price: of the positions that depend on it nothing new can be
    told, or nothing at all."""

    affected: Sequence[Affected]

    event = NoticeEvent.STALE_PRICE

    def title(self) -> Phrase:
        feed, symbol = self.feed, words.clean_symbol(self.feed.symbol)
        what = f"Price of {symbol} is stale" if feed.priced else f"No usable price of {symbol}"
        return (Strong(what), " on ", Code(feed.protocol))

    def sections(self) -> Iterator[Section]:
        feed = self.feed
        if feed.updated_at is not None:
            age = words.duration(self.now - feed.updated_at)
            yield lines(f"Its last round is {age} old ({words.when(feed.updated_at)}).")
        if feed.priced:
            yield lines("Health is judged with the old price, as the protocol does; it may be off.")
        else:
            yield lines("These positions cannot be judged, by us or by the protocol, until there is a price again.")
        yield listing("Positions that depend on it", [self._line(one) for one in self.affected[:_LISTED]])
        if len(self.affected) > _LISTED:
            yield lines(f"And {len(self.affected) - _LISTED} more.")

    def _line(self, one: Affected) -> Phrase:
        health = "health unknown" if one.health_wad is None else f"health {words.four_places(one.health_wad)}"
        return (*self.directory.in_full(one.account), f": {health}{', called' if one.called else ''}")

    def facts(self) -> Mapping[str, Any]:
        # Two names at once: super() without arguments does not work in a class that slots made anew.
        return {**_OfFeed.facts(self), "positions": [one.position for one in self.affected]}


@dataclass(frozen=True, slots=True)
class PriceRecovered(_OfFeed):
    event = NoticeEvent.PRICE_RECOVERED

    def title(self) -> Phrase:
        return (
            Strong(f"Price of {words.clean_symbol(self.feed.symbol)} is fresh again"),
            " on ",
            Code(self.feed.protocol),
        )

    def sections(self) -> Iterator[Section]:
        if self.feed.updated_at is not None:
            yield lines(f"Its last round is of {words.when(self.feed.updated_at)}.")


# --- Keeper itself ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that Keeper cannot do, or did wrong. about: one word for machines. summary, details, remedy: sentences,
    which may quote what others sent."""

    about: str
    summary: str
    details: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class KeeperUnhealthy(HouseNotice):
    trouble: Trouble

    event = NoticeEvent.UNHEALTHY
    prefix = "keeper"
    band = Band.URGENT

    @property
    def about(self) -> str:
        return self.trouble.about

    def title(self) -> Phrase:
        return (Strong("Keeper is unhealthy"), f": {self.trouble.summary}")

    def sections(self) -> Iterator[Section]:
        yield lines(*self.trouble.details, *((self.trouble.remedy,) if self.trouble.remedy else ()))

    def facts(self) -> Mapping[str, Any]:
        return {"trouble": self.trouble.about, "summary": self.trouble.summary, "details": list(self.trouble.details)}


@dataclass(frozen=True, slots=True)
class KeeperRecovered(HouseNotice):
    """what: as in the trouble that is over. said: how it is now."""

    what: str
    said: str

    event = NoticeEvent.RECOVERED
    prefix = "keeper"
    band = Band.URGENT

    @property
    def about(self) -> str:
        return self.what

    def title(self) -> Phrase:
        return (Strong("Keeper has recovered"), f": {self.said}")

    def sections(self) -> Iterator[Section]:
        yield from ()

    def facts(self) -> Mapping[str, Any]:
        return {"trouble": self.what, "summary": self.said}


# --- protocols --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProtocolUncovered(KeeperUnhealthy):
    """A protocol's losses are no longer covered as they should be: where losses begin to be everybody's."""

    event = NoticeEvent.UNCOVERED
    prefix = "solvency"

    def title(self) -> Phrase:
        return (Strong("Losses are not covered"), f": {self.trouble.summary}")


@dataclass(frozen=True, slots=True)
class ProtocolCovered(KeeperRecovered):
    event = NoticeEvent.COVERED
    prefix = "solvency"

    def title(self) -> Phrase:
        return (Strong("Losses are covered again"), f": {self.said}")


# --- breakers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BreakerTripped(HouseNotice):
    """A breaker stopped our transactions. remedy: a sentence."""

    name: str
    detail: str
    block: int
    remedy: str

    event = NoticeEvent.TRIPPED
    prefix = "breakers"
    band = Band.LIQUIDATABLE

    @property
    def about(self) -> str:
        return self.name

    @property
    def subject(self) -> str:
        """One for all channels: every channel hears the same."""
        return f"{self.prefix}:{self.name}"

    def occasion(self) -> str:
        return f"{self.now}|{self.block}"

    def title(self) -> Phrase:
        return (Strong("Transactions stopped"), ": breaker ", Code(self.name), " tripped")

    def sections(self) -> Iterator[Section]:
        yield lines(f"At block {self.block}: {self.detail}.", self.remedy)

    def facts(self) -> Mapping[str, Any]:
        return {"block_number": self.block, "breaker": self.name, "detail": self.detail}


# --- the day ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCall:
    protocol: str
    account: bytes
    band: Band
    health_wad: int | None
    since: int  # unix seconds


@dataclass(frozen=True, slots=True)
class Near:
    """A position near liquidation. value: of its debt, in words."""

    protocol: str
    account: bytes
    health_wad: int
    debt: str


@dataclass(frozen=True, slots=True)
class Happening:
    """A step of an episode since the last digest. detail: in words, may be empty."""

    protocol: str
    account: bytes
    event: str
    timestamp: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DailyDigest(HouseNotice):
    """day: "2026-11-26", in UTC. since: unix seconds, where the last one ended. troubles: what is wrong at present."""

    day: str
    since: float
    directory: Directory
    watched: int
    calls: Sequence[OpenCall] = ()
    closest: Sequence[Near] = ()
    happened: Sequence[Happening] = ()
    troubles: Sequence[str] = ()

    event = NoticeEvent.DIGEST
    prefix = "digest"
    band = Band.WATCH

    @property
    def about(self) -> str:
        return "daily"

    def occasion(self) -> str:
        """One per day and channel, whatever happens in between."""
        return self.day

    def title(self) -> Phrase:
        calls = (
            "no open call"
            if not self.calls
            else "1 open call"
            if len(self.calls) == 1
            else f"{len(self.calls)} open calls"
        )
        return (Strong(f"Daily digest of {self.day}"), f": {calls}, {self.watched} positions watched")

    def sections(self) -> Iterator[Section]:
        yield listing("Needs attention", self.troubles)
        yield listing("Open calls", _most([self._call(call) for call in self.calls]))
        yield listing("Closest to liquidation", [self._near(near) for near in self.closest])
        yield listing(f"Since {words.when(self.since)}", _most([self._happening(one) for one in self.happened]))
        if not self.happened:
            yield lines(f"Nothing happened since {words.when(self.since)}.")

    def _call(self, call: OpenCall) -> Phrase:
        health = "unknown" if call.health_wad is None else words.four_places(call.health_wad)
        open_for = words.duration(self.now - call.since)
        return (
            *self.directory.in_full(call.account),
            f" on {call.protocol}: health {health}, {call.band.label}, open for {open_for}",
        )

    def _near(self, near: Near) -> Phrase:
        health = words.four_places(near.health_wad)
        return (*self.directory.in_full(near.account), f" on {near.protocol}: health {health}, debt {near.debt}")

    def _happening(self, one: Happening) -> Phrase:
        said = f" on {one.protocol}: {one.event}, {words.when(one.timestamp)}"
        return (*self.directory.in_full(one.account), said + (f"; {one.detail}" if one.detail else ""))

    def facts(self) -> Mapping[str, Any]:
        show = self.directory.show
        return {
            "day": self.day,
            "since": int(self.since),
            "watched": self.watched,
            "open_calls": [
                {
                    "protocol": call.protocol,
                    "account": show(call.account),
                    "band": call.band.label,
                    "health_wad": None if call.health_wad is None else str(call.health_wad),
                    "since": call.since,
                }
                for call in self.calls
            ],
            "closest": [
                {"protocol": near.protocol, "account": show(near.account), "health_wad": str(near.health_wad)}
                for near in self.closest
            ],
            "happened": [
                {"protocol": one.protocol, "account": show(one.account), "event": one.event, "timestamp": one.timestamp}
                for one in self.happened
            ],
            "troubles": list(self.troubles),
        }


def _most(items: Sequence[Phrase]) -> list[Phrase]:
    return [*items[:_LISTED], (f"and {len(items) - _LISTED} more",)] if len(items) > _LISTED else list(items)

"""Prices nobody can rely on, told to whoever has a position that depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.records import NoticeEvent
from keeper.core.types import Band
from keeper.evaluator import wording as words
from keeper.evaluator.directory import Directory
from keeper.evaluator.house import HouseNotice, most
from keeper.evaluator.page import Code, Phrase, Section, Strong, lines, listing


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
        yield listing("Positions that depend on it", most([self._line(one) for one in self.affected]))

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

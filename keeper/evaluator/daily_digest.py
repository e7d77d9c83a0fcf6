"""What a channel is told once a day: open calls, what is near, what happened, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.records import NoticeEvent
from keeper.core.types import Band
from keeper.evaluator import wording as words
from keeper.evaluator.directory import Directory
from keeper.evaluator.house import HouseNotice, most
from keeper.evaluator.page import Phrase, Section, Strong, lines, listing


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
        yield listing("Open calls", most([self._call(call) for call in self.calls]))
        yield listing("Closest to liquidation", [self._near(near) for near in self.closest])
        yield listing(f"Since {words.when(self.since)}", most([self._happening(one) for one in self.happened]))
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

"""What is told of no single position: prices nobody can rely on, Keeper itself, breakers, and the day.

Each is told per channel, and remembered per channel: what a channel hears depends on whose positions it is for. The
`position` of such a notice is its subject, "<what>:<which>@<channel>", so that order and belief work as for positions.
It is judged at no block as far as reorgs are concerned: one that takes back a block does not take back what was wrong.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keeper.core.records import Notice, NoticeEvent, Told
from keeper.core.types import Band, BlockRef
from keeper.evaluator import wording as words
from keeper.evaluator.page import (
    Code,
    Page,
    Phrase,
    Section,
    Strong,
    headline,
    html,
    lines,
    markdown,
    text,
)

LISTED = 20
"""More positions than this are counted, not named."""


@dataclass(frozen=True, slots=True)
class HouseNotice(ABC):
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
    @abstractmethod
    def about(self) -> str:
        """Which of its kind."""

    @property
    def subject(self) -> str:
        return subject_of(f"{self.prefix}:{self.about}", self.channel)

    @abstractmethod
    def title(self) -> Phrase: ...

    @abstractmethod
    def sections(self) -> Iterator[Section]: ...

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What the body says besides the fields of every notice."""

    def occasion(self) -> str:
        """What tells this from the same said before: part of the idempotency key, the same after a restart."""
        return "" if self.at is None else self.at.hash.hex()

    def notice(self, after: str = "") -> Notice:
        """after: the id of what readers were last told of the subject. Without a new block it alone tells a second time
        from the first; what was not told since changes nothing."""
        at = self.at
        said = "|".join((self.subject, self.event.value, self.occasion(), *((after,) if after else ())))
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


def most(items: Sequence[Phrase]) -> list[Phrase]:
    """The first of these, and how many more there are."""
    return [*items[:LISTED], (f"and {len(items) - LISTED} more",)] if len(items) > LISTED else list(items)


def subject_of(what: str, channel: str) -> str:
    return f"{what}@{channel}"


def stands(told: Mapping[str, Told], what: str, channel: str) -> bool:
    """Whether the readers of a channel believe that this is wrong."""
    believed = told.get(subject_of(what, channel))
    return believed is not None and not believed.event.closes


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

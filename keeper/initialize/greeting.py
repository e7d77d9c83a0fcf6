"""A test message: what a channel shows of it is what it will show of a margin call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keeper.core.records import NoticeEvent
from keeper.core.types import Band
from keeper.evaluator.house import HouseNotice
from keeper.evaluator.page import Phrase, Section, lines


@dataclass(frozen=True, slots=True)
class Greeting(HouseNotice):
    chain_name: str = ""

    event = NoticeEvent.TEST
    prefix = "keeper"
    band = Band.SAFE

    @property
    def about(self) -> str:
        return "test"

    def title(self) -> Phrase:
        return (f"Keeper on {self.chain_name}: a test message",)

    def sections(self) -> Iterator[Section]:
        yield lines("Margin calls will come this way. Nothing is wrong, and nothing need be done.")

    def facts(self) -> Mapping[str, Any]:
        return {}

    def occasion(self) -> str:
        return str(self.now)

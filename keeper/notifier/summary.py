"""Many notices as one: each position and its band, the deepest first. Pure.

A few are told in full, since somebody will want to act on them; a storm is told in one line each, so that no band
change is lost and the message can still be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from keeper.core.records import Delivery, Notice, NoticeEvent, summaries_of
from keeper.core.types import Band
from keeper.evaluator.page import Code, Page, Phrase, Section, headline, html, listing, markdown, text
from keeper.evaluator.wording import four_places

SUBJECT = "summary"
FEW = 5
_BRIEF = (
    "id",
    "event",
    "position",
    "account",
    "protocol",
    "episode",
    "band",
    "health_wad",
    "block_number",
    "block_hash",
)


def summarize(channel: str, deliveries: Sequence[Delivery]) -> Notice:
    """The summary of at least one delivery. Its id follows from theirs; its block is the newest of theirs, so that a
    reorg which makes one of them untrue takes it back while nobody has seen it."""
    notices = [delivery.notice for delivery in deliveries]
    newest = max(notices, key=lambda notice: notice.block_number)
    deepest = max(Band[notice.band.upper()] for notice in notices)
    positions = {notice.position for notice in notices}
    said = "|".join((SUBJECT, channel, *(notice.id for notice in notices)))
    notice_id = hashlib.sha256(said.encode()).hexdigest()[:32]
    subject = summaries_of(channel)
    many = "1 position" if len(positions) == 1 else f"{len(positions)} positions"
    page = Page((f"{len(notices)} notices of {many}, {deepest.label} at most",), tuple(_sections(notices)))
    body: dict[str, Any] = {
        "id": notice_id,
        "event": NoticeEvent.SUMMARY.value,
        "position": subject,
        "account": None,
        "protocol": SUBJECT,
        "episode": subject,
        "band": deepest.label,
        "health_wad": None,
        "block_number": newest.block_number,
        "block_hash": "0x" + newest.block_hash.hex(),
        "demands": [],
        "notices": [notice.body if len(notices) <= FEW else _brief(notice) for notice in notices],
    }
    return Notice(
        id=notice_id,
        position=subject,
        account=b"",
        protocol=SUBJECT,
        episode=subject,
        event=NoticeEvent.SUMMARY,
        band=deepest.label,
        block_number=newest.block_number,
        block_hash=newest.block_hash,
        body=body,
        text=text(page),
        markdown=markdown(page),
        title=headline(page),
        html=html(page),
    )


def _brief(notice: Notice) -> dict[str, Any]:
    """What a notice says, without how to cure it and where to look: a storm told in full would be too large for many
    receivers, and one that is refused for its size never arrives."""
    return {key: notice.body.get(key) for key in _BRIEF}


def _sections(notices: Sequence[Notice]) -> list[Section]:
    if len(notices) <= FEW:
        return [listing(_title(notice), _details(notice)) for notice in notices]
    depths = sorted({Band[notice.band.upper()] for notice in notices}, reverse=True)
    return [listing(depth.label, [_line(one) for one in notices if one.band == depth.label]) for depth in depths]


def _title(notice: Notice) -> str:
    return f"{notice.title} ({notice.event.value}, {notice.band})"


def _details(notice: Notice) -> list[str]:
    """What its plain text says below the title."""
    lines = (line.strip().removeprefix("- ") for line in notice.text.splitlines()[1:])
    return [line for line in lines if line] or [notice.text]


def _line(notice: Notice) -> Phrase:
    factor = notice.body.get("health_wad")
    health = "" if factor is None else f", health {four_places(int(factor))}"
    return (Code(notice.position), f" {notice.event.value}{health}, block {notice.block_number}")

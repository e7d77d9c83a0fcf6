"""A breaker that tripped, as a notice to every channel: nobody should learn of it from the logs first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from keeper.core.ports import Transaction
from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import Band
from keeper.evaluator.page import Code, Page, Strong, headline, html, lines, markdown, text
from keeper.executor.breakers import Trip
from keeper.executor.guard import REMEDY

SUBJECT = "breakers"


def alarm(channels: Sequence[str]) -> Callable[[Transaction, Trip], None]:
    """What puts the notice of a trip in the outbox, whatever depth of episodes a channel is for."""

    def tell(transaction: Transaction, trip: Trip) -> None:
        if channels:
            transaction.add_notice(trip_notice(trip), channels, trip.at)

    return tell


def trip_notice(trip: Trip) -> Notice:
    """It concerns no position, so position, account and episode are empty or the breaker's.

    Judged at no block as far as reorgs are concerned: one that takes back the block does not take back the trip.
    """
    said = f"{SUBJECT}|{trip.name}|{trip.at}|{trip.block}"
    episode = f"{SUBJECT}:{trip.name}"
    page = Page(
        (Strong("Transactions stopped"), ": breaker ", Code(trip.name), " tripped"),
        (lines(f"At block {trip.block}: {trip.detail}.", _sentence(REMEDY)),),
    )
    notice_id = hashlib.sha256(said.encode()).hexdigest()[:32]
    body: dict[str, object] = {
        "id": notice_id,
        "event": NoticeEvent.TRIPPED.value,
        "position": episode,
        "account": None,
        "protocol": SUBJECT,
        "episode": episode,
        "band": Band.LIQUIDATABLE.label,
        "health_wad": None,
        "block_number": trip.block,
        "block_hash": None,
        "demands": [],
        "breaker": trip.name,
        "detail": trip.detail,
    }
    return Notice(
        id=notice_id,
        position=episode,
        account=b"",
        protocol=SUBJECT,
        episode=episode,
        event=NoticeEvent.TRIPPED,
        band=Band.LIQUIDATABLE.label,
        block_number=0,
        block_hash=b"",
        body=body,
        text=text(page),
        markdown=markdown(page),
        title=headline(page),
        html=html(page),
    )


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."

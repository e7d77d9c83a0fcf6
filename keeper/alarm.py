"""A breaker that tripped, as a notice to every channel: nobody should learn of it from the logs first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keeper.core.ports import Transaction
from keeper.core.records import Notice
from keeper.evaluator.house import BreakerTripped
from keeper.executor.breakers import Trip
from keeper.executor.guard import REMEDY


def alarm(channels: Sequence[str]) -> Callable[[Transaction, Trip], None]:
    """What puts the notice of a trip in the outbox, whatever depth of episodes a channel is for."""

    def tell(transaction: Transaction, trip: Trip) -> None:
        if channels:
            transaction.add_notice(trip_notice(trip), channels, trip.at)

    return tell


def trip_notice(trip: Trip) -> Notice:
    """The same for every channel."""
    return BreakerTripped("", None, trip.at, trip.name, trip.detail, trip.block, _sentence(REMEDY)).notice()


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."

"""Which channels a notice goes to."""

from __future__ import annotations

from collections.abc import Iterable

from keeper.core.ports import Notifier
from keeper.core.records import Notice, Told
from keeper.core.types import Band


def recipients(channels: Iterable[Notifier], notice: Notice, told: Told | None) -> tuple[str, ...]:
    """Names of the channels that get this notice: those that want episodes as deep as it.

    A closing goes to whoever was told that it was open, so it counts as deep as the deepest band that was told, which
    is the last: `told` is the newest notice of the position before this one.
    """
    depth = Band[notice.band.upper()]
    if notice.event.closes and told is not None:
        depth = max(depth, Band[told.band.upper()])
    return tuple(channel.name for channel in channels if channel.min_band <= depth)

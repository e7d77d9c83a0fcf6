"""`keeper ack`, `keeper calls --undelivered` and `keeper calls retry`: what people do about notices on their way.

They read the database beside the daemon and leave it requests, which it carries out within a second, or at its start.
"""

from __future__ import annotations

import argparse
import difflib
import getpass
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from keeper import terminal
from keeper.core.errors import ConfigError
from keeper.core.ports import Store
from keeper.core.records import Delivery, DeliveryStatus
from keeper.evaluator.episode_json import load_episode
from keeper.notifier.acktoken import is_token, read_token
from keeper.notifier.requests import ACKNOWLEDGE, RETRY
from keeper.queries import report, views
from keeper.wire import House, open_house

if TYPE_CHECKING:
    from rich.table import Table

Json = dict[str, Any]

_DONE = (DeliveryStatus.SENT, DeliveryStatus.DROPPED)
_TOLD = (DeliveryStatus.SENT, DeliveryStatus.SENDING)
_UNSEEN = (DeliveryStatus.PENDING, DeliveryStatus.HELD)


# --- acknowledging ----------------------------------------------------------------------------------------------------


def acknowledge(args: argparse.Namespace) -> int:
    house = open_house(args)
    by = args.by or ("a link" if is_token(args.id) else _user())
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        episode = episode_of(house, store, args.id)
        deliveries = store.deliveries(episode)
    escalating = {one.name for one in house.config.notifiers if one.settings["escalates"] is not None}
    stopped = sorted({one.channel for one in deliveries if one.channel in escalating and one.status in _UNSEEN})
    late = sorted(
        {one.channel for one in deliveries if one.channel in escalating and one.status not in _UNSEEN + _DONE}
    )
    house.telling.requests().leave(ACKNOWLEDGE, time.time(), episode=episode, by=by)
    print(f"acknowledged by {by}: {deliveries[-1].notice.title}")
    print(f"not told any more: {', '.join(stopped)}" if stopped else "nobody else was to be told of it")
    print("the daemon takes it within a second, or at its next start")
    if late:
        print(f"already being told: {', '.join(late)}")
    return 0


def episode_of(house: House, store: Store, text: str) -> str:
    """The id by which readers know the episode: given as such, as a notice's, as `keeper calls` shows, or a token."""
    if is_token(text):
        secret = house.config.acknowledgements.secret
        if secret is None:
            raise ConfigError("a token was given, but acknowledgements.secret is not configured; use `keeper ack ID`")
        text = read_token(text, secret, house.config.chain.id, time.time())
    known: dict[str, str] = {}
    last: dict[str, str] = {}
    for delivery in store.deliveries():
        notice = delivery.notice
        known[notice.id] = known[notice.episode] = notice.episode
        last[notice.position] = notice.episode
    if text in known:
        return known[text]
    # After a reorg an episode may have another id than the one its readers were told.
    for _, _, payload, _ in store.episodes():
        episode = load_episode(payload)
        if episode.id == text and episode.position in last:
            return last[episode.position]
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`keeper calls --json` shows them"
    raise ConfigError(f"nobody was told of a call with the id {text!r}; {hint}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


# --- what did not arrive ----------------------------------------------------------------------------------------------


def undelivered(args: argparse.Namespace) -> int:
    """What waits, is tried again, or was given up."""
    house = open_house(args)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        rows = list(undelivered_rows(store))
    return report.show(args, rows, _table, report.Title("undelivered notice", "undelivered notices"))


def undelivered_rows(store: Store) -> Iterator[Json]:
    """Oldest first. status: pending, held, sending, or dead; error: of the last attempt."""
    for delivery in store.deliveries():
        if delivery.status in _DONE:
            continue
        notice = delivery.notice
        yield {
            "id": notice.id,
            "channel": delivery.channel,
            "status": delivery.status.value,
            "event": notice.event.value,
            "position": notice.position,
            "protocol": notice.protocol,
            "episode": notice.episode,
            "band": notice.band,
            "block_number": notice.block_number,
            "attempts": delivery.attempts,
            "created_at": delivery.created_at,
            "due_at": None if delivery.status is DeliveryStatus.DEAD else delivery.due_at,
            "told_by": delivery.carrier,
            "error": delivery.error,
        }


def retry(args: argparse.Namespace) -> int:
    house = open_house(args)
    with closing(house.open_store(read_only=True)) as store, store.snapshot():
        everything = store.deliveries()
    chosen = [one for one in everything if args.id in ("all", one.notice.id) and args.channel in (None, one.channel)]
    last = {(one.notice.position, one.channel): one.notice.id for one in everything if one.status in _TOLD}
    order = {(one.notice.id, one.channel): number for number, one in enumerate(everything)}
    lost = [one for one in chosen if one.status is DeliveryStatus.DEAD]
    late = [one for one in lost if _is_superseded(one, last, order)]
    dead = {(one.carrier or one.notice.id, one.channel) for one in lost if one not in late}
    for one in late:
        print(f"keeper: {one.notice.id} on {one.channel}: later news of {one.notice.position} arrived", file=sys.stderr)
    if late and not dead:
        return 1
    if not dead:
        raise ConfigError(_nothing_to_retry(args.id, args.channel, chosen, everything))
    for notice_id, channel in sorted(dead):
        house.telling.requests().leave(RETRY, time.time(), notice=notice_id, channel=channel)
        print(f"to be tried again: {notice_id} on {channel}")
    gone = {channel for _, channel in dead} - {one.name for one in house.config.notifiers}
    if gone:
        print(f"keeper: not configured any more: {', '.join(sorted(gone))}", file=sys.stderr)
    return 0


def _is_superseded(one: Delivery, last: Mapping[tuple[str, str], str], order: Mapping[tuple[str, str], int]) -> bool:
    """Whether something later was told of its position there: told now, it would pass for the news."""
    told = last.get((one.notice.position, one.channel))
    return told is not None and order[told, one.channel] > order[one.notice.id, one.channel]


def _nothing_to_retry(
    notice_id: str, channel: str | None, chosen: Sequence[Delivery], everything: Sequence[Delivery]
) -> str:
    on = "" if channel is None else f" on {channel}"
    if chosen and notice_id != "all":
        states = ", ".join(sorted({f"{one.status.value} on {one.channel}" for one in chosen}))
        return f"notice {notice_id} was not given up: it is {states}; only what is dead can be tried again"
    if notice_id == "all":
        return f"no notice was given up{on}; `keeper calls --undelivered` shows what still waits"
    near = difflib.get_close_matches(notice_id, {one.notice.id for one in everything}, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`keeper calls --undelivered` shows them"
    return f"there is no notice {notice_id!r}{on}; {hint}"


def _table(rows: Sequence[Json]) -> Table:
    from rich.markup import escape

    table = terminal.table(
        "notice",
        "channel",
        "event",
        "band",
        "status",
        "tries",
        "error",
        right=("tries",),
        whole=("event", "band", "status"),
    )
    for row in rows:
        table.add_row(
            row["id"],
            row["channel"],
            row["event"],
            f"[{views.band_style(row['band'])}]{row['band']}[/]",
            row["status"],
            str(row["attempts"]),
            escape(row["error"] or ""),
        )
    return table

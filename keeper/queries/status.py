"""`keeper status`: how it fares, on one screen; again and again with --watch; as an exit code with --check.

It reads the store and the daemon's pulse, and asks neither the daemon nor the node: it answers when they do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.pulse import read_pulse
from keeper.queries import views
from keeper.queries.daily import row_of
from keeper.queries.live import rows
from keeper.queries.live.board import Board
from keeper.queries.live.live import Live
from keeper.queries.live.readiness import readiness
from keeper.queries.live.system import status_json
from keeper.wire import House, open_house

Json = dict[str, Any]

NEAREST = 5
LAST = 5


def status(args: argparse.Namespace) -> int:
    house = open_house(args)
    if args.check == "alive":
        return _alive(house)
    with closing(house.open_store(read_only=True)) as store:
        if args.check:
            return _ready(house, store)
        live = Live(store, house.adapters(), house.rule())
        if args.watch is None:
            _show(args, status_row(house, store, live, time.time()))
            return 0
        return _watch(args, house, store, live)


def status_row(house: House, store: Store, live: Live, now: float) -> Json:
    """The object of `/api/v1/status`, and what a person at a terminal wants beside it.

    now: unix seconds. nearest: positions as `keeper health --json` shows them. transactions: the last, newest first.
    today: as a row of `keeper liquidations --daily`, of the present day (UTC). endpoints, crosscheck, heartbeat: what
    the daemon last said of its defences, null where it says nothing of them.
    """
    with store.snapshot():
        live.sync()
        board, pulse = live.board, read_pulse(house.files.pulse)
        calls = list(views.call_rows(store))
        sections = {} if pulse is None else pulse.sections
        today = datetime.fromtimestamp(now, UTC).date().isoformat()
        return {
            **status_json(store, board, pulse, house.config.chain.id, calls, now),
            "at": now,
            "ready": readiness(house, pulse, live.tip, now),
            "endpoints": (sections.get("endpoints") or {}).get("endpoints"),
            "crosscheck": sections.get("crosscheck"),
            "heartbeat": sections.get("heartbeat"),
            "nearest": [] if board is None else list(_nearest(live, board)),
            "transactions": list(views.transaction_rows(store))[-LAST:][::-1],
            "today": row_of(store, today),
        }


def _nearest(live: Live, board: Board) -> Iterator[Json]:
    for place in board.order("health")[:NEAREST]:
        book = live.book(board.protocols[board.protocol[place]])
        yield rows.position_row(book, board.keys[place], board.block, None)


# --- once, or on and on -----------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, row: Json) -> None:
    if args.json:
        print(json.dumps(row, separators=(",", ":")), flush=True)
        return
    from keeper import terminal
    from keeper.queries.screen import screen

    terminal.console().print(screen(row))


def _watch(args: argparse.Namespace, house: House, store: Store, live: Live) -> int:
    """On a terminal one screen that changes in place, elsewhere one answer after the other. Ctrl-C is the way out."""
    from keeper import terminal
    from keeper.queries.screen import screen

    console = terminal.console()
    try:
        if args.json or not console.is_terminal:
            while True:
                _show(args, status_row(house, store, live, time.time()))
                time.sleep(args.watch)
        from rich.live import Live as Display

        with Display(console=console, screen=True, auto_refresh=False) as display:
            while True:
                display.update(screen(status_row(house, store, live, time.time())), refresh=True)
                time.sleep(args.watch)
    except KeyboardInterrupt:
        return 0


# --- for a machine ----------------------------------------------------------------------------------------------------


def _alive(house: House) -> int:
    """Whether the daemon runs and its loop turns, whatever node, store and wallet are like."""
    pulse, now = read_pulse(house.files.pulse), time.time()
    if pulse is not None and not pulse.is_stale(now):
        return 0
    last = "there is no pulse" if pulse is None else f"its last pulse is {pulse.age_s(now):.0f} s old"
    print(f"keeper: daemon: {last}: it does not run, or hangs", file=sys.stderr)
    return 1


def _ready(house: House, store: Store) -> int:
    """A line for what is not as it should be; 0 when all is. Loads no positions, so that it may be asked often."""
    found = readiness(house, read_pulse(house.files.pulse), _tip(store), time.time())
    for one in found["checks"]:
        if not one["ok"]:
            print(f"keeper: {one['check']}: {one['detail']}", file=sys.stderr)
    return 0 if found["ready"] else 1


def _tip(store: Store) -> Block | None:
    blocks = store.blocks()
    return blocks[-1] if blocks else None

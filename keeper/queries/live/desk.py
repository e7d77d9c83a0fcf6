"""Everything the web server asks, behind one object: the store kept up with, the pulse, and what is made of them.

Synchronous, for one thread, which opens and closes it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from keeper.core.errors import ConfigError, StoreError
from keeper.core.ports import Store
from keeper.evaluator.episode_json import load_episode
from keeper.evaluator.page import one_line
from keeper.notifier.acktoken import is_token
from keeper.notifier.requests import ACKNOWLEDGE
from keeper.protocols.addresses import checksummed
from keeper.pulse import Pulse, read_pulse
from keeper.queries import deliveries, views
from keeper.queries.live import rows
from keeper.queries.live.board import BANDS, Board
from keeper.queries.live.figures import figures
from keeper.queries.live.history import History
from keeper.queries.live.ladder import ladder
from keeper.queries.live.live import Live
from keeper.queries.live.news import News
from keeper.queries.live.paging import after_place, page_of, position_cursor
from keeper.queries.live.readiness import readiness
from keeper.queries.live.system import pulse_json, status_json, system_json
from keeper.queries.report import account_of
from keeper.web.problems import Problem, bad

if TYPE_CHECKING:
    from keeper.upkeep.names import Names
    from keeper.wire import House

Json = dict[str, Any]

_LONGEST_LABEL = 64


class Desk:
    """clock: unix seconds."""

    def __init__(self, house: House, history: History, clock: Callable[[], float] = time.time) -> None:
        self._house = house
        self._history = history
        self._clock = clock
        self._broken = False
        self._news = News()
        self._store: Store | None = None
        self._live: Live | None = None
        self._pulse: Pulse | None = None
        self._version = "nothing"
        self._records: dict[str, tuple[str, list[Json]]] = {}
        self._names: Names | None = None
        self._reading = False
        self._file: int | None = None

    # --- its life

    def open(self) -> None:
        self._open_store()
        self._history.open()

    def _open_store(self) -> None:
        """Or another one in its place: what cannot be opened leaves what there was."""
        file, before = self._identity(), self._store
        self._store = self._house.open_store(read_only=True)
        self._file = file
        if before is not None:
            before.close()
        self._live = Live(self._store, self._house.adapters(), self._house.rule())
        self._names = self._house.telling.names(self._store)
        self._news, self._records = News(), {}

    def _identity(self) -> int | None:
        """Of the database's file, in whose place a repair puts another; None where it is no file, or away."""
        try:
            return self._house.files.database.stat().st_ino
        except OSError:
            return None

    def close(self) -> None:
        self._history.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> Store:
        assert self._store is not None, "the desk is closed"
        return self._store

    @property
    def live(self) -> Live:
        assert self._live is not None, "the desk is closed"
        return self._live

    def look(self) -> Sequence[tuple[str, Any]]:
        now = self._clock()
        if self._broken or self._identity() != self._file:
            self._open_store()
            self._broken = False
        try:
            with self._one_moment():
                self.live.sync()
                board, tip = self.live.board, self.live.tip
                self._pulse = read_pulse(self._house.files.pulse)
                self._version = f"{'none' if tip is None else tip.hash.hex()}-{_digest(self.store)}"
                events = self._news.of(self.store, board, self._pulse, now)
                if board is not None and self._history.is_due(board.block.timestamp):
                    self._keep(board)
        except StoreError:
            self._broken = True  # a server that was started again answers a new connection only
            raise
        return events

    def version(self) -> str:
        return self._version

    def hello(self) -> Json:
        tip = self.live.tip
        return {
            "block": None if tip is None else rows.block_json(tip),
            "pulse": pulse_json(self._pulse, self._clock()),
            "version": self._version,
        }

    def protocols(self) -> Sequence[str]:
        return [book.adapter.name for book in self.live.books]

    # --- positions

    def positions(
        self,
        *,
        sort: str = "health",
        limit: int = 100,
        protocol: str | None = None,
        account: str | None = None,
        band: str | None = None,
        cursor: str | None = None,
    ) -> Json:
        if protocol is not None:
            self._check_protocol(protocol)
        if account is not None:
            account = _account(account)
        board = self.live.board
        if board is None:
            return {"items": [], "next": None, "total": 0, "block": None}
        filters = {"protocol": protocol, "account": account, "band": band}
        order = board.select(sort, **filters)
        start = 0 if cursor is None else after_place(board, order, sort, filters, cursor)
        chosen = order[start : start + limit]
        more = start + limit < len(order)
        return {
            "items": [self._row(board, int(place)) for place in chosen],
            "next": position_cursor(board, int(chosen[-1]), sort, filters) if more else None,
            "total": len(order),
            "block": rows.block_json(board.block),
        }

    def position(self, position_id: str) -> Json | None:
        board = self.live.board
        place = None if board is None else board.place(position_id)
        if board is None or place is None:
            return self._closed(position_id)
        book, key = self._at(board, place)
        row = self._row(board, place)
        calls = rows.of_position(self._calls(), row["position"])
        return {
            **row,
            **rows.remedies(book, key, board.block),
            "open": True,
            "currency": book.adapter.currency(book.book.market),
            "episodes": calls,
            "liquidations": rows.of_position(self._liquidations(), row["position"]),
        }

    def _closed(self, position_id: str) -> Json | None:
        """What is recorded of a position that is no more; None when nothing is."""
        wanted = position_id.lower()
        calls = [row for row in self._calls() if row["position"].lower() == wanted]
        liquidated = [row for row in self._liquidations() if row["position"].lower() == wanted]
        if not calls and not liquidated:
            return None
        known = (calls or liquidated)[0]
        return {
            "position": known["position"],
            "account": known["account"],
            "protocol": known["protocol"],
            "label": self._label(known["account"]),
            "open": False,
            "episodes": calls,
            "liquidations": liquidated,
        }

    def history(self, position_id: str) -> Json | None:
        board = self.live.board
        place = None if board is None else board.place(position_id)
        name = position_id if board is None or place is None else board.ids[place]
        calls = [row for row in self._calls() if row["position"].lower() == name.lower()]
        if place is None and not calls:
            return None
        name = name if place is not None else calls[0]["position"]
        points = {point["block_number"]: point for point in self._history.of(name)}
        for step in (step for call in calls for step in call["steps"]):
            points[step["block_number"]] = {
                "block_number": step["block_number"],
                "timestamp": step["timestamp"],
                "health_wad": step["health_wad"],
            }
        lines = None
        if board is not None and place is not None:
            book, key = self._at(board, place)
            now = board.block.timestamp
            lines, health = rows.lines_json(book.rules(key, now)), book.health(key, now)
            factor = None if health is None or health.factor_wad is None else str(health.factor_wad)
            points[board.block.number] = {
                "block_number": board.block.number,
                "timestamp": now,
                "health_wad": factor,
            }
        return {"position": name, "points": [points[number] for number in sorted(points)], "lines": lines}

    def table(self) -> Json:
        board = self.live.board
        if board is None:
            return {"block": None, "protocols": [], "bands": list(BANDS), "rows": 0, "exact": False}
        order = board.order("health")
        return {
            "block": rows.block_json(board.block),
            "protocols": list(board.protocols),
            "currency": rows.currencies(self.live.books),
            "bands": list(BANDS),
            "rows": len(order),
            "exact": False,
            "id": [board.ids[place] for place in order],
            "protocol": board.protocol[order].tolist(),
            "band": board.band[order].tolist(),
            "health": _numbers(board.health[order], 6),
            "collateral_value": _numbers(board.collateral[order], 2),
            "debt_value": _numbers(board.debt[order], 2),
            "watch": _line(board.watch[order]),
            "call": _line(board.call[order]),
            "urgent": _line(board.urgent[order]),
            "label": self._labels(board, order),
        }

    def ladder(self) -> Json:
        board = self.live.board
        if board is None:
            return {"block": None, "assets": []}
        return {"block": rows.block_json(board.block), "assets": ladder(self.live.books, board.block)}

    # --- records

    def calls(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json:
        return self._page("calls", self._calls(), limit, cursor, status, account, "id")

    def liquidations(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json:
        return self._page("liquidations", self._liquidations(), limit, cursor, status, account, "id")

    def transactions(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json:
        found = self._kept("transactions", rows.transaction_rows)
        return self._page("transactions", found, limit, cursor, status, account, "tx_hash")

    def _page(
        self,
        what: str,
        found: list[Json],
        limit: int,
        cursor: str | None,
        status: str | None,
        account: str | None,
        name: str,
    ) -> Json:
        if account is not None:
            account = _account(account)
            found = [row for row in found if row["account"] == account]
        if status is not None:
            found = [row for row in found if row["status"] == status]
        items, following = page_of(found, limit, cursor, {"of": what, "status": status, "account": account}, name)
        tip = self.live.tip
        return {
            "items": items,
            "next": following,
            "total": len(found),
            "block": None if tip is None else rows.block_json(tip),
        }

    def _calls(self) -> list[Json]:
        def read(store: Store) -> list[Json]:
            return rows.call_rows(store, views.tokens_of(store, [book.adapter for book in self.live.books]))

        return self._kept("calls", read)

    def _liquidations(self) -> list[Json]:
        return self._kept("liquidations", rows.liquidation_rows)

    def _kept(self, what: str, read: Callable[[Store], list[Json]]) -> list[Json]:
        """Records as of the last look, read once."""
        kept = self._records.get(what)
        if kept is None or kept[0] != self._version:
            with self._one_moment():
                kept = self._records[what] = self._version, read(self.store)
        return kept[1]

    # --- the machine

    def status(self) -> Json:
        now, board = self._clock(), self.live.board
        with self._one_moment():
            return status_json(self.store, board, self._pulse, self._house.config.chain.id, self._calls(), now)

    def system(self) -> Json:
        return system_json(self._pulse, self.live.tip, self._clock())

    def figures(self) -> Mapping[str, Any]:
        with self._one_moment():
            return figures(self.store, self.live, self._pulse, self._calls(), self._clock())

    def readiness(self) -> Mapping[str, Any]:
        return readiness(self._house, self._pulse, self.live.tip, self._clock())

    # --- what people do

    def acknowledge(self, call: str, by: str) -> Json:
        try:
            with self._one_moment():
                episode = deliveries.episode_of(self._house, self.store, call)
            request = self._house.telling.requests().leave(ACKNOWLEDGE, self._clock(), episode=episode, by=by)
        except ConfigError as error:
            status = 403 if is_token(call) else 404
            raise Problem(status, str(error), remedy="see /api/v1/calls for the ids of calls") from None
        return {"acknowledged": episode, "by": by, "request": request}

    def invited(self, token: str) -> Json:
        if not is_token(token):
            raise Problem(404, "this is no acknowledgement link", remedy="copy the whole link from the notice")
        try:
            with self._one_moment():
                episode = deliveries.episode_of(self._house, self.store, token)
                told = self.store.deliveries(episode)
        except ConfigError as error:
            raise Problem(403, str(error), remedy="use the link of a newer notice, or `keeper ack`") from None
        return {"episode": episode, "title": told[-1].notice.title if told else episode}

    # --- inside

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """Reads inside see one state of the store; may be nested."""
        if self._reading:
            yield
            return
        self._reading = True
        try:
            with self.store.snapshot():
                yield
        finally:
            self._reading = False

    def _row(self, board: Board, place: int) -> Json:
        book, key = self._at(board, place)
        return rows.position_row(book, key, board.block, self._label(board.ids[place].split(":", 2)[1]))

    def _at(self, board: Board, place: int) -> tuple[Any, bytes]:
        return self.live.book(board.protocols[board.protocol[place]]), board.keys[place]

    def _label(self, account: str) -> str | None:
        assert self._names is not None, "the desk is closed"
        name = self._names.of(bytes.fromhex(account[2:]))
        return (one_line(name).strip()[:_LONGEST_LABEL] or None) if name else None

    def _labels(self, board: Board, order: Any) -> dict[str, str]:
        """By place in this order; only who is called something. Names are looked up of those in a band alone."""
        labelled = {checksummed(account) for account in self._house.config.names.labels}
        found = {}
        for at, place in enumerate(order):
            account = board.ids[place].split(":", 2)[1]
            if (account in labelled or board.band[place] not in (0, len(BANDS) - 1)) and (
                label := self._label(account)
            ):
                found[str(at)] = label
        return found

    def _check_protocol(self, protocol: str) -> None:
        known = self.protocols()
        if protocol not in known:
            raise bad("protocol", protocol, known, "give the name of a configured protocol")

    def _keep(self, board: Board) -> None:
        """A sample of the nearest positions, and of those with an open call."""
        nearest = [int(place) for place in board.order("health")[: self._history.positions]]
        called = {
            place
            for _, _, payload, _ in self.store.episodes()
            if (episode := load_episode(payload)).is_open and (place := board.place(episode.position)) is not None
        }
        now, healths = board.block.timestamp, []
        for place in dict.fromkeys((*nearest, *sorted(called))):
            book, key = self._at(board, place)
            health = book.health(key, now)
            healths.append((board.ids[place], None if health is None else health.factor_wad))
        self._history.keep(now, board.block.number, healths)


def _account(text: str) -> str:
    """Checksummed. Raises Problem for what is no account."""
    try:
        return checksummed(account_of(text))
    except ConfigError:
        limit = "0x and 40 hex digits; in mixed case with a right checksum (EIP-55)"
        raise bad("account", text, limit, "copy the address again, or write it in lower case") from None


def _digest(store: Store) -> str:
    """Of everything in the store that is no chain fact and can change what is shown."""
    open_intents = [
        (one.id, one.status.value, one.updated_at, [(a.tx_hash.hex(), a.status, a.error) for a in one.attempts])
        for one in store.intents(unsettled=True)
    ]
    said = msgspec.json.encode([list(store.record_mark()), open_intents])
    return hashlib.sha256(said).hexdigest()[:12]


def _numbers(values: Any, digits: int) -> list[float | None]:
    """Plain numbers; None for what is not finite."""
    rounded = np.round(values, digits)
    finite = np.isfinite(rounded)
    return [number if known else None for number, known in zip(rounded.tolist(), finite.tolist(), strict=True)]


def _line(values: Any) -> Any:
    """One number where a line is the same for all."""
    numbers = _numbers(values, 4)
    return numbers[0] if numbers and all(one == numbers[0] for one in numbers) else numbers

"""What happened between two looks at the store, as events for those who listen: made once, whoever listens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from keeper.core.ports import Store
from keeper.core.records import AuditEntry
from keeper.evaluator.episode_json import load_episode
from keeper.protocols.addresses import checksummed
from keeper.pulse import Pulse
from keeper.queries.live.board import BANDS, Board
from keeper.queries.live.rows import block_json
from keeper.queries.live.system import pulse_json

Json = dict[str, Any]
Event = tuple[str, Any]
"""Its name and its data."""

MOST_BANDS = 500
"""Changes of band told of in one block, the deepest first; a crash moves more, and then lists are to be read anew."""

_AUDIT_AT_ONCE = 1_000
_TOLD = ("heads", "mode", "breakers", "executor", "balances")


class News:
    """Holds what was told last; `of` tells what is new against it."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._bands: dict[str, int] = {}
        self._mark: int | None = None
        self._episodes: dict[tuple[str, bytes], bytes] = {}
        self._pulse: tuple[float | None, str] | None = None

    def of(self, store: Store, board: Board | None, pulse: Pulse | None, now: float) -> list[Event]:
        """The first look tells nothing of the past but the pulse."""
        events = [*self._of_pulse(pulse, now)]
        if board is not None:
            events += self._of_board(store, board)
        events += self._of_records(store)
        return events

    # --- inside

    def _of_pulse(self, pulse: Pulse | None, now: float) -> Iterator[Event]:
        said = pulse_json(pulse, now)
        if self._pulse == (said["at"], said["state"]):
            return
        self._pulse = said["at"], said["state"]
        sections = {} if pulse is None else pulse.sections
        yield "pulse", {**said, **{name: sections.get(name) for name in _TOLD}}

    def _of_board(self, store: Store, board: Board) -> Iterator[Event]:
        before = self._board
        if before is not None and before.block.hash == board.block.hash:
            return
        self._board = board
        fresh = dict(zip(board.ids, board.band.tolist(), strict=True))
        known, self._bands = self._bands, fresh
        if before is None:
            self._episodes = {(name, key): payload for name, key, payload, _ in store.episodes()}
            return
        moved = [name for name, band in fresh.items() if known.get(name, 0) != band]
        yield (
            "block",
            {
                **block_json(board.block),
                "reverted_to": board.block.number if board.block.number <= before.block.number else None,
                "bands_changed": len(moved),
                "positions": len(board),
            },
        )
        if moved:
            yield "bands", self._changes(board, known, moved)
        for name, key, payload, _number in store.episodes():
            if self._episodes.get((name, key)) != payload:
                self._episodes[name, key] = payload
                yield "call", _call(payload)

    @staticmethod
    def _changes(board: Board, known: dict[str, int], moved: list[str]) -> list[Json]:
        places = [place for name in moved if (place := board.place(name)) is not None]
        places.sort(key=lambda place: (-int(board.band[place]), board.ids[place]))
        return [
            {
                "position": board.ids[place],
                "account": board.ids[place].split(":", 2)[1],
                "protocol": board.protocols[board.protocol[place]],
                "from": BANDS[known.get(board.ids[place], 0)],
                "to": board.band_of(place),
                "health": None if np.isnan(board.health[place]) else round(float(board.health[place]), 6),
            }
            for place in places[:MOST_BANDS]
        ]

    def _of_records(self, store: Store) -> Iterator[Event]:
        if self._mark is None:
            self._mark = store.record_mark()[0]
            return
        for seq, entry in store.audit_after(self._mark, _AUDIT_AT_ONCE):
            self._mark = seq
            yield _record(entry)


def _call(payload: bytes) -> Json:
    episode = load_episode(payload)
    return {
        "id": episode.id,
        "position": episode.position,
        "account": checksummed(episode.account),
        "protocol": episode.protocol,
        "status": episode.status.value,
        "band": episode.band.label,
        "event": episode.last.event,
        "health_wad": None if episode.last.health_wad is None else str(episode.last.health_wad),
        "block_number": episode.last.block.number,
    }


def _record(entry: AuditEntry) -> Event:
    """An entry of the audit trail by what it is of: a notice on a channel, a transaction, or what people did."""
    said: Json = {"at": entry.at, "before": entry.before, "event": entry.event}
    evidence = entry.evidence
    if "channel" in evidence:
        return "notice", {"notice": entry.subject, **said, "channel": evidence["channel"]}
    if "judged_number" in evidence:
        shown = {name: evidence.get(name) for name in ("position", "tx_hash", "included_number", "reason")}
        return "transaction", {"intent": entry.subject, **said, "status": entry.event, **shown}
    return "record", {"subject": entry.subject, **said}

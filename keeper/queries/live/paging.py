"""Pages of lists that change: a cursor names the last row, and what it was sorted by should that row be gone, so that
nothing is told twice or left out whose neighbours stayed. Opaque to clients; one of another list is refused."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from keeper.queries.live.board import Board
from keeper.web.problems import Problem

Json = dict[str, Any]

_REMEDY = "begin again without a cursor, or repeat the request whose answer named it with its `next` alone changed"


def position_cursor(board: Board, place: int, sort: str, filters: Mapping[str, Any]) -> str:
    return _encode({"sort": sort, **filters, "value": _value(board, place, sort), "id": board.ids[place]})


def after_place(board: Board, order: Any, sort: str, filters: Mapping[str, Any], cursor: str) -> int:
    """How many of these places come before, or are, the row that the cursor names. Raises Problem."""
    said = _decode(cursor)
    last, value = said.pop("id", None), said.pop("value", None)
    if (
        said != {"sort": sort, **filters}
        or not isinstance(last, str)
        or not isinstance(value, (float, int, type(None)))
    ):
        raise _no_page(cursor)
    still = np.flatnonzero(order == board.place(last))
    if len(still):  # interest moves every health in every block, and most of them alike
        return int(still[0]) + 1
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name == "account":
        keys = [(board.ids[place].split(":", 2)[1], board.ids[place]) for place in order]
        if last.count(":") < 1:
            raise _no_page(cursor)
        mark = (last.split(":", 2)[1], last)
        return sum((key >= mark) if down else (key <= mark) for key in keys)
    values = (board.health if name == "health" else board.collateral)[order]
    unknown = np.isnan(values)
    if value is None:
        earlier, equal = ~unknown, unknown
    else:
        with np.errstate(invalid="ignore"):
            earlier = (values > value) if down else (values < value)
            equal = values == value
    passed = sum(1 for at in np.flatnonzero(equal) if board.ids[order[at]] <= last)
    return int(np.count_nonzero(earlier)) + passed


def _value(board: Board, place: int, sort: str) -> float | None:
    name = sort.removeprefix("-")
    if name == "account":
        return None
    value = float((board.health if name == "health" else board.collateral)[place])
    return None if np.isnan(value) else value


def page_of(
    found: Sequence[Json], limit: int, cursor: str | None, filters: Mapping[str, Any], name: str
) -> tuple[list[Json], str | None]:
    """Rows of a list that grows at its beginning, behind the one that the cursor names. name: of their key.

    Raises Problem when that row is no more.
    """
    start = 0
    if cursor is not None:
        said = _decode(cursor)
        last = said.pop("last", None)
        if said != dict(filters):
            raise _no_page(cursor)
        places = [at for at, row in enumerate(found) if row[name] == last]
        if not places:
            raise _no_page(cursor)
        start = places[0] + 1
    items = list(found[start : start + limit])
    more = start + limit < len(found)
    return items, _encode({**filters, "last": items[-1][name]}) if more and items else None


def _encode(said: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(said)).decode().rstrip("=")


def _decode(cursor: str) -> dict[str, Any]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        said = msgspec.json.decode(text)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _no_page(cursor)
    return said


def _no_page(cursor: str) -> Problem:
    """A cursor is opaque: one that we did not make, of another list, or whose row is no more, names no page."""
    limit = "a `next` of this list, with these filters, whose last row is still there"
    return Problem(404, "this cursor names no page", value=cursor, limit=limit, remedy=_REMEDY)

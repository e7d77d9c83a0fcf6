"""The parameters of a request, checked: unknown, repeated or impossible ones are refused by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from keeper.core.types import Band
from keeper.web.problems import Problem, bad

SORTS = ("health", "-health", "value", "-value", "account", "-account")
BANDS = (*(band.label for band in Band), "unknown")
MOST = 1_000
LONGEST_CURSOR = 1_024
POSITION = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}:0x[0-9a-fA-F]{40}(?::[A-Za-z0-9_.-]{1,80})?")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_CURSOR = re.compile(r"[A-Za-z0-9_-]+")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

Check = Callable[[str], Any]


def limit(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not 1 <= number <= MOST:
        raise bad("limit", text, f"1 to {MOST}", "ask for less at once, and follow `next`")
    return number


def one_of(name: str, known: tuple[str, ...]) -> Check:
    def check(text: str) -> str:
        if text not in known:
            raise bad(name, text, list(known), "give one of these")
        return text

    return check


def shaped(name: str, shape: re.Pattern[str], what: str, remedy: str) -> Check:
    def check(text: str) -> str:
        if shape.fullmatch(text) is None:
            raise bad(name, text, what, remedy)
        return text

    return check


def cursor(text: str) -> str:
    if len(text) > LONGEST_CURSOR or _CURSOR.fullmatch(text) is None:
        raise bad("cursor", text, "the `next` of an earlier answer", "begin again without a cursor")
    return text


account = shaped("account", _ADDRESS, "0x and 40 hex digits", "copy the whole address")
protocol = shaped("protocol", _NAME, "the name of a configured protocol", "see /api/v1/status for them")

POSITIONS: Mapping[str, Check] = {
    "sort": one_of("sort", SORTS),
    "limit": limit,
    "protocol": protocol,
    "account": account,
    "band": one_of("band", BANDS),
    "cursor": cursor,
}
CALL_STATUSES = ("open", "cured", "liquidated", "repaid", "withdrawn")
INTENT_STATUSES = ("planned", "broadcast", "included", "confirmed", "failed", "abandoned", "reorged")
ATTEMPT_STATUSES = ("signed", "broadcast", "refused", "replaced", "included", "reverted", "lost")


def records(statuses: tuple[str, ...]) -> Mapping[str, Check]:
    return {"limit": limit, "cursor": cursor, "status": one_of("status", statuses), "account": account}


def asked(request: Request, known: Mapping[str, Check]) -> dict[str, Any]:
    """The query of a request, each parameter once and checked. Raises Problem."""
    found: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else "leave it out"
            raise Problem(400, "there is no such parameter", value=name, limit=sorted(known) or "none", remedy=remedy)
        if name in found:
            raise Problem(400, f"{name} is given twice", value=text, limit="once", remedy="leave one out")
        found[name] = known[name](text)
    return found


def position_id(text: str) -> str:
    """Raises Problem for what cannot be one."""
    if POSITION.fullmatch(text) is None:
        raise bad("position", text, "protocol:account, or protocol:account:market", "copy it from /api/v1/positions")
    return text

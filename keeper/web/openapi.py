"""The description of the API (OpenAPI 3.1). Its objects are closed: a field that is not described here is a defect, and
the tests find it by holding every answer against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keeper import __version__
from keeper.web import asked
from keeper.web.schemas import SCHEMAS, ref

Json = dict[str, Any]

V1 = "/api/v1"


def description(*, token: bool, protocols: Sequence[str]) -> Json:
    """token: whether this server asks for one. protocols: that are configured."""
    found: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Keeper",
            "version": __version__,
            "description": "Positions, margin calls, liquidations and transactions of one deployment, as the commands "
            "print them with `--json`. Integers that can exceed 2^53 are decimal strings; `_wad` is scaled by 1e18. "
            "Every answer is of one block, which its ETag begins with: ask again with If-None-Match.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "positions"}, {"name": "records"}, {"name": "machine"}],
        "paths": _paths(protocols),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`token` in [web]"},
                "session": {"type": "apiKey", "in": "cookie", "name": "keeper_session"},
            },
        },
    }
    if token:
        found["security"] = [{"token": []}, {"session": []}]
    return found


def _paths(protocols: Sequence[str]) -> Json:
    position = _in_path("id", "A position, as its `position` field names it", asked.POSITION.pattern)
    position["schema"]["examples"] = ["aave:0x70997970C51812dc3A010C7d01b50e0d17dc79C8"]
    calls = _records("calls", "Margin calls, the newest first", "CallPage", asked.CALL_STATUSES)
    made = _records("liquidations", "Our liquidations, the newest first", "LiquidationPage", asked.INTENT_STATUSES)
    sent = _records("transactions", "What we signed, the newest first", "TransactionPage", asked.ATTEMPT_STATUSES)
    return {
        f"{V1}/status": _get("status", "machine", "One screen: is it alive, where is it, what wants a hand", "Status"),
        f"{V1}/positions": _get(
            "positions",
            "positions",
            "Open positions, a page at a time, each judged exactly",
            "PositionPage",
            _query("sort", {"type": "string", "enum": list(asked.SORTS), "default": "health"}, "What comes first"),
            _query("protocol", {"type": "string", "enum": list(protocols)}, "Only of this protocol"),
            _ACCOUNT,
            _query("band", {"type": "string", "enum": list(asked.BANDS)}, "Only in this band"),
            _LIMIT,
            _CURSOR,
            errors=(400, 404),
        ),
        f"{V1}/positions/table": _get(
            "table", "positions", "Every open position at once, by columns, for lists; estimated, for display", "Table"
        ),
        f"{V1}/positions/{{id}}": _get(
            "position",
            "positions",
            "One position: what it holds and owes, what would cure it, its calls and liquidations",
            "Position",
            position,
            errors=(400, 404),
        ),
        f"{V1}/positions/{{id}}/history": _get(
            "history", "positions", "Its health as it was", "History", position, errors=(400, 404)
        ),
        f"{V1}/ladder": _get(
            "ladder", "positions", "What each step of falling prices would open to liquidation, by asset", "Ladder"
        ),
        f"{V1}/calls": calls,
        f"{V1}/calls/{{id}}/acknowledge": _acknowledge(),
        f"{V1}/liquidations": made,
        f"{V1}/transactions": sent,
        f"{V1}/system": _get("system", "machine", "How the daemon fares, by its pulse", "System"),
        f"{V1}/session": _get("session", "machine", "Whether you may change anything", "Session"),
        f"{V1}/events": {
            "get": {
                "operationId": "events",
                "tags": ["machine"],
                "summary": "Live events: hello, block, bands, call, notice, transaction, record, pulse, reset, dropped",
                "parameters": [
                    {
                        "name": "Last-Event-ID",
                        "in": "header",
                        "description": "The last event that was seen; what came since is sent first",
                        "schema": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9]{1,15}$"},
                    }
                ],
                "responses": {
                    "200": {"description": "For ever", "content": {"text/event-stream": {"schema": {}}}},
                    **_problems(401, 503),
                },
            }
        },
        "/metrics": _text("metrics", "Numbers for Prometheus", "text/plain"),
        "/healthz": {
            "get": {**_get("healthz", "machine", "Whether this server lives", "Alive")["get"], "security": []}
        },
        "/readyz": _ready(),
    }


# --- parts ------------------------------------------------------------------------------------------------------------


def _query(name: str, schema: Json, meaning: str) -> Json:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _in_path(name: str, meaning: str, pattern: str) -> Json:
    schema: Json = {"type": "string", "pattern": f"^{pattern}$"}
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


_ACCOUNT = _query(
    "account",
    {"type": "string", "pattern": "^0x[0-9a-f]{40}$", "examples": ["0x70997970c51812dc3a010c7d01b50e0d17dc79c8"]},
    "Only of this account; mixed case is taken as well, with a right checksum (EIP-55)",
)
_LIMIT = _query("limit", {"type": "integer", "minimum": 1, "maximum": asked.MOST, "default": 100}, "So many at once")
_CURSOR = _query(
    "cursor",
    {"type": "string", "minLength": 1, "maxLength": asked.LONGEST_CURSOR, "pattern": "^[A-Za-z0-9_-]+$"},
    "The `next` of the page before, of the same list with the same filters",
)


def _get(name: str, tag: str, meaning: str, schema: str, *parameters: Json, errors: tuple[int, ...] = (400,)) -> Json:
    answer = {
        "description": meaning,
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": ref(schema)}},
    }
    responses = {"200": answer, "304": {"description": "You have it already"}, **_problems(*errors, 401, 503)}
    operation: Json = {"operationId": name, "tags": [tag], "summary": meaning, "responses": responses}
    if parameters:
        operation["parameters"] = list(parameters)
    return {"get": operation}


def _records(name: str, meaning: str, schema: str, statuses: tuple[str, ...]) -> Json:
    status = _query("status", {"type": "string", "enum": list(statuses)}, "Only these")
    return _get(name, "records", meaning, schema, status, _ACCOUNT, _LIMIT, _CURSOR, errors=(400, 404))


def _acknowledge() -> Json:
    said = {"description": "Asked of the daemon", "content": {"application/json": {"schema": ref("Acknowledged")}}}
    return {
        "post": {
            "operationId": "acknowledge",
            "tags": ["records"],
            "summary": "Acknowledge a call, so that it is not escalated; needs a token",
            "parameters": [
                _in_path("id", "A call's `id`, or a notice's", "[!-.0-~]{1,80}"),
                {
                    "name": "X-CSRF-Token",
                    "in": "header",
                    "description": "From a session alone: `csrf` of /api/v1/session",
                    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                },
            ],
            "responses": {"202": said, **_problems(400, 401, 403, 404, 413, 503)},
        }
    }


def _ready() -> Json:
    said = {"application/json": {"schema": ref("Readiness")}}
    return {
        "get": {
            "operationId": "readyz",
            "security": [],
            "tags": ["machine"],
            "summary": "Whether it follows the head, can write its store, and is answered by most endpoints",
            "responses": {
                "200": {"description": "It does", "content": said},
                "503": {
                    "description": "It does not, and why",
                    "content": {**said, "application/problem+json": {"schema": ref("Problem")}},
                },
                **_problems(401),
            },
        }
    }


def _text(name: str, meaning: str, media_type: str) -> Json:
    answer = {"description": meaning, "content": {media_type: {"schema": {"type": "string"}}}}
    responses = {"200": answer, **_problems(400, 401, 503)}
    return {"get": {"operationId": name, "tags": ["machine"], "summary": meaning, "responses": responses}}


def _problems(*statuses: int) -> Json:
    said = {"application/problem+json": {"schema": ref("Problem")}}
    return {
        str(status): {"description": meaning, "content": said}
        for status, meaning in _MEANINGS.items()
        if status in (*statuses, 421)
    }


_MEANINGS = {
    400: "A parameter cannot be",
    401: "A token is needed",
    403: "Not allowed",
    404: "Nobody knows of it",
    413: "The body is too large",
    421: "This server is not known by that name",
    503: "Not now",
}

"""The JSON routes: read-only but for one, which has the daemon acknowledge a call."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keeper.web import asked
from keeper.web.gate import Keys, Who
from keeper.web.openapi import description
from keeper.web.problems import Problem
from keeper.web.reading import Answer, Reading

V1 = "/api/v1"


def api_routes(reading: Reading, keys: Keys) -> list[Route]:
    async def plain(request: Request, what: str, known: Any = None) -> Response:
        return respond(request, await reading.answer(what, **asked.asked(request, known or {})))

    async def status(request: Request) -> Response:
        return await plain(request, "status")

    async def positions(request: Request) -> Response:
        return await plain(request, "positions", asked.POSITIONS)

    async def table(request: Request) -> Response:
        return await plain(request, "table")

    async def position(request: Request) -> Response:
        asked.asked(request, {})
        return respond(request, await reading.answer("position", position_id=_position(request)))

    async def history(request: Request) -> Response:
        asked.asked(request, {})
        return respond(request, await reading.answer("history", position_id=_position(request)))

    async def ladder(request: Request) -> Response:
        return await plain(request, "ladder")

    async def calls(request: Request) -> Response:
        return await plain(request, "calls", asked.records(asked.CALL_STATUSES))

    async def liquidations(request: Request) -> Response:
        return await plain(request, "liquidations", asked.records(asked.INTENT_STATUSES))

    async def transactions(request: Request) -> Response:
        return await plain(request, "transactions", asked.records(asked.ATTEMPT_STATUSES))

    async def system(request: Request) -> Response:
        return await plain(request, "system")

    async def session(request: Request) -> Response:
        asked.asked(request, {})
        who: Who = request.state.who
        said = {
            "authenticated": who.by is not None,
            "by": who.by,
            "token_required": keys.needed,
            "may_acknowledge": keys.needed and who.by is not None,
            "csrf": None if who.session is None else keys.csrf(who.session),
        }
        return encoded(said)

    async def acknowledge(request: Request) -> Response:
        asked.asked(request, {})
        who = allowed(request, keys)
        call = request.path_params["id"]
        if not (call.isascii() and 1 <= len(call) <= 80 and call.isprintable()):
            raise Problem(404, "there is no such call", value=call, remedy="see /api/v1/calls for the ids of calls")
        return encoded(await reading.acknowledge(call, f"the web ({who.by})"), 202)

    async def openapi(request: Request) -> Response:
        return encoded(description(token=keys.needed, protocols=await reading.protocols()))

    def get(path: str, endpoint: Any) -> Route:
        return Route(path, endpoint, methods=["GET"])

    return [
        get(f"{V1}/status", status),
        get(f"{V1}/positions", positions),
        get(f"{V1}/positions/table", table),
        get(f"{V1}/positions/{{id}}", position),
        get(f"{V1}/positions/{{id}}/history", history),
        get(f"{V1}/ladder", ladder),
        get(f"{V1}/calls", calls),
        get(f"{V1}/liquidations", liquidations),
        get(f"{V1}/transactions", transactions),
        get(f"{V1}/system", system),
        get(f"{V1}/session", session),
        Route(f"{V1}/calls/{{id}}/acknowledge", acknowledge, methods=["POST"]),
        get(f"{V1}/openapi.json", openapi),
        get("/openapi.json", openapi),
    ]


def _position(request: Request) -> str:
    return asked.position_id(request.path_params["id"])


def allowed(request: Request, keys: Keys, csrf: str | None = None) -> Who:
    """Who may change something: whoever proved the token; from a session also that it is no forgery. Raises Problem."""
    who: Who = request.state.who
    if not keys.needed or who.by is None:
        remedy = 'set token = "env:KEEPER_WEB_TOKEN" in [web]; `keeper ack` works without'
        raise Problem(403, "nothing can be changed here without a token", remedy=remedy)
    given = request.headers.get("x-csrf-token", "") if csrf is None else csrf
    if who.session is not None and not keys.is_csrf(who.session, given):
        remedy = f"send X-CSRF-Token with what {V1}/session says"
        raise Problem(403, "the anti-forgery token is missing or wrong", remedy=remedy)
    return who


def encoded(said: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(said), status, media_type="application/json")


def respond(request: Request, answer: Answer | None) -> Response:
    """An answer as the client can take it; nothing where it has it already. Raises Problem for what does not exist."""
    if answer is None:
        raise Problem(404, "nobody knows of it", value=request.path_params.get("id"), remedy=f"see {V1}/positions")
    headers = {"ETag": answer.etag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Cookie"}
    if _has(request.headers.get("if-none-match", ""), answer.etag):
        return Response(status_code=304, headers=headers)
    body = answer.body
    if answer.packed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
        body, headers["Content-Encoding"] = answer.packed, "gzip"
    return Response(body, media_type="application/json", headers=headers)


def _has(header: str, etag: str) -> bool:
    given = [one.strip().removeprefix("W/") for one in header.split(",")]
    return etag in given or "*" in given


def _takes_gzip(header: str) -> bool:
    for part in header.split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

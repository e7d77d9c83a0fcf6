"""Requests to the web server, as its ASGI application takes them: any path, query, headers and body.

Every one is answered; none by a 5xx, which would be a defect of ours; none by anything with a token where none was
given. Cursors go through the same code as on the real lists.
"""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from keeper.core.secret import Secret
from keeper.queries.live.paging import page_of
from keeper.web.app import Settings, create_app
from keeper.web.reading import Source
from tests.fuzz.source import Source as Bytes

ALLOWED: tuple[type[BaseException], ...] = ()
TOKEN = "a-token-of-the-operator"
ROWS = [{"id": f"row-{number}"} for number in range(5)]
_PATHS = (
    "/", "/api/v1/status", "/api/v1/positions", "/api/v1/positions/aave:0x" + "11" * 20, "/api/v1/positions/table",
    "/api/v1/calls", "/api/v1/liquidations", "/api/v1/transactions", "/api/v1/ladder", "/api/v1/system", "/metrics",
    "/openapi.json", "/healthz", "/readyz", "/login", "/ack/k1.x.1.y", "/assets/app.js", "/assets/../../etc/passwd",
)  # fmt: skip
_MADE_OF_DATA = ("/", "/metrics")
"""Whoever may see these gets what the stub cannot give; tests/integration/test_web.py has the real ones."""

_SECRET_PLACES = ("/api/", "/metrics", "/openapi.json")
_HEADERS = (
    "host", "authorization", "cookie", "origin", "sec-fetch-site", "content-length", "if-none-match", "accept",
    "accept-encoding", "last-event-id", "x-csrf-token", "content-type",
)  # fmt: skip
_TEXTS = (
    *(b"127.0.0.1", b"[::1", b"[::1]:80", b"evil.example", b"\xb2", b"9" * 5000, b"-1", b"http://[", b"null", b"*"),
    *(b"Bearer " + TOKEN.encode(), b"Bearer x", b"keeper_session=1.2", b"keeper_session=99999999999.ab", b"\xff\xfe"),
    *(b"cross-site", b'W/"x"', b"gzip;q=", b"gzip;q=0.0x", b"text/html"),
)
_QUERIES = (
    *(b"", b"limit=5", b"limit=\xc2\xb2", b"sort=health&sort=value", b"cursor=eyJsYXN0Ijoicm93LTEifQ", b"cursor=W1tb"),
    *(b"band=call", b"status=open", b"account=0x11", b"cursor=" + b"W1tb" * 250),
)
SEEDS = [
    *(bytes([place, 0]) for place in range(len(_PATHS))),
    bytes([5, 1, 0, 5, 200, 4, 0, 2, 0, 0, 1, 7]),
    b"\x0e\x02abc",
    b"\x05" + b"\x01" * 30,
    bytes([1, 14, 4, 1, 0, 1, 0]) + b"a=1&" * 20,
]


class Stub:
    """A source whose rows are known; lists are paged as the real ones."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def look(self) -> Sequence[tuple[str, Any]]:
        return ()

    def version(self) -> str:
        return "0xabc"

    def _page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Any:
        items, following = page_of(ROWS, limit, cursor, {k: v for k, v in filters.items() if v is not None}, "id")
        return {"items": items, "next": following}

    positions = calls = liquidations = transactions = _page

    def position(self, position_id: str) -> Any:
        return None

    history = position

    def hello(self) -> Any:
        return {}

    status = table = ladder = system = hello

    def protocols(self) -> Sequence[str]:
        return ("aave",)

    def figures(self) -> Mapping[str, Any]:
        return {}

    def readiness(self) -> Mapping[str, Any]:
        return {"ready": True, "checks": []}

    def acknowledge(self, call: str, by: str) -> Any:
        return {"id": call}

    def invited(self, token: str) -> Any:
        return {"episode": token, "title": token}


_MISSING = {name for name in vars(Source) if not name.startswith("_")} - set(dir(Stub))
assert not _MISSING, f"the stub lacks {_MISSING} of the real sources"
APP = create_app(Stub(), Settings(Secret(TOKEN)), lambda: 1_700_000_000.0)  # type: ignore[arg-type]
_LOOP = asyncio.new_event_loop()


def run(data: bytes) -> None:
    source = Bytes(data)
    path = source.pick(_PATHS) if source.number(9) else source.some(60).decode("latin-1")
    method = source.pick(("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"))
    headers = [(b"host", b"127.0.0.1")] if source.number(5) else []
    for _ in range(source.number(4)):
        value = source.pick(_TEXTS) if source.number(3) else source.some(40)
        headers.append((source.pick(_HEADERS).encode(), value))
    query = source.pick(_QUERIES) if source.number(3) else source.some(120)
    if not urlsplit(path).path.startswith("/") or path.startswith("/api/v1/events"):
        path = "/" + path.removeprefix("/api/v1/events")
    body = source.rest()
    if path in _MADE_OF_DATA and any(value.endswith(TOKEN.encode()) for _, value in headers):
        return
    query = quote(query, safe=string.printable).replace(" ", "+").encode()  # servers let nothing else through
    status, shown = _LOOP.run_until_complete(_ask(method, path, query, headers, body))
    assert 200 <= status < 500, f"{method} {path!r} {query!r} {headers!r}: {status} {shown[:300]!r}"
    trusted = any(value.strip().endswith(TOKEN.encode()) for name, value in headers if name == b"authorization")
    if not trusted and path.startswith(_SECRET_PLACES):
        assert status >= 300, f"{path!r} told {shown[:80]!r} to nobody"
    if status == 200 and path == "/api/v1/calls" and method == "GET":
        json.loads(shown)


async def _ask(
    method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, bytes]:
    APP.state.__dict__.clear()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode("utf-8", "replace"), "root_path": "", "query_string": query,
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    said: list[Any] = []
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not parts:
            await asyncio.Event().wait()  # a client that stays
        return parts.pop()

    async def send(message: Any) -> None:
        said.append(message)

    async with asyncio.timeout(5):
        await APP(scope, receive, send)
    start = next(one for one in said if one["type"] == "http.response.start")
    return start["status"], b"".join(one.get("body", b"") for one in said if one["type"] == "http.response.body")

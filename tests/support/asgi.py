"""An ASGI application asked without sockets, by a client that keeps cookies as a browser does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    status_code: int
    headers: Headers
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    def __init__(self, app: ASGIApp, host: str, runner: asyncio.Runner) -> None:
        self._app = app
        self._host = host
        self._runner = runner
        self.cookies: dict[str, str] = {}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, **asked: Any) -> Answer:
        return self.request("POST", path, **asked)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] = b"",
    ) -> Answer:
        """data: of a form. content: pieces are sent without saying how long they are together."""
        body = urlencode(data).encode() if data is not None else content
        sent = {"host": self._host, **{name.lower(): value for name, value in (headers or {}).items()}}
        if isinstance(body, bytes):
            sent["content-length"] = str(len(body))
        if self.cookies and "cookie" not in sent:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        parts = urlsplit(path)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
        }
        answer = self._runner.run(_ask(self._app, scope, [body] if isinstance(body, bytes) else list(body)))
        for line in answer.headers.getlist("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer


async def _ask(app: ASGIApp, scope: dict[str, Any], pieces: list[bytes]) -> Answer:
    waiting = [
        {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1} for at, piece in enumerate(pieces)
    ]
    said: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    await app(scope, receive, send)
    start = next(message for message in said if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in said if message["type"] == "http.response.body")
    return Answer(start["status"], Headers(raw=start["headers"]), content)


@contextmanager
def running(app: ASGIApp, host: str) -> Iterator[Client]:
    """From its start to its end, as a server does it."""
    with asyncio.Runner() as runner:
        to_app: asyncio.Queue[Message] = asyncio.Queue()
        from_app: asyncio.Queue[Message] = asyncio.Queue()

        async def start() -> asyncio.Task[None]:
            life = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))
            await to_app.put({"type": "lifespan.startup"})
            assert (await from_app.get())["type"] == "lifespan.startup.complete"
            return life

        async def end(life: asyncio.Task[None]) -> None:
            await to_app.put({"type": "lifespan.shutdown"})
            assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
            await life

        life = runner.run(start())
        try:
            yield Client(app, host, runner)
        finally:
            runner.run(end(life))

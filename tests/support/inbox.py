"""A webhook receiver that verifies every notice and remembers each request, in a thread of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a shared secret of the tests"


@dataclass
class Inbox:
    """requests: every body that arrived, repetitions included. problems: what was wrong with any of them.

    before_answer: called with each notice before it is answered, so while its sender cannot know whether it arrived.
    """

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    before_answer: Callable[[dict[str, Any]], None] | None = None
    _bodies: dict[str, bytes] = field(default_factory=dict)

    def accept(self, body: bytes, headers: Mapping[str, str]) -> None:
        notice = json.loads(body)
        signed = headers["X-Keeper-Timestamp"].encode() + b"." + body
        expected = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(headers["X-Keeper-Signature"], expected):
            self.problems.append(f"{notice['id']}: wrong signature")
        if headers["Idempotency-Key"] != notice["id"]:
            self.problems.append(f"{notice['id']}: under the key {headers['Idempotency-Key']}")
        if self._bodies.setdefault(notice["id"], body) != body:
            self.problems.append(f"{notice['id']}: repeated with another body")
        self.requests.append(notice)
        if self.before_answer is not None:
            self.before_answer(notice)

    def notices(self, account: str | None = None) -> list[dict[str, Any]]:
        """Each notice once, in the order of its first arrival."""
        distinct = {notice["id"]: notice for notice in list(self.requests)}
        return [notice for notice in distinct.values() if account in (None, notice["account"])]

    def events(self, account: str) -> list[str]:
        """What one account was told, in order: "opened", "cured" …"""
        return [notice["event"] for notice in self.notices(account)]


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    """A receiver on a free port. Fails on leaving when any request was not as it must be."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.accept(self.rfile.read(int(self.headers["Content-Length"])), self.headers)
            with suppress(ConnectionError):  # who asked may be dead by now
                self.send_response(204)
                self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    inbox.url = f"http://127.0.0.1:{server.server_port}/notices"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
    assert inbox.problems == []

"""Where notices arrive: a webhook receiver that checks each, and can be as bad as receivers are."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a shared secret of the campaign"  # noqa: S105  (between two processes of this machine)

SLOW, FAILING, LIMITED, RESETTING, DEAF = "slow", "failing", "limited", "resetting", "deaf"
TROUBLES = (SLOW, FAILING, LIMITED, RESETTING, DEAF)


@dataclass(frozen=True)
class Arrival:
    """One notice, and when it came first."""

    at: float
    notice: Mapping[str, Any]


@dataclass
class Inbox:
    """arrivals: each notice that was answered well, once, in the order of its first arrival. repeated: requests
    beyond those.

    trouble: what the receiver does instead of answering well, to about two requests of three.
    before_answer: called with each notice while its sender cannot know that it arrived.
    """

    chance: random.Random
    url: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    repeated: int = 0
    problems: list[str] = field(default_factory=list)
    trouble: str | None = None
    hits: int = 0
    before_answer: Callable[[Mapping[str, Any]], None] | None = None
    _bodies: dict[str, bytes] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, body: bytes, headers: Mapping[str, str]) -> None:
        notice = json.loads(body)
        signed = headers["X-Keeper-Timestamp"].encode() + b"." + body
        expected = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        with self._turn:
            if not hmac.compare_digest(headers["X-Keeper-Signature"], expected):
                self.problems.append(f"{notice['id']}: wrong signature")
            if headers["Idempotency-Key"] != notice["id"]:
                self.problems.append(f"{notice['id']}: under the key {headers['Idempotency-Key']}")
            known = self._bodies.get(notice["id"])
            if known is None:
                self._bodies[notice["id"]] = body
                self.arrivals.append(Arrival(time.monotonic(), notice))
            else:
                self.repeated += 1
                if known != body:
                    self.problems.append(f"{notice['id']}: repeated with another body")
        if self.before_answer is not None:
            self.before_answer(notice)

    def of(self, position: str) -> list[Arrival]:
        return [one for one in list(self.arrivals) if one.notice["position"] == position]

    def status(self) -> int | None:
        """What to answer; None for a reset."""
        trouble = self.trouble
        if trouble is None or self.chance.random() < 0.34:
            return 204
        self.hits += 1
        match trouble:
            case "slow":
                time.sleep(2.0)
                return 204
            case "failing":
                return self.chance.choice((500, 502, 503))
            case "limited":
                return 429
            case "resetting":
                return None
        time.sleep(12.0)  # longer than a sender waits
        return None


@contextmanager
def open_inbox(chance: random.Random) -> Iterator[Inbox]:
    inbox = Inbox(chance)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = inbox.status()
            if status == 204:
                inbox.accept(body, self.headers)  # what is not answered well has not arrived
            with suppress(OSError):  # who asked may be dead by now
                if status is None:
                    self.connection.close()
                    return
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A sender that was killed; nothing to say."""

    server = Server(("127.0.0.1", 0), Handler)
    inbox.url = f"http://127.0.0.1:{server.server_port}/notices"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()

"""A running web server, asked as a script would ask it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.daemon import PATIENCE_S, Keeper


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json", self.headers
        return self.json


class Web:
    """url: where it listens. headers: of every request."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.headers = dict(headers or {})
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port = parts.hostname, parts.port

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Said:
        """headers: by their names, with _ for -."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)
        try:
            named = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            content = answer.read()
            return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """The object of a route that answers."""
        said = self.ask(path, **headers)
        assert said.status == 200, (path, said.status, said.body[:500])
        return said.json

    def events(self, seconds: float = PATIENCE_S, **headers: str) -> Iterator[tuple[str, str, Any]]:
        """Id, name and data of live events, until so many seconds have passed or the server ends them."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        try:
            named = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request("GET", "/api/v1/events", headers=named)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            deadline, fields = time.monotonic() + seconds, dict[str, str]()
            while time.monotonic() < deadline and (line := answer.readline()):
                text = line.decode().rstrip("\n")
                if not text and "event" in fields:
                    yield fields.get("id", ""), fields["event"], json.loads(fields["data"])
                if not text:
                    fields = {}
                    continue
                name, _, value = text.partition(": ")
                fields[name] = value
        finally:
            connection.close()


def of_daemon(keeper: Keeper, **headers: str) -> Web:
    """The server that a daemon started with `--web 127.0.0.1:0` keeps."""
    (line,) = keeper.until("the web server", lambda: keeper.said("web_listening")[-1:])
    return Web(line["url"], headers)


@contextmanager
def serving(keeper: Keeper, log: Path, *arguments: str, **environment: str) -> Iterator[Web]:
    """`keeper web` over a deployment's store, at a free port."""
    command = [sys.executable, "-m", "keeper", "web", "--config", str(keeper.config), "--log-format", "json"]
    whole = [*command, "--listen", "127.0.0.1:0", *arguments]
    with log.open("ab") as out:
        process = subprocess.Popen(
            whole, env={**keeper.environment, **environment}, stdin=subprocess.DEVNULL, stderr=out
        )
    try:
        yield Web(_listening(process, log))
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, log.read_text()[-4_000:]


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"web_listening"' in line:
                return str(json.loads(line)["url"])
        assert process.poll() is None, log.read_text()[-4_000:]
        time.sleep(0.02)
    raise AssertionError(f"no web server after {PATIENCE_S:.0f} s: {log.read_text()[-4_000:]}")

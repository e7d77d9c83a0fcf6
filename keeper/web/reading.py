"""What the server reads: a `Source` in a thread of its own, and its answers kept encoded until the store moves on.

A source is synchronous and belongs to one thread, as the store's connection does. All requests of one state of the
store cost its work once: the second is served from memory on the event loop.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

Json = Any
T = TypeVar("T")

KEPT = 512
"""Answers kept at once, all of one state of the store."""

COMPRESSED_FROM = 1_024
"""Bytes below which compressing is not worth it."""

VOLATILE = ("status", "system")
"""What tells of the daemon rather than of a block: made anew at every look."""

LARGE = 256 * 1024
"""Bytes from which on compressing well takes longer than what it spares."""

_LEVEL = 5
_QUICKLY = 1


class Source(Protocol):
    """Every method returns JSON-ready values, or None for what does not exist. Raises Problem."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def look(self) -> Sequence[tuple[str, Any]]:
        """Follow the store to its present state. Returns what is new, as names and data of events."""
        ...

    def version(self) -> str:
        """Of the state last looked at; begins with the hash of its block."""
        ...

    def hello(self) -> Json: ...
    def protocols(self) -> Sequence[str]:
        """Names of those that are configured."""
        ...

    def status(self) -> Json: ...
    def positions(
        self,
        *,
        sort: str = "health",
        limit: int = 100,
        protocol: str | None = None,
        account: str | None = None,
        band: str | None = None,
        cursor: str | None = None,
    ) -> Json: ...
    def position(self, position_id: str) -> Json | None: ...
    def history(self, position_id: str) -> Json | None: ...
    def table(self) -> Json: ...
    def ladder(self) -> Json: ...
    def calls(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json: ...
    def liquidations(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json: ...
    def transactions(
        self, *, limit: int = 100, cursor: str | None = None, status: str | None = None, account: str | None = None
    ) -> Json: ...
    def system(self) -> Json: ...
    def figures(self) -> Mapping[str, Any]:
        """Numbers for /metrics; see `metrics`."""
        ...

    def readiness(self) -> Mapping[str, Any]:
        """{"ready": bool, "checks": [{"check", "ok", "detail"}]}"""
        ...

    def acknowledge(self, call: str, by: str) -> Json:
        """Have the daemon acknowledge a call, by its id or by the token of a link."""
        ...

    def invited(self, token: str) -> Json:
        """What the token of a link acknowledges. Raises Problem for one that is no good."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded object. packed: compressed by gzip; None where that is not worth it."""

    etag: str
    body: bytes
    packed: bytes | None


class Reading:
    """`await reading.positions(...)` and the like give plain values; `answer` the same, encoded and kept."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read the store")
        self._answers: dict[tuple[str, str], Answer | None] = {}
        self._asking: dict[tuple[str, str], asyncio.Future[Answer | None]] = {}
        self._version = ""

    async def open(self) -> None:
        await self._do(self._source.open)
        await self.look()

    async def close(self) -> None:
        await self._do(self._source.close)
        self._thread.shutdown(wait=True)

    async def look(self) -> Sequence[tuple[str, Any]]:
        """Follow the store. Returns what is new."""

        def both() -> tuple[Sequence[tuple[str, Any]], str]:
            return self._source.look(), self._source.version()

        events, version = await self._do(both)
        if version != self._version:
            self._version, self._answers = version, {}
        for key in [key for key in self._answers if key[0] in VOLATILE]:
            del self._answers[key]
        return events

    @property
    def version(self) -> str:
        return self._version

    # --- plain values, for pages

    async def hello(self) -> Json:
        return await self._do(self._source.hello)

    async def protocols(self) -> Sequence[str]:
        return await self._do(self._source.protocols)

    async def status(self) -> Json:
        return await self._do(self._source.status)

    async def positions(self, **asked: Any) -> Json:
        return await self._do(lambda: self._source.positions(**asked))

    async def position(self, position_id: str) -> Json | None:
        return await self._do(lambda: self._source.position(position_id))

    async def history(self, position_id: str) -> Json | None:
        return await self._do(lambda: self._source.history(position_id))

    async def table(self) -> Json:
        return await self._do(self._source.table)

    async def ladder(self) -> Json:
        return await self._do(self._source.ladder)

    async def calls(self, **asked: Any) -> Json:
        return await self._do(lambda: self._source.calls(**asked))

    async def liquidations(self, **asked: Any) -> Json:
        return await self._do(lambda: self._source.liquidations(**asked))

    async def transactions(self, **asked: Any) -> Json:
        return await self._do(lambda: self._source.transactions(**asked))

    async def system(self) -> Json:
        return await self._do(self._source.system)

    async def figures(self) -> Mapping[str, Any]:
        return await self._do(self._source.figures)

    async def readiness(self) -> Mapping[str, Any]:
        return await self._do(self._source.readiness)

    async def acknowledge(self, call: str, by: str) -> Json:
        return await self._do(lambda: self._source.acknowledge(call, by))

    async def invited(self, token: str) -> Json:
        return await self._do(lambda: self._source.invited(token))

    # --- encoded, for the API

    async def answer(self, what: str, **asked: Any) -> Answer | None:
        """What a method of the source says, encoded; None where it says None. Kept until the store moves on; those who
        ask for it at the same time wait for one."""
        key = (what, msgspec.json.encode(asked, order="sorted").decode())
        if key in self._answers:
            return self._answers[key]
        waiting = self._asking.get(key)
        if waiting is None:
            waiting = self._asking[key] = asyncio.ensure_future(self._make(key, what, asked))
            waiting.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(waiting)

    async def _make(self, key: tuple[str, str], what: str, asked: Mapping[str, Any]) -> Answer | None:
        def make() -> tuple[str, Answer | None]:
            said = getattr(self._source, what)(**asked)
            version = self._source.version()
            if said is None:
                return version, None
            body = msgspec.json.encode(said)
            level = _LEVEL if len(body) < LARGE else _QUICKLY
            packed = gzip.compress(body, level, mtime=0) if len(body) >= COMPRESSED_FROM else None
            etag = hashlib.sha256(body).hexdigest()[:32] if what in VOLATILE else version
            return version, Answer(f'"{etag}"', body, packed)

        version, made = await self._do(make)
        if version == self._version:
            if len(self._answers) >= KEPT:
                self._answers.clear()
            self._answers[key] = made
        return made

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

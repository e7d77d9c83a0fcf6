"""The event stream of a MEV-Share node, as it is told, cut, silent, and hostile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from keeper.core.secret import Secret
from keeper.core.types import Log
from keeper.executor.ports import Hint
from keeper.executor.submitters import hints as module
from keeper.executor.submitters.hints import HintStream, read_hint

HASH = "0x" + "ab" * 32
EVENT = {
    "hash": HASH,
    "logs": [{"address": "0x" + "CC" * 20, "topics": ["0x" + "DD" * 32], "data": "0x01"}],
    "txs": [{"to": "0x" + "ee" * 20, "functionSelector": "0x11223344", "callData": "0x1122334455"}],
}
HINT = Hint(
    bytes.fromhex(HASH[2:]),
    ((b"\xee" * 20, bytes.fromhex("1122334455")),),
    (Log("0x" + "cc" * 20, ("0x" + "dd" * 32,), "0x01"),),
)


def test_an_event_is_read_whole() -> None:
    assert read_hint(json.dumps(EVENT)) == HINT
    assert read_hint(json.dumps({"hash": HASH, "logs": None, "txs": None})) == Hint(HINT.hash)


@pytest.mark.parametrize(
    "part",
    [
        {"txs": [{"to": "0x12", "callData": "0x11"}, {"to": None}, {}, None, 5, {"functionSelector": "0x11223344"}]},
        {"logs": [{"address": 5}, {"address": "0x" + "cc" * 20, "topics": ["0xzz"], "data": "0x"}, None, "x"]},
    ],
)
def test_malformed_parts_are_left_out(part: dict[str, Any]) -> None:
    assert read_hint(json.dumps({"hash": HASH, "logs": None, "txs": None, **part})) == Hint(HINT.hash)


KEYS = ["hash", "logs", "txs", "to", "callData", "address", "topics", "data"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("0x" + "ab" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(st.text(max_size=60), JSON.map(json.dumps)))
def test_no_event_makes_an_error(event: str) -> None:
    hint = read_hint(event)
    assert hint is None or len(hint.hash) == 32


class Stream:
    """Answers each connection with the next of its scripts: chunks to write, then the end."""

    def __init__(self) -> None:
        self.scripts: list[list[bytes]] = []
        self.connections = 0
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if not self.scripts:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in self.scripts.pop(0):
            await response.write(chunk)
            await asyncio.sleep(0.005)
        return response


@pytest.fixture
async def stream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stream]:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    stream = Stream()
    app = web.Application()
    app.router.add_get("/{path:.*}", stream.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-path"
    yield stream
    await runner.cleanup()


async def test_events_come_however_they_are_cut_and_through_every_break(stream: Stream) -> None:
    """Pings, comments, events of several lines, connections that end or are refused: said once, and gone on."""
    whole = json.dumps(EVENT)
    event = b":ping\n\ndata: " + whole.encode() + b"\n\n"
    folded = b"".join(f"data: {line}\r\n".encode() for line in json.dumps(EVENT, indent=1).splitlines()) + b"\r\n"
    stream.scripts = [[event[:20], event[20:], b"data: not json\n\n"], [], [folded, event[:30]], [event]]
    heard = []
    with capture_logs() as logs:
        async with asyncio.timeout(10), aclosing(HintStream("relay", Secret(stream.url)).hints()) as hints:
            async for hint in hints:
                heard.append(hint)
                if len(heard) == 3:
                    break
    assert heard == [HINT] * 3
    interrupted = [entry for entry in logs if entry["event"] == "hints_interrupted"]
    assert len(interrupted) <= stream.connections
    assert "secret-path" not in str(logs)


async def test_an_endless_event_and_silence_break_the_stream(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_EVENT", 2_000)
    monkeypatch.setattr(module, "SILENCE_S", 0.2)
    lines = [b"data: " + b"x" * 500 + b"\n"] * 20
    stream.scripts = [[b"data: " + b"x" * 50_000], lines, [b"data: " + json.dumps(EVENT).encode() + b"\n\n"]]
    async with asyncio.timeout(10), aclosing(HintStream("relay", Secret(stream.url)).hints()) as hints:
        assert await anext(hints) == HINT
    assert stream.connections == 3

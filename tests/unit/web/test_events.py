"""Live events: the same to all, nothing lost to who comes back, and no client that holds up another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.types import Message

from keeper.core.errors import StoreError
from keeper.web.events import KEPT, QUEUED, Feed
from keeper.web.problems import Problem
from keeper.web.reading import Reading


class Looks:
    """What the store would say, look by look."""

    def __init__(self) -> None:
        self.next: list[list[tuple[str, Any]] | Exception] = []
        self.count = 0

    async def look(self) -> Sequence[tuple[str, Any]]:
        self.count += 1
        found = self.next.pop(0) if self.next else []
        if isinstance(found, Exception):
            raise found
        return found

    async def hello(self) -> Any:
        return {"block": None}


class Browser:
    """One client; `reads` is cleared to be one that takes nothing."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = False
        self.reads = asyncio.Event()
        self.reads.set()
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def join(self, feed: Feed, last: str | None = None) -> None:
        headers = {} if last is None else {"last-event-id": last}
        stream = await feed.join(cast(Request, SimpleNamespace(headers=headers)))
        self._task = asyncio.create_task(stream({"type": "http"}, self._receive, self._send))
        await asyncio.sleep(0)

    async def leave(self) -> None:
        self._gone.set()
        assert self._task is not None
        await asyncio.wait_for(self._task, 2)

    @property
    def events(self) -> list[tuple[str, str, Any]]:
        found = []
        for part in self.received.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith((":", "retry")))
            if "event" in fields:
                found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
        return found

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in self.events]

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.received += message.get("body", b"")
        self.ended = message["type"] == "http.response.body" and not message["more_body"]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def feed(looks: Looks) -> Feed:
    return Feed(cast(Reading, looks), most=3)


async def test_one_look_is_told_to_all(feed: Feed, looks: Looks):
    browsers = [Browser() for _ in range(3)]
    for browser in browsers:
        await browser.join(feed)
    looks.next = [[("block", {"number": 1}), ("bands", [])]]
    await feed.look()
    await settle()
    assert looks.count == 1
    assert [browser.names for browser in browsers] == [["hello", "block", "bands"]] * 3
    assert browsers[0].events == browsers[2].events
    for browser in browsers:
        await browser.leave()
    assert feed.listeners == 0


async def test_who_comes_back_hears_exactly_what_was_missed(feed: Feed):
    first, again = Browser(), Browser()
    await first.join(feed)
    feed.publish("block", 1)
    await settle()
    last = first.events[-1][0]
    await first.leave()
    feed.publish("block", 2)
    feed.publish("call", 3)
    await again.join(feed, last)
    feed.publish("block", 4)
    await settle()
    assert [(name, said) for _, name, said in again.events[1:]] == [("block", 2), ("call", 3), ("block", 4)]
    await again.leave()


TOO_MANY = f"{{life}}-{KEPT + 4 - QUEUED}"


@pytest.mark.parametrize("last", ["", "otherlife-1", "nonsense", "-", "{life}-999999", "{life}-0", TOO_MANY])
async def test_who_missed_more_than_is_kept_is_told_to_read_anew(feed: Feed, last: str):
    """Not with nothing, not with a part, nor with more than may wait for one who listens. Without a last event there is
    nothing to miss."""
    for number in range(KEPT + 5):
        feed.publish("block", number)
    browser = Browser()
    probe = Browser()
    await probe.join(feed)
    await settle()
    life = probe.events[0][0].split("-")[0]
    await browser.join(feed, last.replace("{life}", life))
    await settle()
    assert browser.names == (["hello", "reset"] if last else ["hello"])
    await browser.leave()
    await probe.leave()


async def test_a_client_that_takes_nothing_is_told_and_let_go_and_holds_up_nobody(feed: Feed):
    slow, quick = Browser(), Browser()
    await slow.join(feed)
    await quick.join(feed)
    await settle()
    slow.reads.clear()
    for number in range(QUEUED + 10):
        feed.publish("block", number)
        await settle()
    assert len(quick.events) == QUEUED + 11
    assert feed.listeners == 2
    slow.reads.set()
    await settle()
    assert slow.names[-1] == "dropped"
    assert str(QUEUED) in slow.events[-1][2]["reason"]
    assert slow.ended
    assert (feed.listeners, feed.dropped) == (1, 1)
    await quick.leave()


async def test_too_many_are_refused_and_a_place_that_is_left_is_free_again(feed: Feed):
    browsers = [Browser() for _ in range(3)]
    for browser in browsers:
        await browser.join(feed)
    with pytest.raises(Problem) as refused:
        await Browser().join(feed)
    assert (refused.value.status, refused.value.limit) == (503, 3)
    await browsers[0].leave()
    await Browser().join(feed)


async def test_a_store_that_cannot_be_read_is_looked_at_again(feed: Feed, looks: Looks):
    """As while its daemon migrates it: listeners stay, and hear what comes afterwards."""
    browser = Browser()
    await browser.join(feed)
    looks.next = [StoreError("the disk is away"), [("block", 7)]]
    await feed.look()
    assert feed.failing
    await feed.look()
    assert not feed.failing
    await settle()
    assert browser.names == ["hello", "block"]
    await browser.leave()


async def test_nobody_is_kept_when_the_server_ends(feed: Feed):
    browser = Browser()
    await browser.join(feed)
    await settle()
    feed.end()
    await settle()
    assert browser.ended
    assert feed.listeners == 0

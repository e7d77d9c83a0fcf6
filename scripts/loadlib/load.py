"""Many who look at once: clients that listen to live events, and requests at a steady rate, each answer checked."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

PATHS = (
    "/api/v1/status",
    "/api/v1/positions?limit=100",
    "/api/v1/positions/table",
    "/api/v1/ladder",
    "/api/v1/calls",
    "/api/v1/transactions",
    "/api/v1/system",
    "/metrics",
)
"""What a page asks for, in turn."""


@dataclass(slots=True)
class Load:
    """What came of it. times_s: of every request that was answered. heard: blocks by client."""

    requests: int = 0
    not_modified: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)
    heard: list[list[int]] = field(default_factory=list)
    pulses: int = 0

    def slowest(self, share: float) -> float:
        """The time within which so many were answered."""
        ordered = sorted(self.times_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def load(
    url: str,
    *,
    seconds: float,
    clients: int,
    rate: float,
    headers: Mapping[str, str] | None = None,
    paths: Sequence[str] = PATHS,
) -> Load:
    """rate: requests a second. Every second one is conditional, as a page's are. Returns when `seconds` have passed."""
    found = Load()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(url, connector=connector, headers=headers, timeout=timeout) as session:
        ends = time.monotonic() + seconds
        listening = [asyncio.create_task(_listen(session, found, ends)) for _ in range(clients)]
        asking: set[asyncio.Task[None]] = set()
        etags: dict[str, str] = {}
        began = time.monotonic()
        for number, path in enumerate(itertools.cycle(paths)):
            due = began + number / rate
            if due >= ends:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(_ask(session, found, path, etags, conditional=bool(number // len(paths) % 2)))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*listening, *asking)
    return found


async def _ask(
    session: aiohttp.ClientSession, found: Load, path: str, etags: dict[str, str], *, conditional: bool
) -> None:
    began = time.perf_counter()
    found.requests += 1
    headers = {"If-None-Match": etags[path]} if conditional and path in etags else {}
    try:
        async with asyncio.timeout(10), session.get(path, headers=headers) as answer:
            body = await answer.read()
            if answer.status == 304:
                found.not_modified += 1
            elif answer.status != 200:
                found.errors[f"{path}: {answer.status}"] += 1
            elif answer.content_type == "application/json":
                json.loads(body)
            if etag := answer.headers.get("ETag"):
                etags[path] = etag
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        found.errors[f"{path}: {type(error).__name__}"] += 1
    found.times_s.append(time.perf_counter() - began)


async def _listen(session: aiohttp.ClientSession, found: Load, ends: float) -> None:
    blocks: list[int] = []
    found.heard.append(blocks)
    event = ""
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends - time.monotonic()):
            async with session.get("/api/v1/events") as answer:
                if answer.status != 200:
                    found.errors[f"events: {answer.status}"] += 1
                    return
                async for line in answer.content:
                    if line.startswith(b"event: "):
                        event = line[7:].strip().decode()
                    elif line.startswith(b"data: ") and event == "block":
                        blocks.append(json.loads(line[6:])["number"])
                    elif line.startswith(b"data: ") and event == "pulse":
                        found.pulses += 1
                    elif line.startswith(b"data: ") and event in ("dropped", "reset"):
                        found.errors[f"events: {event}"] += 1
                found.errors["events: ended"] += 1
    except TimeoutError:
        return
    except aiohttp.ClientError as error:
        found.errors[f"events: {type(error).__name__}"] += 1

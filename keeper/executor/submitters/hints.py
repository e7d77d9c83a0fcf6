"""What a MEV-Share node tells of the transactions it keeps: a stream of server-sent events.

    data: {"hash": "0x…", "logs": [{address, topics, data}] | null, "txs": [{to, functionSelector, callData}] | null}

Source: https://docs.flashbots.net, "Event Stream"; the HTML standard, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from keeper.core.errors import KeeperError, RpcMalformed, RpcUnavailable
from keeper.core.secret import Secret
from keeper.core.types import Log
from keeper.executor.ports import Hint
from keeper.executor.shapes import simulated_log

log = structlog.get_logger(__name__)

LARGEST_EVENT = 1024 * 1024
SILENCE_S = 60.0
"""Streams send a ping every few seconds; without anything for so long the connection is dead."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_CONNECT_S = 10.0


class HintStream:
    """name: what errors call it; the URL may carry a token and is never repeated."""

    def __init__(self, name: str, url: Secret) -> None:
        self.name = name
        self._url = url

    async def hints(self) -> AsyncGenerator[Hint, None]:
        """For ever. A stream that breaks is said once and opened again; what was told meanwhile is missed."""
        pause_s, broken = _FIRST_PAUSE_S, False
        while True:
            try:
                async for event in self._events():
                    if broken:
                        log.info("hints_resumed", submitter=self.name)
                    pause_s, broken = _FIRST_PAUSE_S, False
                    if (hint := read_hint(event)) is not None:
                        yield hint
                raise RpcUnavailable(f"{self.name}: the stream ended")
            except KeeperError as error:
                if not broken:
                    log.warning("hints_interrupted", submitter=self.name, error=str(error), remedy="connecting again")
                broken = True
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _events(self) -> AsyncGenerator[str, None]:
        """The data of each event. Raises RpcUnavailable when the stream cannot be opened, or breaks."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=SILENCE_S)
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, read_bufsize=LARGEST_EVENT) as session,
                session.get(URL(self._url.reveal()), headers=headers, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise RpcUnavailable(f"{self.name}: the stream answered {response.status}")
                data: list[str] = []
                size = 0
                async for raw in response.content:
                    line = raw.decode(errors="replace").rstrip("\r\n")
                    if line.startswith("data:"):
                        data.append(line[5:].removeprefix(" "))
                        size += len(line)
                    elif not line and data:
                        yield "\n".join(data)
                        data, size = [], 0
                    if size > LARGEST_EVENT:
                        raise RpcMalformed(f"{self.name}: an event of more than {LARGEST_EVENT} bytes")
        except TimeoutError:
            raise RpcUnavailable(f"{self.name}: the stream was silent for {SILENCE_S:g} s") from None
        except HttpProcessingError:  # of a line that never ends
            raise RpcMalformed(f"{self.name}: an event of more than {LARGEST_EVENT} bytes") from None
        except (aiohttp.ClientError, OSError) as error:  # their texts may quote the URL
            raise RpcUnavailable(f"{self.name}: the stream broke ({type(error).__name__})") from None


def read_hint(event: str) -> Hint | None:
    """None for an event that is no hint, or names no hash. Parts that are malformed are left out."""
    try:
        told = json.loads(event)
        known_by = bytes.fromhex(told["hash"][2:])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if len(known_by) != 32:
        return None
    calls = [call for tx in _list(told, "txs") if (call := _call(tx)) is not None]
    logs = [one for entry in _list(told, "logs") if (one := _log(entry)) is not None]
    return Hint(known_by, tuple(calls), tuple(logs))


def _list(told: Mapping[str, Any], key: str) -> list[Any]:
    found = told.get(key)
    return found if isinstance(found, list) else []


def _call(tx: Any) -> tuple[bytes, bytes] | None:
    try:
        to, data = bytes.fromhex(tx["to"][2:]), bytes.fromhex(tx["callData"][2:])
    except (TypeError, KeyError, ValueError):
        return None
    return (to, data) if len(to) == 20 else None


def _log(entry: Any) -> Log | None:
    """Some relays leave out what a log without data has."""
    try:
        return simulated_log({**entry, "data": entry.get("data") or "0x"} if isinstance(entry, Mapping) else entry)
    except ValueError:
        return None

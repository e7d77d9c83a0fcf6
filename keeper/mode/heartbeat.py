"""A dead man's switch: an address is asked for again and again, so that somebody else notices when Keeper is gone.

Made for healthchecks.io, Uptime Kuma, Cronitor, Better Stack and the like: each ping says "alive and watching". None
is sent while Keeper is blind, so silence means that nobody watches, whatever the cause. failure_url, where there is
one, is pinged instead, for services that can be told (healthchecks.io: the same address with /fail).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog

from keeper.core.secret import Secret
from keeper.mode.machine import Mode

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0


class Heartbeat:
    """url, failure_url: may hold a token, so they are never shown. mode: that the daemon is in now."""

    def __init__(
        self, url: Secret, every_s: float, mode: Callable[[], Mode], failure_url: Secret | None = None
    ) -> None:
        self._url = url
        self._failure_url = failure_url
        self._every_s = every_s
        self._mode = mode
        self._failing = False
        self.pings = 0

    @property
    def shown(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self._url.reveal())
        return f"{parts.scheme}://{parts.hostname}"

    async def run(self) -> None:
        """For ever. What the service answers, or that it does not, changes nothing but a log line."""
        timeout = aiohttp.ClientTimeout(total=min(TIMEOUT_S, self._every_s))
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self.beat(session)
                await asyncio.sleep(self._every_s)

    async def beat(self, session: aiohttp.ClientSession) -> None:
        target = self._failure_url if self._mode() is Mode.BLIND else self._url
        if target is None:
            return
        try:
            async with session.get(target.reveal()) as response:
                problem = None if response.status < 400 else f"it answered {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            problem = type(error).__name__  # its text may hold the address
        if problem is None:
            self.pings += 1
            if self._failing:
                log.info("heartbeat_heard_again", service=self.shown)
        elif not self._failing:
            remedy = "check heartbeat.url; that service now believes that Keeper is gone"
            log.warning("heartbeat_not_heard", service=self.shown, problem=problem, remedy=remedy)
        self._failing = problem is not None

    def read(self) -> dict[str, Any]:
        """For the pulse."""
        return {"service": self.shown, "every_s": self._every_s, "pings": self.pings, "heard": not self._failing}

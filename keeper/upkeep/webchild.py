"""`keeper run --web`: the web server as a process of its own that the daemon keeps alive.

Its own, so that no page load ever takes the interpreter from a block; and nicer than the daemon, so that it does not
take the processor either. It reads the same store; whatever becomes of it, the daemon goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from keeper.core.secret import Secret
from keeper.queries.live.command import PARENT, listening

if TYPE_CHECKING:
    from keeper.wire import House

log = structlog.get_logger(__name__)

FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
STEADY_S = 60.0
"""A server that lived this long did not fail at its start."""

END_S = 6.0


def web_child(house: House, listen: str, log_format: str) -> WebChild:
    """Raises ConfigError for an address that cannot be, or one beyond this machine without a token."""
    address = listening(house.config, listen, token=house.config.web.token)
    command = [sys.executable, "-m", "keeper", "web", "--config", str(house.file), "--listen", str(address)]
    return WebChild([*command, "--log-format", log_format], without_keys(os.environ, house.config.signing_secrets()))


def without_keys(environment: Mapping[str, str], secrets: Iterable[Secret]) -> dict[str, str]:
    """The environment without what signs: a server that speaks with strangers has no use for it."""
    hidden = {secret.reveal() for secret in secrets}
    return {name: value for name, value in environment.items() if value not in hidden}


class WebChild:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep(), name="keep the web server")

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _keep(self) -> None:
        """Start it, and again whenever it ends, each time a little later."""
        rest = FIRST_REST_S
        while True:
            began = time.monotonic()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={**self._environment, PARENT: str(os.getpid())},
                )
                code = await self._process.wait()
                log.error("web_server_ended", exit_code=code, again_in_s=rest)
            except OSError as error:
                log.error("web_server_not_started", error=str(error), again_in_s=rest)
            if time.monotonic() - began > STEADY_S:
                rest = FIRST_REST_S
            await asyncio.sleep(rest)
            rest = min(rest * 2, LONGEST_REST_S)

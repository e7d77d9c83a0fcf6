"""What a service manager hears of the daemon: ready, alive, stopping (sd_notify(3), systemd.service(5)).

Silent where nobody listens. Alive is said by the event loop itself, so a daemon whose loop hangs is restarted; that no
block comes is not a reason to: the watchdog of heads says so, and a restart would not bring one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class Supervisor:
    """environment: the process's; NOTIFY_SOCKET names the listener, WATCHDOG_USEC how often it wants to hear."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        usec = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._period_s = int(usec) / 2e6 if usec.isdigit() and int(usec) > 0 and meant else None

    def ready(self, status: str) -> None:
        self._say(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._say(f"STATUS={status}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    async def keep_alive(self) -> None:
        """Say that we live, twice as often as asked; for ever, or until cancelled."""
        while self._period_s is not None and self._address:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self._period_s)

    def _say(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto(message.encode(), self._address)
        except OSError as error:  # a listener that went away must not take the daemon with it
            log.warning("supervisor_not_told", error=str(error), message=message.split("\n")[0])

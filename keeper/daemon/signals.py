"""What signals ask of a daemon."""

from __future__ import annotations

import asyncio
import signal

import structlog

from keeper.core.errors import ConfigError
from keeper.executor.switch import Switch

log = structlog.get_logger(__name__)


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def pause_on_signals(switch: Switch, stop: asyncio.Event) -> None:
    """SIGUSR1 is `keeper pause`, SIGUSR2 is `keeper resume`. Where a pause cannot be written down, the daemon ends: it
    was asked to send nothing more."""

    def pause() -> None:
        try:
            switch.pause()
        except ConfigError as error:
            log.error("pause_failed", error=str(error), remedy="stopping instead")
            stop.set()

    def resume() -> None:
        try:
            switch.resume()
        except ConfigError as error:
            log.error("resume_failed", error=str(error))

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, pause)
    loop.add_signal_handler(signal.SIGUSR2, resume)

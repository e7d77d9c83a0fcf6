"""The process: an ASGI server on one socket, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn
from starlette.applications import Starlette

from keeper.core.errors import ConfigError

log = structlog.get_logger(__name__)

GRACE_S = 3
_PARENT_S = 1.0


class _Server(uvicorn.Server):
    """Ends by a flag alone: signals are ours, and an ordered end is no failure."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, host: str, port: int, parent: int | None = None) -> int:
    """Until SIGTERM or SIGINT, or until the process `parent` is no more. Returns the exit code.

    Raises ConfigError when the address cannot be listened at.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that it starts and ends, we say ourselves
    listening = _bind(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        loop="asyncio",
        http="h11",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = _Server(config)

    def end() -> None:
        server.should_exit = True
        app.state.feed.end()  # who listens would keep us for ever

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    watching = asyncio.create_task(_watch(parent, end)) if parent is not None else None
    where = listening.getsockname()
    shown = f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"
    log.info("web_listening", url=f"http://{shown}/")
    try:
        await server.serve(sockets=[listening])
    finally:
        if watching is not None:
            watching.cancel()
        listening.close()
    return 0 if server.started else 1


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(512)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); give another --listen, or end what listens "
            "there"
        ) from None
    return found


async def _watch(parent: int, end: Callable[[], None]) -> None:
    """End with the process that started us, however it ended: nothing tells of that but asking."""
    while os.getppid() == parent:  # noqa: ASYNC110  (nothing to be woken by)
        await asyncio.sleep(_PARENT_S)
    log.warning("web_parent_gone", parent=parent)
    end()

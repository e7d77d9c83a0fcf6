"""What the service manager hears, on a real datagram socket of its own (nothing connects)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.supervisor import Supervisor


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(5)
        yield name, listening


def test_readiness_and_the_end_are_told(listener: tuple[str, socket.socket]) -> None:
    """A unit of Type=notify is up when the daemon follows the chain, not when its process began."""
    name, listening = listener
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    supervisor.ready("following chain 1 from block 7")
    supervisor.stopping()
    assert listening.recv(256) == b"READY=1\nSTATUS=following chain 1 from block 7"
    assert listening.recv(256) == b"STOPPING=1"


async def test_a_watchdog_is_fed_twice_as_often_as_it_asks(listener: tuple[str, socket.socket]) -> None:
    name, listening = listener
    living = asyncio.create_task(
        Supervisor({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "40000"}).keep_alive()
    )  # each 20 ms
    heard = [await asyncio.to_thread(listening.recv, 256) for _ in range(3)]
    living.cancel()
    assert heard == [b"WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "@keeper", "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid() + 1)},
    ],
)
async def test_nobody_is_fed_who_does_not_ask(environment: dict[str, str]) -> None:
    """Without a listener, or when another process is meant, feeding ends at once."""
    await asyncio.wait_for(Supervisor(environment).keep_alive(), 1)


def test_a_listener_that_is_gone_does_not_end_the_daemon(tmp_path: Path) -> None:
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")

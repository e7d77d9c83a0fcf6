"""Markers by folder, no sockets in unit tests, and chains for the others."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from keeper.devnet.chain import DevChain

_TESTS = Path(__file__).parent
_FOLDERS = ("unit", "contract", "integration", "browser", "fork")

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


# Who runs the suite in the background may have it ignore Ctrl-C, which the processes that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder under tests/ is its marker."""
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else ""
        if folder in _FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture(autouse=True)
def _no_sockets_in_unit_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting anywhere fails; the socket pair inside an event loop is made without connecting."""
    if request.node.get_closest_marker("unit") is None:
        return

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a unit test tried to connect to {address}; move it to tests/integration or use a fake")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture
def dev_chain() -> Iterator[DevChain]:
    """A chain of one's own, with the real contracts; each transaction is a block."""
    from keeper.devnet.chain import DevChain

    with DevChain.start() as chain:
        yield chain


@pytest.fixture(scope="session")
def _long_lived_chain() -> Iterator[DevChain]:
    from keeper.devnet.chain import DevChain

    with DevChain.start(accounts=40) as chain:
        yield chain


@pytest.fixture
def shared_chain(_long_lived_chain: DevChain) -> Iterator[DevChain]:
    """The session's chain, set back afterwards. Subscribers are not told of that: for tests that only ask and act."""
    with _long_lived_chain.rewound():
        yield _long_lived_chain

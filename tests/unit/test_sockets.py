"""Unit tests open no sockets, and cannot by mistake."""

from __future__ import annotations

import asyncio
import socket

import pytest


def test_connecting_is_refused():
    with socket.socket() as attempt, pytest.raises(AssertionError, match="a unit test tried to connect"):
        attempt.connect(("127.0.0.1", 9))


async def test_connecting_from_an_event_loop_is_refused_too():
    """The loop itself works: its own socket pair needs no connection."""
    with pytest.raises(AssertionError, match="a unit test tried to connect"):
        await asyncio.open_connection("127.0.0.1", 9)

"""Endpoint addresses are understood, and shown without their secrets."""

from __future__ import annotations

import pytest

from keeper.core.errors import ConfigError
from keeper.indexer.rpc.address import Kind, parse_address


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("wss://user:hunter2@node.example:8546/v3/KEY?token=KEY#KEY", Kind.WEBSOCKET, "wss://node.example:8546"),
        ("https://node.example/v2/KEY", Kind.HTTP, "https://node.example"),
        ("HTTP://Node.Example", Kind.HTTP, "http://node.example"),
        ("ws://[::1]:8545/KEY", Kind.WEBSOCKET, "ws://[::1]:8545"),
        ("/var/run/geth.ipc", Kind.IPC, "/var/run/geth.ipc"),
        ("geth.ipc", Kind.IPC, "geth.ipc"),
    ],
)
def test_only_scheme_host_and_port_are_shown(text: str, kind: Kind, shown: str) -> None:
    """Providers put keys into userinfo, path and query; none of it may reach a log."""
    address = parse_address(text)
    assert (address.kind, address.shown) == (kind, shown)
    assert "KEY" not in repr(address)
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    "text",
    ["", "secretkeysecretkey", "ftp://host/secretkey", "http:///secretkey", "ws://host:secretkey/x", "localhost:8545"],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    """A key pasted where a URL belongs must not appear in the message either; the remedy must."""
    with pytest.raises(ConfigError) as refusal:
        parse_address(text)
    assert "secretkey" not in str(refusal.value)
    assert "rpc endpoint" in str(refusal.value)

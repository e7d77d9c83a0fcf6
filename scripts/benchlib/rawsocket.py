"""JSON-RPC with nothing in between: a blocking socket, bytes out, bytes in. The floor that our client is held to."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Self

_MASK = bytes(4)  # masking with zeros is masking that costs nothing
_TEXT = 0x81


class RawWebSocket:
    """One text frame per message; nothing is checked."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]

    def send(self, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes([_TEXT, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([_TEXT, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([_TEXT, 0x80 | 127]) + size.to_bytes(8, "big")
        self._socket.sendall(head + _MASK + payload)

    def read(self) -> bytes:
        """The next message; one frame is one message with Anvil."""
        self._need(2)
        size, start = self._buffer[1], 2
        if size >= 126:
            width = 2 if size == 126 else 8
            start += width
            self._need(start)
            size = int.from_bytes(self._buffer[2:start], "big")
        self._need(start + size)
        message, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        return message

    def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        return self.read()

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._receive()

    def _receive(self) -> None:
        # Anvil leaves Nagle's algorithm on: a delayed acknowledgement of ours would cost both sides 40 ms
        self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_QUICKACK", socket.TCP_NODELAY), 1)
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("the node closed the connection")
        self._buffer += received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class RawIpc:
    """One line per message."""

    def __init__(self, path: Path, timeout_s: float = 30.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        self._socket.connect(os.fspath(path))
        self._buffer = b""

    def ask(self, payload: bytes) -> bytes:
        self._socket.sendall(payload + b"\n")
        return self.read()

    def read(self) -> bytes:
        while b"\n" not in self._buffer:
            received = self._socket.recv(1 << 18)
            if not received:
                raise ConnectionError("the node closed the connection")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

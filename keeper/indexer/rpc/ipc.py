"""JSON-RPC over a unix domain socket."""

from __future__ import annotations

import asyncio
import re

from keeper.core.errors import RpcMalformed, RpcUnavailable
from keeper.indexer.rpc.address import Address
from keeper.indexer.rpc.http import reason_of
from keeper.indexer.rpc.transport import MAX_MESSAGE_BYTES, DuplexTransport


class IpcTransport(DuplexTransport):
    """A stream of JSON values in each direction."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._stream: asyncio.Transport | None = None

    async def open(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                self._stream, _ = await loop.create_unix_connection(lambda: _Incoming(self), self.address.target)
        except (OSError, TimeoutError) as error:
            raise RpcUnavailable(f"cannot connect to {self.address.shown}: {reason_of(error)}") from None

    async def write(self, payload: bytes) -> None:
        self.write_now(payload)

    def write_now(self, payload: bytes) -> None:
        if self._stream is None or self._stream.is_closing():
            raise RpcUnavailable(f"{self.address.shown}: not sent, the connection is closed")
        self._stream.write(payload + b"\n")

    async def close(self) -> None:
        self.lost(RpcUnavailable(f"{self.address.shown}: closed by us"))
        if self._stream is not None:
            self._stream.abort()


class _Incoming(asyncio.Protocol):
    """Replies are dispatched where the bytes arrive: no reader task, no extra turn of the loop."""

    def __init__(self, owner: IpcTransport) -> None:
        self._owner = owner
        self._splitter = JsonSplitter()
        self._stream: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = transport

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._splitter.feed(data):
                self._owner.mux.feed(payload)
        except RpcMalformed as error:
            self._owner.lost(RpcMalformed(f"{self._owner.address.shown}: {error}; the connection is dropped"))
            if self._stream is not None:
                self._stream.close()

    def connection_lost(self, exc: Exception | None) -> None:
        why = reason_of(exc) if exc else "end of stream"
        self._owner.lost(RpcUnavailable(f"{self._owner.address.shown}: the connection was closed ({why})"))


class JsonSplitter:
    """Cuts a byte stream into JSON arrays and objects.

    Nodes that end each message with a newline (geth, Anvil) are split there, which costs nothing; a compact JSON text
    holds none inside. Others (Reth) write values back to back: brackets are counted, strings skipped.
    """

    _token = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|"', re.DOTALL)

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._newlines = False

    def feed(self, data: bytes) -> list[bytes]:
        """The messages completed by this data. Raises RpcMalformed when one grows beyond all bounds."""
        if not self._parts and data.find(b"\n") == len(data) - 1 and not data.isspace():
            self._newlines = True
            return [data]  # the usual case, one whole message, without a copy
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_MESSAGE_BYTES:
            raise RpcMalformed(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
        if b"\n" in data:
            self._newlines = True
            *lines, rest = b"".join(self._parts).split(b"\n")
            self._keep(rest)
            return [line for line in lines if line and not line.isspace()]
        if self._newlines or data.rstrip()[-1:] not in (b"}", b"]"):
            return []
        messages, rest = self._balanced(b"".join(self._parts))
        self._keep(rest)
        return messages

    def _keep(self, rest: bytes) -> None:
        self._parts = [rest] if rest else []
        self._size = len(rest)

    def _balanced(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        messages, start, depth = [], 0, 0
        for token in self._token.finditer(buffer):
            first = buffer[token.start()]
            if first in b"[{":
                depth += 1
            elif first in b"]}":
                depth -= 1
                if depth == 0:
                    messages.append(buffer[start : token.end()])
                    start = token.end()
            elif token.end() - token.start() == 1:
                break  # a string that has not ended yet
        return messages, buffer[start:].lstrip()

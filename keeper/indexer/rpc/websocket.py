"""JSON-RPC over a websocket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import aiohttp

from keeper.core.errors import RpcMalformed, RpcUnavailable
from keeper.indexer.rpc.address import Address
from keeper.indexer.rpc.http import reason_of
from keeper.indexer.rpc.transport import MAX_MESSAGE_BYTES, DuplexTransport

HEARTBEAT_S = 20.0


class WebSocketTransport(DuplexTransport):
    """One websocket, read by one task."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, timeout_s: float) -> None:
        self._session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(timeout_s):
                websocket = await self._session.ws_connect(
                    self.address.target, heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, decode_text=False
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self.close()
            # the original's text and traceback may hold the URL, and the URL a key
            raise RpcUnavailable(f"cannot connect to {self.address.shown}: {reason_of(error)}") from None
        except BaseException:
            await self.close()
            raise
        self._socket = websocket
        self._reader = asyncio.create_task(self._read(websocket), name=f"read {self.address.shown}")

    async def write(self, payload: bytes) -> None:
        if self._socket is None or self._socket.closed:
            raise RpcUnavailable(f"{self.address.shown}: not sent, the connection is closed")
        try:
            await self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)
        except (aiohttp.ClientError, OSError) as error:
            raise RpcUnavailable(f"{self.address.shown}: disconnected while sending ({reason_of(error)})") from None

    def write_now(self, payload: bytes) -> None:
        """Driven one step by hand: the frame is written by then, and what is left is to wait while the network does not
        keep up."""
        if self._socket is None or self._socket.closed:
            raise RpcUnavailable(f"{self.address.shown}: not sent, the connection is closed")
        writing = self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)
        try:
            writing.send(None)
        except StopIteration:
            return
        except (aiohttp.ClientError, OSError) as error:
            raise RpcUnavailable(f"{self.address.shown}: disconnected while sending ({reason_of(error)})") from None
        writing.close()

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        rearm = _quick_acknowledger(websocket)
        try:
            while True:
                rearm()
                message = await websocket.receive()
                if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
                    self.mux.feed(message.data)
                else:
                    why = f"code {websocket.close_code}" if websocket.close_code else message.type.name.lower()
                    self.lost(RpcUnavailable(f"{self.address.shown}: the connection was closed ({why})"))
                    return
        except RpcMalformed as error:
            self.lost(RpcMalformed(f"{self.address.shown}: {error}; the connection is dropped"))
        except (aiohttp.ClientError, OSError) as error:
            self.lost(RpcUnavailable(f"{self.address.shown}: disconnected ({reason_of(error)})"))
        finally:
            self.lost(RpcUnavailable(f"{self.address.shown}: the connection was closed"))

    async def close(self) -> None:
        self.lost(RpcUnavailable(f"{self.address.shown}: closed by us"))
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._session is not None:
            # closing the session drops the socket at once; a closing handshake would wait for a peer that may be dead
            await self._session.close()


def _quick_acknowledger(websocket: aiohttp.ClientWebSocketResponse[bool]) -> Callable[[], None]:
    """A function that asks the kernel to acknowledge at once; call it before every receive, the option resets itself.

    Without it a node that writes small frames with Nagle's algorithm on, as Anvil does, waits for our delayed
    acknowledgement: bursts of ten requests took 44 ms instead of 1.
    """
    sock = websocket.get_extra_info("socket")
    option = getattr(socket, "TCP_QUICKACK", None)
    if sock is None or option is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return lambda: None
    return partial(sock.setsockopt, socket.IPPROTO_TCP, option, 1)

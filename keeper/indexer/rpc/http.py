"""JSON-RPC over HTTP, on one keep-alive session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from keeper.core.errors import RpcMalformed, RpcRateLimited, RpcUnavailable
from keeper.indexer.rpc.address import Address
from keeper.indexer.rpc.faults import LONGEST_WAIT_S
from keeper.indexer.rpc.mux import Replies
from keeper.indexer.rpc.transport import MAX_MESSAGE_BYTES, Transport
from keeper.indexer.rpc.wire import Message, Request, decode_messages

_HEADERS = {"Content-Type": "application/json"}
_IDLE_S = 15.0  # below the usual servers' limits, so that we seldom write on a connection they are closing


class HttpTransport(Transport):
    """POST per message. Redirects are not followed and nothing is sent twice."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._session: aiohttp.ClientSession | None = None
        self._next_id = 1

    async def open(self, timeout_s: float) -> None:
        connector = aiohttp.TCPConnector(limit=32, keepalive_timeout=_IDLE_S)
        self._session = aiohttp.ClientSession(connector=connector, headers=_HEADERS)

    async def exchange(self, requests: Sequence[Request], timeout_s: float) -> Replies:
        if self._session is None or self.closed:
            raise RpcUnavailable(f"{self.describe(requests)}: not sent, the connection is closed")
        first_id, self._next_id = self._next_id, self._next_id + len(requests)
        payload = self.encode(first_id, requests)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(self.address.target, data=payload, allow_redirects=False) as response,
            ):
                body = await _bounded_body(response)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise RpcUnavailable(f"{self.describe(requests)}: {reason_of(error, timeout_s)}") from None
        return self._replies(requests, first_id, response, body)

    def _replies(
        self, requests: Sequence[Request], first_id: int, response: aiohttp.ClientResponse, body: bytes
    ) -> Replies:
        what = self.describe(requests)
        if response.status == 429:
            raise RpcRateLimited(f"{what}: HTTP 429, the endpoint asks for fewer requests", _retry_after_s(response))
        # some providers send JSON-RPC errors with status 400; a 5xx is a gateway's word, whatever its body
        if response.status >= 500 or (response.status != 200 and not body.lstrip().startswith((b"{", b"["))):
            retry_s = _retry_after_s(response)
            if response.status == 503 and retry_s is not None:
                raise RpcRateLimited(f"{what}: HTTP 503, asks to come back later", retry_s)
            raise RpcUnavailable(f"{what}: HTTP {response.status} {response.reason or ''}".rstrip())
        try:
            messages, batch = decode_messages(body)
        except RpcMalformed as error:
            raise RpcMalformed(f"{what}: {error}") from None
        if not batch and messages[0].error is not None:
            # one error for the whole message, its id null or the first one's
            return [messages[0]] * len(requests)
        by_id: dict[int | str | None, Message] = {message.id: message for message in messages}
        return [by_id.get(first_id + i) for i in range(len(requests))]

    async def close(self) -> None:
        self.closed = True
        if self._session is not None:
            await self._session.close()


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    if response.content_length is not None and response.content_length > MAX_MESSAGE_BYTES:
        raise ValueError(f"answer of {response.content_length} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    parts, size = [], 0
    async for part in response.content.iter_any():  # what was compressed is larger than its length said
        parts.append(part)
        size += len(part)
        if size > MAX_MESSAGE_BYTES:
            raise ValueError(f"an answer of over {MAX_MESSAGE_BYTES} bytes")
    return b"".join(parts)


def reason_of(error: BaseException, timeout_s: float | None = None) -> str:
    """Why a connection failed, in words that never hold the URL (aiohttp's own messages may, and it may be secret)."""
    match error:
        case TimeoutError():
            return f"no answer within {timeout_s:g} s" if timeout_s else "timed out"
        case aiohttp.WSServerHandshakeError(status=status) | aiohttp.ClientResponseError(status=status):
            return f"HTTP {status}"
        case aiohttp.ClientConnectorDNSError():
            return "the host name does not resolve"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "TLS failed: " + type(error).__name__
        case aiohttp.ServerDisconnectedError():
            return "the server disconnected"
        case aiohttp.ClientPayloadError():
            return "disconnected in the middle of the answer"
        case aiohttp.ClientOSError() | OSError() if error.errno is not None:
            return os.strerror(error.errno) if error.errno > 0 else type(error).__name__
        case ValueError() if not isinstance(error, aiohttp.ClientError):
            return str(error)
        case _:
            return type(error).__name__


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """Seconds of a Retry-After header: a number, or a date."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if not date.tzinfo:
            return None
        wait_s = (date - datetime.now(UTC)).total_seconds()
    return min(max(0.0, wait_s), LONGEST_WAIT_S)

"""JSON-RPC by POST to a relay or node that is not the one we follow, signed where that asks who is calling.

Each call is one attempt: nothing is ever sent again from here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from secrets import token_bytes
from typing import Any

import aiohttp
from coincurve import PrivateKey
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from yarl import URL

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed, RpcRateLimited, RpcRefused, RpcUnavailable
from keeper.core.secret import Secret

TIMEOUT_S = 3.0
"""Below the executor's own deadline, so that an answer, or its absence, is known within the block."""

LARGEST_ANSWER = 4 * 1024 * 1024
_SHOWN = 300
_LONGEST_WAIT_S = 3_600.0


class Identity:
    """The key by which a relay knows us again. It signs requests, never transactions, and should hold no money."""

    def __init__(self, key: Secret | None = None) -> None:
        """Without a key one is made up: anonymous, and another after every start. Raises ConfigError for no key."""
        try:
            self._key = PrivateKey(token_bytes(32) if key is None else bytes.fromhex(key.reveal().removeprefix("0x")))
        except ValueError:
            raise ConfigError("the relay identity is no private key; give 64 hex digits, with or without 0x") from None
        self.address: str = to_checksum_address(keccak(self._key.public_key.format(compressed=False)[1:])[-20:])

    def header(self, body: bytes) -> str:
        """Value of X-Flashbots-Signature: the address, and the EIP-191 signature of the body's hash as hex text."""
        said = b"0x" + keccak(body).hex().encode()
        digest = keccak(b"\x19Ethereum Signed Message:\n" + str(len(said)).encode() + said)
        signature = self._key.sign_recoverable(digest, hasher=None)
        return f"{self.address}:0x{signature[:64].hex()}{27 + signature[64]:02x}"


class Endpoint:
    """name: what errors call it; the URL may carry a token and is never repeated."""

    def __init__(self, name: str, url: Secret, identity: Identity | None = None) -> None:
        self.name = name
        self._url = url
        self._identity = identity
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Raises RpcRefused when it said no, RetryableError when nobody can know."""
        answer = self._read(await self._post(_request(1, method, params)))
        if isinstance(answer, KeeperError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Answers in the order of the requests; one that failed has its error in its place."""
        if len(requests) == 1:
            return [self._read(await self._post(_request(0, *requests[0])))]
        replies = await self._post([_request(number, *one) for number, one in enumerate(requests)])
        if isinstance(replies, Mapping):  # one error for all of them
            return [self._read(replies)] * len(requests)
        found = {reply.get("id"): reply for reply in replies if isinstance(reply, Mapping)}
        return [self._read(found.get(number)) for number in range(len(requests))]

    async def reach(self) -> str:
        """That something listens there. Raises ConfigError otherwise."""
        url = URL(self._url.reveal())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, writer = await asyncio.open_connection(url.host, url.port)
                writer.close()
        except (OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise ConfigError(f"{url.host}:{url.port} does not answer ({reason}); check the URL") from error
        return f"{url.scheme}://{url.host}:{url.port} answers"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, content: Any) -> Any:
        body = json.dumps(content, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        if self._identity is not None:
            headers["X-Flashbots-Signature"] = self._identity.header(body)
        try:
            async with self._open().post(
                URL(self._url.reveal()), data=body, headers=headers, allow_redirects=False
            ) as response:
                text = await response.content.read(LARGEST_ANSWER)
                return self._parse(response.status, response.headers.get("Retry-After", ""), text)
        except TimeoutError:
            raise RpcUnavailable(f"{self.name} gave no answer within {TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as error:  # their texts may quote the URL
            raise RpcUnavailable(f"{self.name}: the exchange failed ({type(error).__name__})") from None

    def _parse(self, status: int, retry_after: str, text: bytes) -> Any:
        if status == 429:
            digits = retry_after.isascii() and retry_after.isdigit()
            after = min(float(retry_after), _LONGEST_WAIT_S) if digits else None
            raise RpcRateLimited(f"{self.name} asks for fewer requests (429)", after)
        if status >= 500:
            raise RpcUnavailable(f"{self.name} answered {status}")
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, (Mapping, list)):
            return answer
        shown = text[:200].decode(errors="replace")
        if status >= 400:
            raise RpcRefused(f"{self.name} answered {status}: {shown}")
        raise RpcMalformed(f"{self.name} answered no JSON: {shown!r}")

    def _read(self, reply: Any) -> Any:
        """A result, or the error that a reply is."""
        if not isinstance(reply, Mapping):
            return RpcMalformed(f"{self.name} left a request unanswered")
        error = reply.get("error")
        if error is not None:
            message, code = (error.get("message"), error.get("code")) if isinstance(error, Mapping) else (error, None)
            said = f"{message}"[:_SHOWN] if isinstance(message, str | int | float) else "no message"
            return RpcRefused(f"{self.name}: {said}", code if isinstance(code, int) else None)
        if "result" not in reply:
            return RpcMalformed(f"{self.name} answered neither a result nor an error")
        return reply["result"]

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


def _request(number: int, method: str, params: Sequence[Any]) -> Mapping[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}

"""Notices as JSON by POST, signed, each with the id under which a receiver recognises a repetition.

The body follows from the notice alone, so a retry repeats it byte for byte; the timestamp, and with it the signature,
is new for every attempt, so that a receiver can refuse what is old.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from keeper.core.errors import ConfigError, NoticeDelayed, NoticeTooLong
from keeper.core.records import Notice
from keeper.core.secret import Secret
from keeper.core.types import Band

TIMEOUT_S = 10.0

_MAYBE_SEEN = (408, 425, 429)
"""Answers that blame the moment. With any other of 4xx a receiver says that it did not take what it was sent."""

_TOO_LARGE = 413


@dataclass(frozen=True)
class Options:
    url: Secret = field(metadata={"doc": "Where to POST.", "schemes": ("http", "https")})
    secret: Secret | None = field(
        default=None, metadata={"doc": "Key of the HMAC-SHA256 in `X-Keeper-Signature`; absent: no signature."}
    )


class WebhookChannel:
    """Delivered means answered by 2xx within 10 seconds. Everything else is worth another attempt later: what a
    receiver answers while it is being repaired must not lose a margin call."""

    def __init__(
        self, name: str, url: Secret, secret: Secret | None, min_band: Band, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self.min_band = min_band
        self._url = url
        self._secret = secret
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notice: Notice) -> None:
        body = encode(notice)
        try:
            async with self._open().post(
                URL(self._url.reveal()), data=body, headers=self._headers(notice.id, body), allow_redirects=False
            ) as response:
                self._judge(response)
        except aiohttp.ClientConnectorError as error:
            raise self._delayed(f"cannot connect ({error.os_error.strerror or error.os_error!r})", seen=False) from None
        except aiohttp.ConnectionTimeoutError:
            raise self._delayed(f"no connection within {TIMEOUT_S:.0f} s", seen=False) from None
        except TimeoutError:
            raise self._delayed(f"no answer within {TIMEOUT_S:.0f} s", seen=True) from None
        except aiohttp.ClientError as error:
            # The texts of these errors may quote the URL, which is a secret.
            raise self._delayed(f"the exchange broke off ({type(error).__name__})", seen=True) from None

    async def check(self) -> str:
        url = URL(self._url.reveal())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                context = ssl.create_default_context() if url.scheme == "https" else None
                _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
                writer.close()
        except (OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            where = f"notifier {self.name}: {url.host}:{url.port}"
            raise ConfigError(f"{where} does not answer ({reason}); check the URL and the receiver") from error
        return f"{url.scheme}://{url.host}:{url.port} answers, {'signed' if self._secret else 'unsigned'}"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _headers(self, notice_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": notice_id,
            "X-Keeper-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["X-Keeper-Signature"] = "sha256=" + sign(self._secret, timestamp, body)
        return headers

    def _judge(self, response: aiohttp.ClientResponse) -> None:
        if 200 <= response.status < 300:
            return
        answered = f"answered {response.status} {response.reason or ''}".rstrip()
        if response.status == _TOO_LARGE:
            raise NoticeTooLong(f"webhook {self.name}: {answered}", perhaps_seen=False)
        after = response.headers.get("Retry-After", "")
        raise self._delayed(
            answered,
            seen=not 400 <= response.status < 500 or response.status in _MAYBE_SEEN,
            retry_after_s=float(after) if after.isascii() and after.isdigit() else None,
        )

    def _delayed(self, what: str, *, seen: bool, retry_after_s: float | None = None) -> NoticeDelayed:
        return NoticeDelayed(f"webhook {self.name}: {what}", perhaps_seen=seen, retry_after_s=retry_after_s)


def encode(notice: Notice) -> bytes:
    """The request body: the notice's own fields and its texts, in one fixed order and spelling."""
    fields = {**notice.body, "text": notice.text, "markdown": notice.markdown, "html": notice.html}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(secret: Secret, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of timestamp + "." + body."""
    return hmac.new(secret.reveal().encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def build(config: Mapping[str, Any], name: str) -> WebhookChannel:
    return WebhookChannel(name, config["url"], config["secret"], config["min_band"])

"""The token of a link by which whoever is told acknowledges a call. Pure: a text, a secret and the time.

    k1.<episode>.<expires>.<mac>      mac: HMAC-SHA256 of what stands before it and the chain id, base64url, 128 bits

It allows one thing: acknowledging that episode on that chain. It follows from its contents alone, so that a retry of a
notice repeats the same link.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from keeper.core.errors import ConfigError
from keeper.core.secret import Secret

_VERSION = "k1"
_SHAPE = re.compile(r"k1\.([A-Za-z0-9_-]{1,80})\.(\d{1,12})\.([A-Za-z0-9_-]{22})")
_MAC_BYTES = 16
_LEAST_SECRET = 16


def make_token(secret: Secret, chain_id: int, episode: str, expires: int) -> str:
    """expires: unix seconds. Raises ValueError for an episode that cannot stand in a token."""
    token = f"{_VERSION}.{episode}.{expires}.{_mac(secret, chain_id, episode, expires)}"
    if _SHAPE.fullmatch(token) is None:
        raise ValueError(f"{episode!r} cannot stand in a token")
    return token


def is_token(text: str) -> bool:
    return text.startswith(f"{_VERSION}.")


def read_token(text: str, secret: Secret, chain_id: int, now: float) -> str:
    """The episode that a token acknowledges. Raises ConfigError when it is malformed, forged, or too old."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ConfigError("this is no acknowledgement token; copy the whole link, or use `keeper ack ID`")
    episode, expires, mac = found.group(1), int(found.group(2)), found.group(3)
    if not hmac.compare_digest(mac, _mac(secret, chain_id, episode, expires)):
        raise ConfigError("this token was not made with our secret for this chain; copy the whole link again")
    if now >= expires:
        raise ConfigError("this token has expired; use `keeper ack ID` with the id that `keeper calls --json` shows")
    return episode


def check_secret(secret: Secret) -> None:
    """Raises ValueError when it could be guessed."""
    if len(secret.reveal()) < _LEAST_SECRET:
        raise ValueError(f"is shorter than {_LEAST_SECRET} characters; make one with `openssl rand -hex 32`")


def _mac(secret: Secret, chain_id: int, episode: str, expires: int) -> str:
    said = f"keeper acknowledge {_VERSION} {chain_id} {episode} {expires}".encode()
    digest = hmac.new(secret.reveal().encode(), said, hashlib.sha256).digest()[:_MAC_BYTES]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

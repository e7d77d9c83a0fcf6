"""Where an endpoint is, and how to speak of it without telling its secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from keeper.core.errors import ConfigError


class Kind(Enum):
    WEBSOCKET = "websocket"
    HTTP = "http"
    IPC = "ipc"


_SCHEMES = {"ws": Kind.WEBSOCKET, "wss": Kind.WEBSOCKET, "http": Kind.HTTP, "https": Kind.HTTP}


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint.

    target: the URL or the socket's path, in full; may hold a credential, so it is kept out of repr.
    shown: what logs and messages may say: scheme and host only, since providers put keys in userinfo, path and query.
    """

    kind: Kind
    target: str = field(repr=False)
    shown: str


def parse_address(text: str) -> Address:
    """The address in a configured string: ws(s)://, http(s):// or the path of an IPC socket.

    Raises ConfigError, without repeating what may be secret, when it is neither.
    """
    if "://" not in text:
        if text.startswith(("/", "./", "../", "~")) or text.endswith(".ipc"):
            return Address(Kind.IPC, str(Path(text).expanduser()), text)
        raise ConfigError(
            f"rpc endpoint {_hint(text)} has no scheme; use ws(s)://, http(s):// or the path of an IPC socket"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError("rpc endpoint is not a valid URL (bad host or port); use e.g. wss://host:443/key") from None
    kind = _SCHEMES.get(parts.scheme.lower())
    if kind is None:
        raise ConfigError(f"rpc endpoint has the scheme {parts.scheme!r}; use ws, wss, http, https or an IPC path")
    if not parts.hostname:
        raise ConfigError(f"rpc endpoint {parts.scheme}:// names no host; write e.g. {parts.scheme}://127.0.0.1:8545")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(kind, text, f"{parts.scheme.lower()}://{host}" + (f":{port}" if port else ""))


def _hint(text: str) -> str:
    """Enough of a malformed address to find it in the configuration, too little to leak a key."""
    return repr(text[:4] + "…") if text else "(empty)"

"""`[web]`: where the web server listens, who may ask, and how much history it keeps."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, field_validator

from keeper.config.table import Table
from keeper.config.types import Problem, SecretText, Written, describe, shown
from keeper.core.secret import AbsentSecret, Secret

LEAST_TOKEN = 16
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Listen(NamedTuple):
    """An address of this machine. host: without the brackets of IPv6. port: 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody on another machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_listen(value: object) -> Listen:
    """Raises Problem."""
    if not isinstance(value, str):
        raise Problem(f'an address to listen at is text such as "127.0.0.1:8080", not {describe(value)}')
    host, colon, port = value.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise Problem(f'{shown(value)} is no address to listen at; write host:port, such as "127.0.0.1:8080"')
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if _HOST.fullmatch(host) is None:
            raise Problem(f"{shown(value)} names no host; write an IP address, or a name such as localhost") from None
    return Listen(host, int(port))


ListenText = Annotated[
    Listen,
    PlainValidator(parse_listen),
    PlainSerializer(str, return_type=str),
    Written("address", lambda value: f'"{value}"'),
]


class Web(Table):
    """The web server reads the store beside the daemon; see docs/web.md."""

    listen: ListenText = Field(
        Listen("127.0.0.1", 8080), description="Where `keeper web` listens. Beyond this machine only with a token."
    )
    token: SecretText | None = Field(
        None,
        description="Who asks must give it, as a bearer or at the login; at least 16 characters. Without one only this "
        "machine may ask, and nothing can be acknowledged.",
    )
    hosts: tuple[str, ...] = Field(
        (), description="Names under which it is reached besides localhost and IP addresses, as behind a proxy."
    )
    max_clients: int = Field(500, ge=1, le=10_000, description="Most who listen to live events at once.")
    history_minutes: float = Field(15.0, ge=0.1, le=1_440, description="How often healths are kept for charts.")
    history_days: float = Field(14.0, gt=0, le=3_650, description="How long they are kept.")
    history_positions: int = Field(
        500, ge=0, le=100_000, description="Of how many, those nearest to liquidation; every open call besides."
    )

    @field_validator("token")
    @classmethod
    def _strong(cls, token: Secret | None) -> Secret | None:
        if token is not None and not isinstance(token, AbsentSecret) and len(token.reveal()) < LEAST_TOKEN:
            raise Problem(f"is shorter than {LEAST_TOKEN} characters; make one with `openssl rand -hex 32`")
        return token

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if _HOST.fullmatch(host) is None:
                raise Problem(f"{shown(host)} is no host name; write it without scheme, port or path")
        return tuple(host.lower() for host in hosts)

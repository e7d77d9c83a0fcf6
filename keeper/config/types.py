"""How values are written in a configuration file, and what they become.

    "0x…" address         bytes (20)      checksum verified when the letters are of mixed case
    "1.25" decimal        int (wad), int (wei) or Decimal; never a TOML float, which is not exact
    "env:NAME" secret     Secret          read from the environment, or from a `.env` file
    URL                   Secret          may carry a token, so it is a secret as well

Validators raise `Problem` with what is wrong and the remedy; none repeats a secret's text.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from string import hexdigits
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from keeper.core.ownership import permission_wanted
from keeper.core.records import NoticeEvent
from keeper.core.secret import MASK, AbsentSecret, Secret
from keeper.core.types import Band
from keeper.core.units import format_units, scale_decimal
from keeper.notifier import quiet
from keeper.notifier.quiet import Hours

T = TypeVar("T")

NODE_SCHEMES = ("ws", "wss", "http", "https")
WEB_SCHEMES = ("http", "https")


class Problem(ValueError):
    """What is wrong with one value, and the remedy. A ValueError, so that pydantic collects all of them."""


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from: what relative paths and "env:NAME" refer to."""

    folder: Path
    environment: Mapping[str, str]
    for_asking: bool = False
    """Whether a variable that is not set is an error only where it is used (`AbsentSecret`)."""


def _origin(info: ValidationInfo) -> Origin:
    if not isinstance(info.context, Origin):
        raise TypeError("configuration models are validated by load_config, which knows the folder and environment")
    return info.context


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Problem(f"{what} is text in quotes, not {describe(value)}")
    if not value.strip():
        raise Problem(f"{what} is empty; give a value or remove the key")
    return value


def shown(text: str) -> str:
    """A text in quotes, for messages; not what looks like a private key, which ends up in the wrong place too."""
    digits = text.removeprefix("0x")
    return MASK if len(digits) >= 64 and all(digit in hexdigits for digit in digits) else repr(text)


def describe(value: object) -> str:
    """A TOML value in words, for messages."""
    names: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number with a point", str: "text"}
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and value > 2**128:
        return "a whole number"
    written = shown(value) if isinstance(value, str) else repr(value)
    return f"{names[type(value)]} ({written})" if type(value) in names else f"a {type(value).__name__}"


def at_least_one(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise Problem("is empty; give at least one")
    return values


# --- text -------------------------------------------------------------------------------------------------------------


def resolve(value: object, info: ValidationInfo) -> Secret:
    """The text itself, or for "env:NAME" the variable's, which may be absent where the configuration is only asked."""
    try:
        return _resolved(value, info)
    except _Unset as problem:
        if _origin(info).for_asking:
            return AbsentSecret(str(problem))
        raise


class _Unset(Problem):
    """A variable that is referred to."""


def _resolved(value: object, info: ValidationInfo) -> Secret:
    if not isinstance(value, str):  # a key typed as a bare number is a key all the same: not repeated
        raise Problem('is no text; write it in quotes, best as "env:NAME"')
    text = _text(value, "a secret")
    if not text.startswith("env:"):
        return Secret(text, is_written=True)
    name = text.removeprefix("env:")
    found = _origin(info).environment.get(name)
    if not found:
        state = "not set" if found is None else "empty"
        raise _Unset(f"environment variable {name} is {state}; export it or put it in a .env file beside this file")
    return Secret(found)


def url_of(schemes: tuple[str, ...], *, or_ipc_path: bool = False) -> Callable[[object, ValidationInfo], Secret]:
    """A validator for a URL of one of these schemes. The message shows the scheme and nothing after it."""

    def parse(value: object, info: ValidationInfo) -> Secret:
        secret = resolve(value, info)
        if isinstance(secret, AbsentSecret):
            return secret
        scheme, separator, rest = secret.reveal().partition("://")
        if not separator:
            if or_ipc_path and (scheme.startswith("/") or scheme.endswith(".ipc")):
                return Secret(str(_origin(info).folder / scheme))
            expected = " or ".join(f"{s}://" for s in schemes) + (
                ", or the path of an IPC socket" if or_ipc_path else ""
            )
            raise Problem(f"is no URL; expected {expected}")
        if scheme.lower() not in schemes:
            raise Problem(f"has scheme {scheme!r}; supported are {', '.join(schemes)}")
        try:
            parts = urlsplit(secret.reveal())
            host, _ = parts.hostname, parts.port  # .port raises when it is out of range or no number
        except ValueError:
            raise Problem("is a malformed URL; check host and port") from None
        if not rest or not host:
            raise Problem(f"has no host after {scheme}://")
        return secret

    return parse


def parse_store_url(value: object, info: ValidationInfo) -> Secret:
    """A database URL; a relative SQLite path is relative to the configuration file."""
    secret = _resolved(value, info)
    scheme, separator, rest = secret.reveal().partition("://")
    if not separator or scheme.split("+")[0] not in ("sqlite", "postgresql"):
        raise Problem("is no database URL; expected sqlite:///path/to/file.db or postgresql://user@host/name")
    if not scheme.startswith("sqlite"):
        return secret
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path:
        raise Problem("names no file; expected sqlite:///relative/path.db or sqlite:////absolute/path.db")
    return Secret(f"{scheme}:///{_origin(info).folder / path}")


def parse_path(value: object, info: ValidationInfo) -> Path:
    path = _origin(info).folder / Path(_text(value, "a path")).expanduser()
    try:
        is_file = path.is_file()
    except OSError as error:
        raise Problem(f"{shown(str(value))} cannot be read ({error.strerror}); {permission_wanted(path)}") from None
    if not is_file:
        raise Problem(f"{shown(str(value))} is no file; a relative path is relative to the configuration file")
    return path


def parse_new_path(value: object, info: ValidationInfo) -> Path:
    """A file that need not exist."""
    return _origin(info).folder / Path(_text(value, "a path")).expanduser()


# --- chain values -----------------------------------------------------------------------------------------------------


def parse_address(value: object) -> bytes:
    text = _text(value, "an address")
    digits = text.removeprefix("0x")
    try:
        address = bytes.fromhex(digits)
    except ValueError:
        address = b""
    if not text.startswith("0x") or len(digits) != 40 or len(address) != 20:
        raise Problem(f"{shown(text)} is no address; expected 0x and 40 hex digits")
    if digits not in (digits.lower(), digits.upper()):
        from keeper.protocols.addresses import checksummed

        if checksummed(address) != text:
            raise Problem(
                f"{text!r} has a wrong checksum; copy it again, or write it in lower case if it is surely right"
            )
    return address


def parse_finality(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if value in ("finalized", "safe"):
        return str(value)
    raise Problem(f'expected "finalized", "safe" or a number of confirmations of at least 1, not {describe(value)}')


def parse_hours(value: object) -> Hours:
    try:
        return quiet.parse_hours(_text(value, "hours"))
    except ValueError as error:
        raise Problem(str(error)) from None


def parse_zone(value: object) -> ZoneInfo:
    try:
        return quiet.parse_zone(_text(value, "a time zone"))
    except ValueError as error:
        raise Problem(str(error)) from None


def parse_event(value: object) -> NoticeEvent:
    known = [event.value for event in NoticeEvent if event is not NoticeEvent.SUMMARY]
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise Problem(f"{describe(value)} is no event; {hint}")
    return NoticeEvent(value)


def parse_band(value: object) -> Band:
    names = [band.label for band in Band if band is not Band.SAFE]
    if not isinstance(value, str) or value not in names:
        raise Problem(f"expected one of {', '.join(names)}, not {describe(value)}")
    return Band[value.upper()]


# --- exact decimals ---------------------------------------------------------------------------------------------------


def scaled(decimals: int) -> Callable[[object], int]:
    """A validator for a non-negative decimal string, as an integer with this many digits after the point."""

    def parse(value: object) -> int:
        return scale_decimal(_decimal_text(value), decimals)

    return parse


def parse_decimal(value: object) -> Decimal:
    text = _decimal_text(value)
    scale_decimal(text, 36)  # refuses what is not finite; the constructor itself is exact
    return Decimal(text)


def _decimal_text(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise Problem('is a bare number; write it in quotes, such as "1.25", so that it stays exact')
    text = _text(value, "a decimal number")
    if shown(text) == MASK:
        raise Problem("is no decimal number")
    if text.startswith("-"):
        raise Problem(f"{text!r} is negative")
    return text


# --- as annotations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """How a value is written in the file: the name of its notation, and a value in it."""

    notation: str
    show: Callable[[Any], str] = repr


_MASKED = PlainSerializer(lambda _: MASK, return_type=str)


def _decimal(decimals: int) -> Written:
    return Written("decimal string", lambda value: f'"{format_units(value, decimals)}"')


SecretText = Annotated[Secret, PlainValidator(resolve), _MASKED, Written("secret")]
NodeUrl = Annotated[Secret, PlainValidator(url_of(NODE_SCHEMES, or_ipc_path=True)), _MASKED, Written("URL")]
StoreUrl = Annotated[Secret, PlainValidator(parse_store_url), _MASKED, Written("URL")]
Wad = Annotated[int, PlainValidator(scaled(18)), _decimal(18)]
Gwei = Annotated[int, PlainValidator(scaled(9)), _decimal(9)]
Address = Annotated[
    bytes,
    PlainValidator(parse_address),
    PlainSerializer(lambda value: f"0x{value.hex()}", return_type=str),
    Written("address", lambda value: f'"0x{value.hex()}"'),
]
Bps = Annotated[int, PlainValidator(scaled(4)), _decimal(4)]
NewPath = Annotated[Path, PlainValidator(parse_new_path), Written("path")]
FilePath = Annotated[Path, PlainValidator(parse_path), Written("path")]
Finality = Annotated[str | int, PlainValidator(parse_finality), Written("tag or integer", lambda value: f'"{value}"')]
HoursText = Annotated[
    Hours,
    PlainValidator(parse_hours),
    Written("hours", lambda value: f'"{value.start:%H:%M}-{value.end:%H:%M}"'),
]
ZoneName = Annotated[
    ZoneInfo, PlainValidator(parse_zone), PlainSerializer(str), Written("time zone", lambda value: f'"{value}"')
]
EventName = Annotated[NoticeEvent, PlainValidator(parse_event), Written("event", lambda value: f'"{value.value}"')]
BandName = Annotated[Band, PlainValidator(parse_band), Written("band", lambda value: f'"{value.label}"')]
Amount = Annotated[
    Decimal, PlainValidator(parse_decimal), PlainSerializer(str), Written("decimal string", lambda value: f'"{value}"')
]

_BY_PLAIN_TYPE: Mapping[Any, Any] = {
    bytes: Address,
    Secret: SecretText,
    Decimal: Amount,
    Band: BandName,
    Path: FilePath,
}


def annotated(hint: Any, schemes: tuple[str, ...] = ()) -> Any:
    """The annotation that validates a plain type: bytes are an address, Secret may be "env:NAME", and so on.

    schemes: for a Secret that is a URL, the schemes it may have.
    """
    if schemes and hint is Secret:
        return Annotated[Secret, PlainValidator(url_of(schemes)), _MASKED, Written("URL")]
    if hint in _BY_PLAIN_TYPE:
        return _BY_PLAIN_TYPE[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is None or hint is Ellipsis:
        return hint
    inner = tuple(annotated(argument, schemes) for argument in arguments)
    return Union[inner] if origin in (Union, UnionType) else origin[inner]  # noqa: UP007 - built at run time

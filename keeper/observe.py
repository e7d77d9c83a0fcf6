"""Logs: past-tense events with keys, on stderr, for a person or as JSON; nothing registered as secret gets through.

    configure("json", verbose=False)
    hide(config.secrets())
    structlog.get_logger().info("margin_call_sent", position=…, health_wad=…, block=…)

Masking is done on the finished line, so it also covers tracebacks and what libraries log. `Secret` already hides
itself; this is the second wall, for copies that a library made.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from keeper.core.secret import MASK, Secret

LogFormat = Literal["console", "json"]

SHORTEST = 6
"""Shorter texts are not masked: they would tear holes into unrelated words and numbers."""

_WEB = ("http", "https", "ws", "wss")
_ORIGIN = re.compile(r"(?:https?|wss?)://[^/\s@?#]+/?")
_USERINFO = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


class Redactor:
    """Replaces registered secrets by `***` in any text."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[Secret]) -> None:
        for secret in secrets:
            for form in _forms(secret.reveal()):
                self._known.update(text for text in (form, _quoted(form), repr(form)[1:-1]) if len(text) >= SHORTEST)
        longest_first = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if longest_first else None

    def __call__(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return _USERINFO.sub(MASK, text)


def _forms(text: str) -> Iterator[str]:
    """How a secret may show up: as it is, a key without 0x and as a number, the telling parts of a URL."""
    if _ORIGIN.fullmatch(text):
        return  # nothing but a host: the logs may say which
    yield text
    digits = text.removeprefix("0x")
    if len(digits) == 64 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        yield digits
        yield str(int(digits, 16))
    if "://" not in text:
        return
    try:
        url = urlsplit(text)
    except ValueError:
        return
    if url.password:
        yield from (url.password, unquote(url.password))
    if url.scheme not in _WEB and not url.scheme.startswith("sqlite"):
        yield url.netloc  # apprise puts tokens where a host would be
    parts = [part for part in url.path.split("/") if len(part) >= 12]
    for part in (*parts, *(value for _, value in parse_qsl(url.query) if len(value) >= 8)):
        if not url.scheme.startswith("sqlite"):
            yield from (part, unquote(part))


def tells(secret: Secret) -> bool:
    """Whether it is more than an address: of a URL, whether there is a password or a token in it."""
    text = secret.reveal()
    return "://" not in text or any(form != text for form in _forms(text))


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


_redact = Redactor()


def hide(secrets: Iterable[Secret]) -> None:
    """Register secrets of this process; from now on no log line shows them."""
    _redact.add(secrets)


def redact(text: str) -> str:
    """A text without the secrets of this process, for output that is no log: errors of commands, stored error texts."""
    return _redact(text)


def configure(log_format: LogFormat = "console", *, verbose: bool = False) -> None:
    """Send all logs, also those of libraries through `logging`, to stderr in one format. Idempotent."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(log_format)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("keeper").setLevel(logging.DEBUG if verbose else logging.INFO)
    for chatty in ("apscheduler", "apprise", "web3", "aiohttp.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.INFO if verbose else logging.WARNING)


def quieten(package: str) -> None:
    """From now on only warnings of it: for what is not to be mistaken for something that happens on a real chain."""
    logging.getLogger(package).setLevel(logging.WARNING)


def _render(log_format: LogFormat) -> list[Processor]:
    if log_format == "json":
        return [
            structlog.processors.format_exc_info,
            _hex_bytes,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            _mask,
        ]
    return [_hex_bytes, structlog.dev.ConsoleRenderer(colors=_wants_colors()), _mask]


def _wants_colors() -> bool:
    """A terminal, unless NO_COLOR (no-color.org) or a terminal that has none says otherwise."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _hex_bytes(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Addresses and hashes are bytes inside; people and machines read them as 0x…"""
    return {key: "0x" + value.hex() if isinstance(value, bytes) else value for key, value in event.items()}


def _mask(_: WrappedLogger, __: str, line: str | bytes | EventDict) -> str:
    return _redact(line if isinstance(line, str) else str(line))

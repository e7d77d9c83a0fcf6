"""Who may ask, before anything else looks at a request.

host       a name that we do not know is refused: DNS rebinding makes a browser send a stranger's pages here
token      where one is configured, all but the login, its looks and the two health checks need it: as a bearer, or as
           the session that the login opened
forgery    what changes something must come from our own pages (Origin, Sec-Fetch-Site), and from a session also with
           its X-CSRF-Token; a bearer is no cookie and needs none
size       a body is small
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keeper.core.secret import Secret
from keeper.web.problems import Problem

log = structlog.get_logger(__name__)

COOKIE = "keeper_session"
SESSION_S = 12 * 3600
MOST_BODY_BYTES = 16 * 1024
MANY_FAILURES = 10
"""More wrong tokens than this in a minute are told of."""

_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/login", "/healthz", "/readyz", "/ack/")
_LOOKS = "/assets/"
_PAGES = ("/api/", "/metrics", "/openapi.json", "/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks. by: bearer, session, or None where no token was given. session: its text. trusted: may read."""

    by: str | None
    trusted: bool
    session: str | None = None


class Keys:
    """What the token proves: bearers, sessions and their anti-forgery tokens. Stateless: a restart ends no session."""

    def __init__(self, token: Secret | None, clock: Callable[[], float]) -> None:
        self._token = None if token is None else token.reveal().encode()
        self._clock = clock
        self._failures: list[float] = []
        self._told_at = float("-inf")

    @property
    def needed(self) -> bool:
        return self._token is not None

    def is_token(self, text: str) -> bool:
        """Whether it is the token, in a time that tells nothing. Who guesses often is told of, and locks nobody out:
        that nobody guesses it is for its length to see to."""
        # Digests, since comparing texts of different lengths tells the length.
        if self._token is not None and hmac.compare_digest(_digest(text.encode()), _digest(self._token)):
            return True
        now = self._clock()
        self._failures = [at for at in self._failures[-MANY_FAILURES:] if now - at < 60]
        self._failures.append(now)
        if len(self._failures) > MANY_FAILURES and now - self._told_at >= 60:
            self._told_at = now
            log.warning("web_tokens_guessed", in_a_minute=len(self._failures), remedy="see who can reach this server")
        return False

    def open_session(self) -> str:
        expires = int(self._clock()) + SESSION_S
        return f"{expires}.{self._mac(f'session {expires}')}"

    def is_session(self, text: str) -> bool:
        expires, _, mac = text.partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) < 13) or self._token is None:
            return False
        right = hmac.compare_digest(mac.encode(), self._mac(f"session {expires}").encode())
        return right and self._clock() < int(expires)

    def csrf(self, session: str) -> str:
        return self._mac(f"csrf {session}")

    def is_csrf(self, session: str, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.csrf(session).encode())

    def _mac(self, said: str) -> str:
        assert self._token is not None
        return hmac.new(self._token, f"keeper web {said}".encode(), hashlib.sha256).hexdigest()


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


class Gate:
    """hosts: names besides localhost and IP addresses, lower case."""

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._hosts = frozenset((*hosts, "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # a websocket is not answered, which closes it
        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            who = self._who(headers)
            refusal = self._refuse(scope, headers, who)
        except Problem as problem:
            refusal = problem.response()
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["who"] = who
        await self._app(scope, _bounded(receive), send)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        name = _netloc_of(f"//{given[0]}")[1] if len(given) == 1 and _is_plain(given[0]) else None
        if name is None or not (name in self._hosts or _is_ip(name)):
            raise Problem(
                421,
                "this server is not known by that name",
                value=",".join(given),
                limit=sorted(self._hosts),
                remedy="ask by IP address or localhost, or add the name to hosts in [web]",
            )

    def _who(self, headers: Headers) -> Who:
        if not self._keys.needed:
            return Who(None, trusted=True)
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return Who("bearer", trusted=True) if self._keys.is_token(text.strip()) else Who(None, trusted=False)
        session = _cookie(headers.get("cookie", ""))
        if session is not None and self._keys.is_session(session):
            return Who("session", trusted=True, session=session)
        return Who(None, trusted=False)

    def _refuse(self, scope: Scope, headers: Headers, who: Who) -> Response | None:
        path, method = scope["path"], scope["method"]
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 12) or int(length) > MOST_BODY_BYTES:
            raise Problem(413, "the body is too large", value=length, limit=MOST_BODY_BYTES, remedy="send less")
        if method not in _SAFE:
            self._check_origin(headers)
        if who.trusted or path.startswith(_LOOKS) or any(path == one or _under(path, one) for one in _OPEN):
            return None
        wants_page = method in _SAFE and not path.startswith(_PAGES) and "text/html" in headers.get("accept", "")
        if wants_page:
            return RedirectResponse(f"/login?next={quote(path, safe='/')}", 303)
        raise Problem(
            401,
            "a token is needed",
            remedy="send it as `Authorization: Bearer …`, or log in at /login",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _check_origin(self, headers: Headers) -> None:
        """A browser says where a request comes from; who says nothing is no browser."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = site is not None and site not in ("same-origin", "none")
        if origin is not None and _netloc_of(origin)[0] != headers.get("host", "").lower():
            foreign = True
        if foreign:
            raise Problem(403, "this came from another site's page", value=origin, remedy="use our own pages")


def _under(path: str, prefix: str) -> bool:
    return prefix.endswith("/") and path.startswith(prefix)


def _netloc_of(url: str) -> tuple[str, str | None]:
    """Where it leads, with and without the port, in lower case; nowhere for what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.netloc.lower(), parts.hostname
    except ValueError:
        return "", None


def _is_plain(host: str) -> bool:
    return host.isascii() and not any(char in host for char in "/\\@?#, ")


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookie(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _bounded(receive: Receive) -> Receive:
    """Whatever a length said, no more than so many bytes are taken."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY_BYTES:
            raise Problem(413, "the body is too large", limit=MOST_BODY_BYTES, remedy="send less")
        return message

    return bounded

"""Who may ask the web server, and what may be changed: through the whole application, over an empty source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from keeper.core.secret import Secret
from keeper.web.app import Settings, create_app
from keeper.web.gate import COOKIE, MANY_FAILURES, MOST_BODY_BYTES, SESSION_S
from keeper.web.problems import Problem
from tests.support.asgi import Client, running

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LINK = "k1.a-good-link"


class Nothing:
    """A source without a position; it remembers who acknowledged what."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda **asked: {"asked": name, **asked}

    def look(self) -> Sequence[tuple[str, Any]]:
        return []

    def version(self) -> str:
        return "aa-1"

    def position(self, position_id: str) -> None:
        return None

    def readiness(self) -> Mapping[str, Any]:
        return {"ready": False, "checks": [{"check": "head", "ok": False, "detail": "far behind"}]}

    def invited(self, token: str) -> Mapping[str, str]:
        if token != LINK:
            raise Problem(403, "this token was not made with our secret")
        return {"episode": "e1", "title": "<b>call</b> of 0xabc"}

    def acknowledge(self, call: str, by: str) -> Mapping[str, str]:
        self.acknowledged.append((call, by))
        return {"acknowledged": call, "by": by, "request": "1"}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source() -> Nothing:
    return Nothing()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_server(source: Nothing) -> Iterator[Client]:
    """Without a token."""
    app = create_app(source, Settings(hosts=("keeper.example",)))
    with running(app, "127.0.0.1:8080") as client:
        yield client


@pytest.fixture
def server(source: Nothing, clock: Clock) -> Iterator[Client]:
    """With a token."""
    app = create_app(source, Settings(token=Secret(TOKEN)), clock)
    with running(app, "127.0.0.1:8080") as client:
        yield client


def log_in(server: Client) -> str:
    """The session's anti-forgery token."""
    answer = server.post("/login", data={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return str(server.get("/api/v1/session").json()["csrf"])


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "keeper.example", "10.0.0.7"]
)
def test_it_answers_to_its_own_names_and_to_addresses(open_server: Client, host: str):
    assert open_server.get("/api/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "", "a/b", "user@localhost"]
)
def test_another_name_is_refused_whoever_asks(open_server: Client, host: str):
    """A page of a stranger whose name was rebound to this machine reads nothing, not even whether we live."""
    for path in ("/api/v1/status", "/healthz", "/metrics"):
        said = open_server.get(path, headers={"Host": host})
        assert said.status_code == 421
        assert said.json()["remedy"]


# --- reading ----------------------------------------------------------------------------------------------------------

PROTECTED = (
    "/api/v1/status",
    "/api/v1/positions",
    "/api/v1/events",
    "/metrics",
    "/openapi.json",
    "/api/v1/session",
    "/x",
)


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Cookie": f"{COOKIE}=9999999999.00"},
        {"Cookie": f"{COOKIE}={TOKEN}"},
    ],
)
def test_without_the_token_nothing_is_told(server: Client, path: str, headers: dict[str, str]):
    said = server.get(path, headers=headers)
    assert (said.status_code, said.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in said.text


def test_with_the_token_everything_is_told(server: Client):
    assert server.get("/api/v1/status", headers=BEARER).json() == {"asked": "status"}
    assert server.get("/api/v1/session", headers=BEARER).json()["may_acknowledge"] is True


def test_that_it_lives_is_told_to_anybody_and_why_it_is_not_ready_is_not(server: Client):
    assert server.get("/healthz").json() == {"alive": True}
    assert (server.get("/readyz").status_code, server.get("/readyz").json()) == (503, {"ready": False})
    assert server.get("/readyz", headers=BEARER).json()["checks"][0]["detail"] == "far behind"


def test_a_person_who_wants_a_page_is_sent_to_the_login_and_back(server: Client):
    said = server.get("/positions", headers={"Accept": "text/html"})
    assert (said.status_code, said.headers["location"]) == (303, "/login?next=/positions")
    assert 'value="/positions"' in server.get("/login?next=/positions").text


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/\r\nX: y"]
)
def test_the_login_leads_nowhere_else(server: Client, elsewhere: str):
    assert server.post("/login", data={"token": TOKEN, "next": elsewhere}).headers["location"] == "/"


def test_a_session_ends_by_itself_and_cannot_be_prolonged(server: Client, clock: Clock):
    log_in(server)
    session = server.cookies[COOKIE]
    assert server.get("/api/v1/status").status_code == 200
    expires, _, mac = session.partition(".")
    later = f"{int(expires) + 1}.{mac}"
    server.cookies.clear()
    assert server.get("/api/v1/status", headers={"Cookie": f"{COOKIE}={later}"}).status_code == 401
    clock.now += SESSION_S
    assert server.get("/api/v1/status", headers={"Cookie": f"{COOKIE}={session}"}).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(server: Client):
    cookie = server.post("/login", data={"token": TOKEN}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie


def test_who_guesses_is_told_of_once_and_locks_nobody_out(server: Client):
    with capture_logs() as logs:
        for _ in range(3 * MANY_FAILURES):
            assert server.post("/login", data={"token": "guess"}).status_code == 401
        assert server.get("/api/v1/status", headers={"Authorization": "Bearer guess"}).status_code == 401
    (line,) = logs
    assert line["event"] == "web_tokens_guessed"
    assert "guess" not in line.values()
    assert server.get("/api/v1/status", headers=BEARER).status_code == 200


# --- changing ---------------------------------------------------------------------------------------------------------

ACK = "/api/v1/calls/e1/acknowledge"


def test_nothing_is_changed_where_no_token_is_configured(open_server: Client, source: Nothing):
    said = open_server.post(ACK)
    assert (said.status_code, source.acknowledged) == (403, [])
    assert "token" in said.json()["remedy"]


def test_a_bearer_acknowledges(server: Client, source: Nothing):
    assert server.post(ACK, headers=BEARER).status_code == 202
    assert source.acknowledged == [("e1", "the web (bearer)")]


def test_a_session_acknowledges_only_with_its_own_proof_that_it_is_no_forgery(server: Client, source: Nothing):
    csrf = log_in(server)
    for wrong in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": csrf[:-1]}):
        assert server.post(ACK, headers=wrong).status_code == 403
    assert source.acknowledged == []
    assert server.post(ACK, headers={"X-CSRF-Token": csrf}).status_code == 202
    assert source.acknowledged == [("e1", "the web (session)")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", [ACK, f"/ack/{LINK}", "/login", "/logout"])
def test_another_sites_page_changes_nothing(server: Client, source: Nothing, path: str, headers: dict[str, str]):
    csrf = log_in(server)
    said = server.post(path, headers={**headers, "X-CSRF-Token": csrf}, data={"csrf": csrf, "token": TOKEN})
    assert (said.status_code, source.acknowledged) == (403, [])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_no_other_method_changes_anything(server: Client, source: Nothing, method: str):
    assert server.request(method, ACK, headers=BEARER).status_code == 405
    assert source.acknowledged == []


def test_a_body_is_small(server: Client, source: Nothing):
    said = server.post(ACK, headers=BEARER, content=b"x" * (MOST_BODY_BYTES + 1))
    assert (said.status_code, said.json()["limit"]) == (413, MOST_BODY_BYTES)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"token=" + b"x" * 1024

    assert server.post("/login", content=endless()).status_code == 413  # without a length that could be believed


def test_a_form_has_few_fields(server: Client):
    assert server.post("/login", data={f"f{number}": "x" for number in range(40)}).status_code == 400


def test_a_logout_forgets_the_session(server: Client):
    csrf = log_in(server)
    assert server.post("/logout").status_code == 403
    assert server.post("/logout", data={"csrf": csrf}).headers["location"] == "/login"
    assert COOKIE not in server.cookies


# --- the link of a notice ---------------------------------------------------------------------------------------------


def test_a_link_acknowledges_once_its_button_is_pressed_and_not_by_being_looked_at(server: Client, source: Nothing):
    """Its owner has no token of ours and needs none; chats that preview links look at every one."""
    shown = server.get(f"/ack/{LINK}")
    assert (shown.status_code, source.acknowledged) == (200, [])
    assert "&lt;b&gt;call&lt;/b&gt;" in shown.text
    assert server.post(f"/ack/{LINK}").status_code == 202
    assert source.acknowledged == [(LINK, "a link")]


def test_a_link_that_was_not_made_by_us_does_nothing(server: Client, source: Nothing):
    for method in ("GET", "POST"):
        assert server.request(method, "/ack/k1.forged").status_code == 403
    assert source.acknowledged == []


# --- what every answer carries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/status", "/nothing", "/login", "/api/v1/positions?limit=0", f"/ack/{LINK}"])
def test_every_answer_tells_browsers_to_do_nothing_else_with_it(server: Client, path: str):
    headers = server.get(path, headers=BEARER).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "private, no-cache")
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/api/v1/positions?limit=1001", "1001"),
        ("/api/v1/positions?limit=-1", "-1"),
        ("/api/v1/positions?sort=luck", "luck"),
        ("/api/v1/positions?band=calm", "calm"),
        ("/api/v1/positions?account=0x12", "0x12"),
        ("/api/v1/positions?limmit=3", "limmit"),
        ("/api/v1/positions?limit=3&limit=4", "4"),
        ("/api/v1/calls?status=lost", "lost"),
        ("/api/v1/positions/aave", "aave"),
        ("/api/v1/positions/aave:0x12", "aave:0x12"),
        ("/api/v1/positions/%3Cscript%3E", "<script>"),
        ("/api/v1/status?x=1", "x"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value_the_limit_and_the_remedy(open_server: Client, path: str, wrong: str):
    said = open_server.get(path)
    assert (said.status_code, said.headers["content-type"]) == (400, "application/problem+json")
    problem = said.json()
    assert problem["value"] == wrong
    assert problem["limit"]
    assert problem["remedy"]


def test_what_nobody_knows_of_is_no_answer(open_server: Client):
    name = "aave:0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert open_server.get(f"/api/v1/positions/{name}").status_code == 404
    assert open_server.get("/api/v2/positions").json()["remedy"] == "see /api/v1/openapi.json"

"""The login, and the page behind the link of a notice: two plain forms, without scripts."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from keeper.web.gate import COOKIE, SESSION_S, Keys, Who
from keeper.web.problems import Problem
from keeper.web.reading import Reading


def login_routes(reading: Reading, keys: Keys) -> list[Route]:
    async def form(request: Request) -> Response:
        if not keys.needed:
            return RedirectResponse("/", 303)
        return _login(_inside(request.query_params.get("next", "/")))

    async def login(request: Request) -> Response:
        given = await _fields(request)
        following = _inside(given.get("next", "/"))
        if not (keys.needed and keys.is_token(given.get("token", ""))):
            return _login(following, "That is not the token.", 401)
        answer = RedirectResponse(following, 303)
        answer.set_cookie(
            COOKIE,
            keys.open_session(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(request: Request) -> Response:
        who: Who = request.state.who
        if who.session is not None and not keys.is_csrf(who.session, (await _fields(request)).get("csrf", "")):
            raise Problem(403, "the anti-forgery token is missing or wrong", remedy="use the button on the page")
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    async def invited(request: Request) -> Response:
        """What the link of a notice acknowledges. Only looking changes nothing: programs that preview links look."""
        token = request.path_params["token"]
        try:
            said = await reading.invited(token)
        except Problem as problem:
            return _page("Acknowledge", f"<p role=alert>{escape(problem.detail)}.</p>", problem.status)
        return _page(
            "Acknowledge this margin call",
            f"<p>{escape(said['title'])}</p><p>Nobody else will be told of it while it is no worse.</p>"
            '<form method="post"><button type="submit">Acknowledge</button></form>',
        )

    async def accept(request: Request) -> Response:
        token = request.path_params["token"]
        try:
            said = await reading.invited(token)  # the token proves itself: its owner need not log in
            await reading.acknowledge(token, "a link")
        except Problem as problem:
            return _page("Acknowledge", f"<p role=alert>{escape(problem.detail)}.</p>", problem.status)
        return _page("Acknowledged", f"<p>{escape(said['title'])}</p><p>The daemon takes it within a second.</p>", 202)

    return [
        Route("/login", form, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/ack/{token}", invited, methods=["GET"]),
        Route("/ack/{token}", accept, methods=["POST"]),
    ]


async def _fields(request: Request) -> dict[str, str]:
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, max_num_fields=16))
    except ValueError:
        raise Problem(400, "the form has too many fields", limit=16, remedy="send the login's own form") from None


def _inside(target: str) -> str:
    """A path of ours, wherever a link wants to lead."""
    ours = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if ours and target.isascii() and target.isprintable() else "/"


def _login(following: str, wrong: str = "", status: int = 200) -> HTMLResponse:
    alert = f"<p role=alert>{escape(wrong)}</p>" if wrong else ""
    return _page(
        "Log in to Keeper",
        f'{alert}<form method="post" action="/login"><input type="hidden" name="next" value="{escape(following)}">'
        '<input name="user" value="keeper" autocomplete="username" hidden> '  # for who keeps passwords
        '<label for="token">Token</label> '
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus> '
        '<button type="submit">Log in</button></form>',
        status,
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/assets/base.css">'
        '<link rel="icon" href="/assets/icon.svg" type="image/svg+xml"></head>'
        f'<body class="plain"><main><h1>{escape(title)}</h1>{body}</main></body></html>\n',
        status,
    )

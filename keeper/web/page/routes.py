"""Paths of the page. Each answers with all there is to read without scripts; the scripts then take over in place.

Everything comes from a `Reading`, as the JSON API has it. Jinja escapes whatever it prints: names of tokens, labels and
errors are written by strangers.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from keeper.web.page.words import BAR_WIDTH, FILTERS
from keeper.web.problems import Problem

if TYPE_CHECKING:
    from keeper.web.reading import Reading

_HERE = Path(__file__).parent
_ASSETS = _HERE / "assets"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

ROWS = 100
"""How many positions, calls or transactions a page without scripts has."""

SORTS = {
    "health": "nearest to liquidation",
    "-health": "healthiest",
    "-value": "largest collateral",
    "account": "account",
}
BANDS = ("liquidatable", "urgent", "call", "watch", "safe", "unknown")

Page = Callable[[Request], Awaitable[Response]]


def page_routes(reading: Reading) -> list[BaseRoute]:
    """For the application of `keeper web`; after its own routes."""
    pages = Pages(reading)
    paths: dict[str, Page] = {
        "/": pages.positions,
        "/positions": pages.positions,
        "/positions/{id}": pages.position,
        "/calls": pages.calls,
        "/ladder": pages.ladder,
        "/transactions": pages.transactions,
        "/system": pages.system,
    }
    return [
        *(Route(path, pages.explained(page), methods=["GET"]) for path, page in paths.items()),
        Mount("/assets", Assets(directory=_ASSETS)),
    ]


class Assets(StaticFiles):
    """Files of the page: asked for anew each time, and by their ETag almost never sent again; so a new program never
    meets the scripts of an old one."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


class Pages:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)
        self._templates.globals["BAR_WIDTH"] = BAR_WIDTH
        self._templates.globals["modules"] = modules()

    def explained(self, page: Page) -> Page:
        """What is wrong with a request, as a page."""

        async def answer(request: Request) -> Response:
            try:
                return await page(request)
            except Problem as problem:
                return self._page("problem.html", section="", problem=problem.body(), status=problem.status)

        return answer

    async def positions(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name, "") for name in ("band", "protocol", "sort", "cursor")}
        text = (request.query_params.get("account") or request.query_params.get("q") or "").strip()
        band = asked["band"] if asked["band"] in BANDS else None
        sort = asked["sort"] if asked["sort"] in SORTS else "health"
        account = text if _ADDRESS.fullmatch(text) else None
        found = await self._reading.positions(
            sort=sort,
            limit=ROWS,
            protocol=asked["protocol"] or None,
            account=account,
            band=band,
            cursor=asked["cursor"] or None,
        )
        return self._page(
            "positions.html",
            section="positions",
            found=found,
            asked={"band": band or "", "protocol": asked["protocol"], "sort": sort, "account": account or ""},
            not_an_account=text if account is None else "",
            bands=BANDS,
            sorts=SORTS,
        )

    async def position(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        found = await self._reading.position(id_)
        if found is None:
            return self._page("unknown.html", section="positions", id=id_, status=404)
        return self._page("position.html" if found["open"] else "closed.html", section="positions", position=found)

    async def calls(self, request: Request) -> Response:
        every = request.query_params.get("status") == "all"
        found = await self._reading.calls(limit=ROWS, status=None if every else "open")
        return self._page("calls.html", section="calls", found=found, every=every)

    async def ladder(self, request: Request) -> Response:
        return self._page("ladder.html", section="ladder", ladder=await self._reading.ladder())

    async def transactions(self, request: Request) -> Response:
        found = await self._reading.transactions(limit=ROWS)
        return self._page("transactions.html", section="transactions", found=found)

    async def system(self, request: Request) -> Response:
        return self._page("system.html", section="system", system=await self._reading.system())

    def _page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(**values), status)


def modules() -> list[str]:
    """Every script that the entry may import, so that a browser fetches them at once instead of one after another."""
    found = (path.relative_to(_ASSETS).as_posix() for path in _ASSETS.rglob("*.js"))
    return sorted(f"/assets/{path}" for path in found if path not in ("app.js", "theme.js"))

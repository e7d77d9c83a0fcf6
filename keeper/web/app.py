"""The whole server as one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keeper.core.errors import KeeperError
from keeper.core.secret import Secret
from keeper.web import asked
from keeper.web.api import V1, api_routes
from keeper.web.events import Feed
from keeper.web.gate import Gate, Keys, Who
from keeper.web.login import login_routes
from keeper.web.metrics import CONTENT_TYPE, exposition
from keeper.web.problems import Problem, as_response
from keeper.web.reading import Reading, Source
from keeper.web.shield import Shield


@dataclass(frozen=True, slots=True)
class Settings:
    """token: None lets everybody read who can connect. hosts: names besides localhost. max_clients: of live events."""

    token: Secret | None = None
    hosts: Collection[str] = ()
    max_clients: int = 500


def create_app(source: Source, settings: Settings, clock: Callable[[], float] = time.time) -> Starlette:
    """An application that opens the source when it starts and closes it when it ends."""
    reading = Reading(source)
    keys, feed, counts = Keys(settings.token, clock), Feed(reading, settings.max_clients), Counter[int]()

    @contextlib.asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        await reading.open()
        looking = asyncio.create_task(feed.run(), name="follow the store")
        try:
            yield
        finally:
            feed.end()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await reading.close()

    async def metrics(request: Request) -> Response:
        asked.asked(request, {})
        served = {"listeners": feed.listeners, "dropped": feed.dropped, "failing": feed.failing, "answers": counts}
        return Response(exposition(await reading.figures(), served), media_type=CONTENT_TYPE)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        """Why not is for those who may read."""
        said = await reading.readiness()
        ready = said["ready"] and not feed.failing
        who: Who = request.state.who
        shown = {**said, "ready": ready} if who.trusted else {"ready": ready}
        return JSONResponse(shown, 200 if ready else 503)

    async def events(request: Request) -> ASGIApp:
        asked.asked(request, {})
        return await feed.join(request)

    routes: list[BaseRoute] = [
        Route("/metrics", metrics, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route(f"{V1}/events", events, methods=["GET"]),
        *login_routes(reading, keys),
        *api_routes(reading, keys),
        *_pages(reading),
    ]
    app = Starlette(
        routes=routes,
        lifespan=living,
        middleware=[
            Middleware(Shield),
            Middleware(_Counting, counts=counts),
            Middleware(Gate, keys=keys, hosts=settings.hosts),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5),
        ],
        exception_handlers={Problem: as_response, HTTPException: _http_error, KeeperError: _failed},
    )
    app.state.feed, app.state.reading = feed, reading
    return app


def _pages(reading: Reading) -> list[BaseRoute]:
    """What people look at; the API works without."""
    try:
        pages = importlib.import_module("keeper.web.page.routes")
    except ModuleNotFoundError as error:
        if error.name not in ("keeper.web.page", "keeper.web.page.routes"):
            raise
        return []
    return list(pages.page_routes(reading))


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses, in the same form as everything else."""
    assert isinstance(error, HTTPException)
    remedies = {404: f"see {V1}/openapi.json", 405: "use another method"}
    problem = Problem(
        error.status_code,
        error.detail,
        value=f"{request.method} {request.url.path}",
        remedy=remedies.get(error.status_code),
        headers=dict(error.headers or {}),
    )
    return problem.response()


async def _failed(_request: Request, error: Exception) -> Response:
    """What the store could not answer. Its words are of files and databases, and hold no secret."""
    return Problem(503, str(error), remedy="try again in a moment", headers={"Retry-After": "2"}).response()


class _Counting:
    def __init__(self, app: ASGIApp, counts: Counter[int]) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._counts[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counted)

"""Errors as JSON objects (RFC 9457): each names what was given, the limit, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """What is wrong with a request. value: what was given, never a secret. limit: what would be right."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        value: Any = None,
        limit: Any = None,
        remedy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.value = value
        self.limit = limit
        self.remedy = remedy
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        said = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "value": self.value
            if self.value is None or isinstance(self.value, (int, float))
            else str(self.value)[:200],
            "limit": self.limit,
            "remedy": self.remedy,
        }
        return {name: value for name, value in said.items() if value is not None}

    def response(self) -> Response:
        return Response(
            msgspec.json.encode(self.body()),
            self.status,
            media_type=MEDIA_TYPE,
            headers={"Cache-Control": "no-store", **self.headers},
        )


def bad(name: str, value: Any, limit: Any, remedy: str) -> Problem:
    """A parameter that cannot be."""
    return Problem(400, f"{name} cannot be {str(value)[:100]!r}", value=value, limit=limit, remedy=remedy)


async def as_response(_request: Request, error: Exception) -> Response:
    """Starlette's handler of a Problem."""
    assert isinstance(error, Problem)
    return error.response()

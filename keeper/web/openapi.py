from __future__ import annotations

from typing import Any


def description(*, token: bool) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "Keeper", "version": "1"}, "paths": {}}

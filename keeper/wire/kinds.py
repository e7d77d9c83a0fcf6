"""What the configuration names by `kind`: a module each (docs/decisions/0006)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from keeper.config.deployment import Config
from keeper.core.ports import ProtocolAdapter

Adapter = ProtocolAdapter[Any, Any]


def builder(package: str, kind: str) -> Callable[..., Any]:
    """`build` of the module that a `kind` names; the configuration has checked that there is one."""
    module: Mapping[str, Any] = vars(importlib.import_module(f"{package}.{kind}"))
    build: Callable[..., Any] = module["build"]
    return build


def adapters(config: Config) -> list[Adapter]:
    return [builder("keeper.protocols", plugin.kind)(plugin.settings) for plugin in config.protocols]

"""Protocols of the dev chain, one module each, named like their adapter in `keeper.protocols`.

A module has these three, and the chain an attribute that deploys the contracts when it is first used:

    table(chain)          the [[protocols]] table of a configuration file
    contracts(chain)      addresses, by what `keeper devnet` calls them
    open_examples(chain)  a few positions to look at, from safe to nearly liquidatable
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from keeper.devnet.chain import DevChain

Value = str | int | float | bool | Sequence[str] | Sequence[int] | Mapping[str, str]


class Example(NamedTuple):
    """No dataclass: they bring `inspect`, which `keeper --help` would wait for."""

    account: str
    story: str


class DevProtocol(Protocol):
    """What a module of this package has."""

    def table(self, chain: DevChain) -> dict[str, Value]: ...
    def contracts(self, chain: DevChain) -> dict[str, str]: ...
    def open_examples(self, chain: DevChain) -> list[Example]: ...


def kinds() -> list[str]:
    """What can be deployed. By the names of files, since `pkgutil` brings `inspect` as well."""
    names = (file.name for folder in __path__ for file in os.scandir(folder))
    return sorted(name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_"))


def protocol(kind: str) -> DevProtocol:
    return cast(DevProtocol, importlib.import_module(f"{__name__}.{kind}"))

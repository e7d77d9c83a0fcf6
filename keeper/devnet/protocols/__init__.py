"""Protocols of the dev chain, one module each, named like their adapter in `keeper.protocols`.

A module has these three, and the chain an attribute that deploys the contracts when it is first used:

    table(chain)          the [[protocols]] table of a configuration file
    contracts(chain)      addresses, by what `keeper devnet` calls them
    open_examples(chain)  a few positions to look at, from safe to nearly liquidatable
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from keeper.devnet.chain import DevChain

Value = str | int | float | bool | Sequence[str] | Sequence[int] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    account: str
    story: str


class DevProtocol(Protocol):
    """What a module of this package has."""

    def table(self, chain: DevChain) -> dict[str, Value]: ...
    def contracts(self, chain: DevChain) -> dict[str, str]: ...
    def open_examples(self, chain: DevChain) -> list[Example]: ...


def kinds() -> list[str]:
    """What can be deployed."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def protocol(kind: str) -> DevProtocol:
    return cast(DevProtocol, importlib.import_module(f"{__name__}.{kind}"))

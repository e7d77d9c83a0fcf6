"""`[[protocols]]`, `[[notifiers]]`, `[[venues]]`, `[[funding]]` and `[[submitters]]`: what modules by name are given.

Such a module (found by `kind`) describes its own keys: it exposes `Options`, a frozen dataclass whose fields have
`metadata={"doc": …}`. The plain type of a field says how it is written and checked: bytes is an address, Secret a text
that may be "env:NAME" (with `metadata={"schemes": (…)}`: a URL), Decimal an exact decimal string. `build` receives
these values by key, together with the common ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, ValidationInfo

from keeper.config.notices import PageTemplate
from keeper.config.routing import NotifierCommon
from keeper.config.table import InTable, Table, options_table
from keeper.config.types import Problem, describe


class ProtocolCommon(Table):
    kind: str = Field(description="Module name under `keeper/protocols`.", examples=["aave_v3"])
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="Unique; prefixes position ids.", examples=["aave"]
    )
    start_block: int = Field(
        0, ge=0, lt=2**63, description="Where indexing begins: the block of the protocol's deployment."
    )
    page: PageTemplate | None = Field(
        None,
        description="Web page that notices link to, with `{account}`, `{market}` and `{chain_id}` filled in; "
        "by default the protocol's own, empty for none.",
    )


class VenueCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/venues`.", examples=["uniswap_v3"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


class FundingCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/funding`.", examples=["morpho"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


class SubmitterCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/submitters`.", examples=["bundle"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


@dataclass(frozen=True)
class Plugin:
    """A configured protocol, notifier, venue or funding: `settings` is what `build` of its module receives."""

    kind: str
    name: str
    settings: Mapping[str, Any]


def _table_of(package: str, common: type[Table]) -> Callable[[object, ValidationInfo], Plugin]:
    """A validator of one table of `[[protocols]]` and the like, whose keys depend on its `kind`."""

    def parse(value: object, info: ValidationInfo) -> Plugin:
        if not isinstance(value, Mapping):
            raise Problem(f"expected a table, not {describe(value)}")
        model = options_table(package, value["kind"], common) if isinstance(value.get("kind"), str) else common
        try:
            table = model.model_validate(value, context=info.context)
        except ValidationError as error:
            raise InTable(error, model) from None
        settings = {name: getattr(table, name) for name in model.model_fields}
        return Plugin(settings["kind"], settings["name"], MappingProxyType(settings))

    return parse


_named = PlainSerializer(lambda plugin: {"kind": plugin.kind, "name": plugin.name})
ProtocolTable = Annotated[Plugin, PlainValidator(_table_of("keeper.protocols", ProtocolCommon)), _named]
NotifierTable = Annotated[Plugin, PlainValidator(_table_of("keeper.notifier", NotifierCommon)), _named]
VenueTable = Annotated[Plugin, PlainValidator(_table_of("keeper.executor.venues", VenueCommon)), _named]
FundingTable = Annotated[Plugin, PlainValidator(_table_of("keeper.executor.funding", FundingCommon)), _named]

SubmitterTable = Annotated[Plugin, PlainValidator(_table_of("keeper.executor.submitters", SubmitterCommon)), _named]

"""The configuration reference, generated from the models, so that it cannot differ from what is accepted."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from keeper.config.breakers import Breakers
from keeper.config.load import (
    Chain,
    Executor,
    FundingCommon,
    Jobs,
    MarginCalls,
    ProtocolCommon,
    Store,
    SubmitterCommon,
    VenueCommon,
    VolatilityRule,
)
from keeper.config.notices import Digest, Names, Operator
from keeper.config.routing import Acknowledgements, NotifierCommon
from keeper.config.table import Table, kinds, options_table
from keeper.config.types import Written
from keeper.config.web import Web

_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean"}


def reference() -> str:
    """Markdown: one table for each table of the file."""
    parts = [
        _section("[chain]", Chain),
        _section("[store]", Store),
        _section("[[protocols]]", ProtocolCommon),
        *_plugin_sections("keeper.protocols", "[[protocols]]", ProtocolCommon),
        _section("[margin_calls]", MarginCalls),
        _section("[margin_calls.volatility]", VolatilityRule),
        _section("[[notifiers]]", NotifierCommon),
        *_plugin_sections("keeper.notifier", "[[notifiers]]", NotifierCommon),
        _section("[acknowledgements]", Acknowledgements),
        _section("[executor]", Executor),
        _section("[[venues]]", VenueCommon),
        *_plugin_sections("keeper.executor.venues", "[[venues]]", VenueCommon),
        _section("[[funding]]", FundingCommon),
        *_plugin_sections("keeper.executor.funding", "[[funding]]", FundingCommon),
        _section("[[submitters]]", SubmitterCommon),
        *_plugin_sections("keeper.executor.submitters", "[[submitters]]", SubmitterCommon),
        _section("[breakers]", Breakers),
        _section("[jobs]", Jobs),
        _section("[names]", Names),
        _section("[operator]", Operator),
        _section("[digest]", Digest),
        _section("[web]", Web),
    ]
    return "\n".join(parts)


def _plugin_sections(package: str, heading: str, common: type[Table]) -> list[str]:
    sections = []
    for kind in kinds(package):
        table = options_table(package, kind, common)
        own = {name: field for name, field in table.model_fields.items() if name not in common.model_fields}
        if own:
            sections.append(_table(f'{heading} kind = "{kind}"', own))
    return sections


def _section(heading: str, table: type[Table]) -> str:
    return _table(heading, {name: field for name, field in table.model_fields.items() if not _is_table(field)})


def _is_table(field: FieldInfo) -> bool:
    """Whether it has a section of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Table)


def _table(heading: str, fields: dict[str, FieldInfo]) -> str:
    rows = [f"### `{heading}`", "", "| key | is | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{field.alias or name}`", _notation(field), _default(field), field.description or "")
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*rows, ""])


def _written(field: FieldInfo) -> tuple[str, Written | None]:
    """The notation of a field in words, and how one value of it is shown."""
    own = next((item for item in field.metadata if isinstance(item, Written)), None)
    return (own.notation, own) if own else _of(field.annotation)


def _of(hint: Any) -> tuple[str, Written | None]:
    marks = [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Written)]
    if marks:
        return marks[0].notation, marks[0]
    arguments = [argument for argument in get_args(hint) if argument not in (NoneType, Ellipsis)]
    if get_origin(hint) is tuple:
        notation, shown = _of(arguments[0])
        return f"list of {notation}", shown
    if hint in _PLAIN:
        return _PLAIN[hint], None
    if get_origin(hint) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(hint)), None
    if len(arguments) == 1:
        return _of(arguments[0])
    return "table", None


def _notation(field: FieldInfo) -> str:
    return _written(field)[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value == "":
        return "none"
    if type(value) is tuple:  # a list of values; a named tuple is one value
        return "empty" if not value else f"`{json.dumps(list(value), default=str)}`"
    shown = _written(field)[1]
    if shown is not None:
        return f"`{shown.show(value)}`"
    return f"`{json.dumps(value)}`" if isinstance(value, (bool, int, float, str)) else ("empty" if not value else "")

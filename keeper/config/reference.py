"""The configuration reference, generated from the models, so that it cannot differ from what is accepted."""

from __future__ import annotations

import json
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from keeper.config.deployment import Config
from keeper.config.plugins import FundingCommon, ProtocolCommon, SubmitterCommon, VenueCommon
from keeper.config.routing import NotifierCommon
from keeper.config.table import Table, kinds, options_table
from keeper.config.types import Written

_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean"}


_PLUGINS: dict[str, tuple[str, type[Table]]] = {
    "protocols": ("keeper.protocols", ProtocolCommon),
    "notifiers": ("keeper.notifier", NotifierCommon),
    "venues": ("keeper.executor.venues", VenueCommon),
    "funding": ("keeper.executor.funding", FundingCommon),
    "submitters": ("keeper.executor.submitters", SubmitterCommon),
}
"""Where the modules are that describe keys of their own, and the keys that all of them have."""


def reference() -> str:
    """Markdown: one table for each table of the file, in the order of `Config`, so that none can be forgotten."""
    parts: list[str] = []
    for name, field in Config.model_fields.items():
        if name in _PLUGINS:
            package, common = _PLUGINS[name]
            parts += [*_sections(f"[[{name}]]", common), *_plugin_sections(package, f"[[{name}]]", common)]
        else:
            parts += _sections(f"[{name}]", _inner(field))
    return "\n".join(parts)


def _plugin_sections(package: str, heading: str, common: type[Table]) -> list[str]:
    sections = []
    for kind in kinds(package):
        table = options_table(package, kind, common)
        own = {name: field for name, field in table.model_fields.items() if name not in common.model_fields}
        if own:
            sections.append(_table(f'{heading} kind = "{kind}"', own))
    return sections


def _sections(heading: str, table: type[Table]) -> list[str]:
    """A table's section, and those of the tables within it."""
    own = {name: field for name, field in table.model_fields.items() if not _is_table(field)}
    inner = {name: field for name, field in table.model_fields.items() if _is_table(field)}
    sections = [_table(heading, own)]
    for name, field in inner.items():
        sections += _sections(f"{heading.removesuffix(']')}.{name}]", _inner(field))
    return sections


def _is_table(field: FieldInfo) -> bool:
    """Whether it has a section of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Table)


def _inner(field: FieldInfo) -> type[Table]:
    if not _is_table(field):
        raise TypeError(f"{field.annotation} is neither a table nor one of {', '.join(_PLUGINS)}")
    table: type[Table] = field.annotation  # type: ignore[assignment]
    return table


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

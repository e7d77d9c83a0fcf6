"""A closed TOML table, the tables that plugins describe, and what is wrong with one, in words."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from keeper.config.types import Problem, annotated, describe, shown


class Table(BaseModel):
    """A TOML table: strict, closed and frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class InTable(Problem):
    """Everything that is wrong within one plugin's table."""

    def __init__(self, error: ValidationError, table: type[Table]) -> None:
        super().__init__(f"{error.error_count()} problems")
        self.error = error
        self.table = table


# --- plugins ----------------------------------------------------------------------------------------------------------


def kinds(package: str) -> list[str]:
    """Names of the modules of a package that can be a `kind`: those that expose `build`."""
    root = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(root.__path__))
    return [name for name in names if hasattr(importlib.import_module(f"{package}.{name}"), "build")]


def plugin(package: str, kind: str) -> ModuleType:
    """The module of a kind. Raises Problem naming the nearest kind there is."""
    if kind.isidentifier() and importlib.util.find_spec(f"{package}.{kind}") is not None:
        module = importlib.import_module(f"{package}.{kind}")
        if hasattr(module, "build"):
            return module
    raise Problem(f"there is no kind {shown(kind)}; {_nearest(kind, kinds(package))}")


def options_table(package: str, kind: str, common: type[Table]) -> type[Table]:
    """The table of one kind: the common keys and those that `Options` of its module describes."""
    options = plugin(package, kind).Options
    hints = get_type_hints(options)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        if field.name in common.model_fields:
            continue
        hint = annotated(hints[field.name], tuple(field.metadata.get("schemes", ())))
        fields[field.name] = (hint, _field(field))
    return create_model(kind, __base__=common, **fields)


def _field(field: dataclasses.Field[Any]) -> Any:
    doc = str(field.metadata.get("doc", ""))
    if field.default is not dataclasses.MISSING:
        return Field(field.default, description=doc)
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory, description=doc)
    return Field(description=doc)


# --- what is wrong, in words ------------------------------------------------------------------------------------------


def explain(error: ValidationError, table: type[Table], at: tuple[int | str, ...] = ()) -> Iterator[str]:
    """One line per problem: `path.to.key: problem; remedy`."""
    for detail in error.errors(include_url=False):
        where = (*at, *detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, InTable):
            yield from explain(cause.error, cause.table, where)
        else:
            yield f"{_path(where)}: {_words(detail, table)}"


def _path(where: Sequence[int | str]) -> str:
    path = ""
    for part in where:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "tuple_type": "a list in [brackets]",
    "mapping_type": "a table",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": ("ge", ">="),
    "greater_than": ("gt", ">"),
    "less_than_equal": ("le", "<="),
    "less_than": ("lt", "<"),
}


def _words(detail: ErrorDetails, table: type[Table]) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return f"is no known key; {_nearest(str(detail['loc'][-1]), _keys(_table_at(table, detail['loc'][:-1])))}"
    if kind == "missing":
        return _missing(_table_at(table, detail["loc"][:-1]), str(detail["loc"][-1]))
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, not {describe(given)}"
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        return f"{describe(given)} is out of range; it must be {sign} {context[name]}"
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} does not match {context['pattern']}; use lower-case letters, digits, - and _"
    return detail["msg"]


def _table_at(table: type[Table], where: Sequence[int | str]) -> type[Table]:
    for part in where:
        annotation = _fields(table)[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, Table):
            table = annotation
    return table


def _fields(table: type[Table]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in table.model_fields.items()}


def _keys(table: type[Table]) -> list[str]:
    return list(_fields(table))


def _missing(table: type[Table], key: str) -> str:
    field = _fields(table)[key]
    meaning = f" ({field.description.rstrip('.')})" if field.description else ""
    return f"is required; add it{meaning}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"

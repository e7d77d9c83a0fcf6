"""What several statements are made of."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnClause,
    ColumnElement,
    Table,
    Text,
    bindparam,
    insert,
    literal_column,
    or_,
    update,
)

from keeper.store.database import Statement

NO_BLOCK = 2**63 - 1
"""No version is of this block, or of a later one."""

PAGE = 20_000
"""Rows fetched at once where a table is read whole. Pages resume by key, so writing between two of them is harmless."""

CACHED = 4_096
"""The same for small payloads of which each is worked on: so many stay in the processor's cache meanwhile."""

FEW = 500
"""The same for rows with payloads of some kilobytes, such as episodes with their evidence."""


def inserting(table: Table, *, skip: tuple[str, ...] = ()) -> Statement:
    """Takes a row: the columns in their order, but those to skip."""
    names = tuple(column.name for column in table.columns if column.name not in skip)
    return Statement(insert(table).values({name: bindparam(name) for name in names}).inline(), names)


def constant(value: str) -> ColumnClause[str]:
    """One of our own words, written into the statement."""
    return literal_column(f"'{value}'", Text)


def one_of(column: Column[str], statuses: Iterable[str]) -> ColumnElement[bool]:
    return or_(*(equals(column, status) for status in statuses))


def equals(column: Column[str], value: str) -> ColumnElement[bool]:
    return column == constant(value)


def at(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


def replacing(table: Table, key: str) -> Statement:
    """Takes a row as `inserting` does, its first column being the key, with the key once more at the end."""
    names = [column.name for column in table.columns]
    return Statement(
        update(table)
        .values({name: bindparam(f"new_{name}") for name in names})
        .where(table.c[key] == bindparam(f"of_{key}")),
        (*(f"new_{name}" for name in names), f"of_{key}"),
    )

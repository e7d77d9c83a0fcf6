"""Where the rows of a SQLite table lie, read from the pages of its file: which row numbers each leaf holds.

SQLite itself reads no further than the first page that is damaged. Who knows the leaves can ask it for each of them.
Source: sqlite.org/fileformat.html, sections 1.3 (header), 1.6 (b-tree pages) and 2.1 (row numbers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LEAST, MOST = -(2**63), 2**63 - 1
_INTERIOR, _LEAF = 0x05, 0x0D
_HEADER = 100
_DEEPEST = 40


class Span(NamedTuple):
    """Row numbers from `first` to `last`, both included, that one leaf holds, or everything below a damaged page.
    rows: those that the leaf itself names, where it can be read."""

    first: int
    last: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pages:
    """A file as it is, without its log."""

    data: bytes

    @property
    def size(self) -> int:
        told = int.from_bytes(self.data[16:18], "big")
        return 65_536 if told == 1 else told

    def spans(self, root: int) -> Iterator[Span]:
        """Of the table whose tree begins at this page, ascending, without a gap between them."""
        yield from self._below(root, LEAST, MOST, 0)

    def _below(self, number: int, first: int, last: int, depth: int) -> Iterator[Span]:
        page, start = self._page(number), _HEADER if number == 1 else 0
        kind = page[start] if len(page) > start else 0
        children = self._children(page, start, first, last) if kind == _INTERIOR and depth < _DEEPEST else None
        if children is None:
            rows = self._rows(page, start) if kind == _LEAF else ()
            yield Span(first, last, tuple(row for row in rows if first <= row <= last))
            return
        for child, highest in children:
            yield from self._below(child, first, highest, depth + 1)
            first = highest + 1

    def _page(self, number: int) -> bytes:
        return self.data[(number - 1) * self.size : number * self.size] if number > 0 else b""

    def _children(self, page: bytes, start: int, first: int, last: int) -> list[tuple[int, int]] | None:
        """Page and highest row number of each; None where they are not in order, so that the page is damaged."""
        found, before = [], first - 1
        for at in self._cells(page, start, 12):
            if at + 4 >= len(page):
                return None
            highest = _varint(page, at + 4)[0]
            if not before < highest <= last:
                return None
            found.append((int.from_bytes(page[at : at + 4], "big"), highest))
            before = highest
        if before < last:
            found.append((int.from_bytes(page[start + 8 : start + 12], "big"), last))
        return found

    def _rows(self, page: bytes, start: int) -> Iterator[int]:
        for at in self._cells(page, start, 8):
            if at < len(page):
                yield _varint(page, _varint(page, at)[1])[0]

    def _cells(self, page: bytes, start: int, header: int) -> list[int]:
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        table = page[start + header : start + header + 2 * count]
        return [int.from_bytes(table[place : place + 2], "big") for place in range(0, len(table) - 1, 2)]


def pages_of(path: Path) -> Pages:
    return Pages(path.read_bytes())


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """A signed number of up to nine bytes, and where it ends."""
    value = 0
    for place, byte in enumerate(page[at : at + 9]):
        if place == 8:
            value = value << 8 | byte
            return value - 2**64 if value >= 2**63 else value, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value, at + 9

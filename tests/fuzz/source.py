"""Values out of bytes, so that a fuzzer that changes bytes changes values. When the bytes are used up, zeros follow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def number(self, most: int) -> int:
        """From 0 to most, of as many bytes as that takes."""
        size = (most.bit_length() + 7) // 8
        return int.from_bytes(self.take(size), "big") % (most + 1)

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        self._at += size
        return found.ljust(size, b"\0")

    def pick(self, among: Sequence[T]) -> T:
        return among[self.number(len(among) - 1)]

    def some(self, most: int) -> bytes:
        """Up to so many bytes; how many is told by the input."""
        return self.take(self.number(most))

    def rest(self) -> bytes:
        found = self._data[self._at :]
        self._at = len(self._data)
        return found


HOSTILE: tuple[object, ...] = (
    *(None, True, 0, -1, 2**63, 2**64, 10**400, 1e308, -0.5, "", "0x", "0x-5", "0x_1", "0x" + "f" * 65, "0X1", " 0x1"),
    *("0x" + "0" * 63, "é", "\udc80", "9" * 5000, "0x" + "ab" * 32, "exceeded its " * 3000, [], {}, [[]], {"data": {}}),
)
"""What stands in JSON where something else should."""


def bend_json(source: Source, text: str) -> bytes:
    """A JSON text with a few of its values replaced, dropped or nested, and once in a while nested without an end."""
    value = json.loads(text)
    for _ in range(source.number(3)):
        value = _bend(source, value)
    written = json.dumps(value)
    match source.number(15):
        case 0:
            written = written.replace('"0x7"', "[" * 5_000, 1)
        case 1:
            written = written[: source.number(len(written))]
        case 2:
            written = written.replace(":", ":1e400,", 1) if source.number(1) else written + written
    return written.encode("utf-8", "surrogatepass")


def _bend(source: Source, value: object) -> object:
    if isinstance(value, dict) and value and source.number(7):
        key = source.pick(sorted(value))
        match source.number(9):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, source.pick(sorted(value)): value[key]}
            case _:
                return {**value, key: _bend(source, value[key])}
    if isinstance(value, list) and value and source.number(7):
        place = source.number(len(value) - 1)
        return [*value[:place], _bend(source, value[place]), *value[place + source.number(1) :]]
    return source.pick(HOSTILE)

"""A price history: every moment at which a price changed, oldest first."""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keeper.core.errors import ConfigError
from keeper.core.types import Price

DECIMALS = 18
"""Of prices and of amounts; further digits are cut off."""

_HEADER = ["timestamp", "asset", "price"]
_LATEST = 253_402_300_799  # the end of the year 9999: beyond it somebody wrote milliseconds
_TELL_EVERY = 65_536
_EXACT = Context(prec=400)

Floats = NDArray[np.float64]
Report = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much (0: nobody knows)."""


@dataclass(frozen=True)
class History:
    """times: T distinct unix seconds, rising. values: T × n prices, of which an asset keeps its last; NaN before its
    first. Row t holds what all rows of the file with that time, and those before, say together."""

    assets: tuple[str, ...]
    times: NDArray[np.int64]
    values: Floats
    _changes: Mapping[str, tuple[list[int], list[str]]] = field(repr=False)  # by asset: places in `times`, and prices

    def exact(self, place: int) -> dict[bytes, Price]:
        """The prices of a moment, by its place in `times`, as written in the file."""
        found = {}
        for asset, (places, texts) in self._changes.items():
            last = bisect_right(places, place)
            if last:
                found[asset.encode()] = Price(exact(texts[last - 1]), DECIMALS)
        return found

    def with_moments(self, moments: Iterable[int]) -> History:
        """With these moments as well, where they lie between its first and its last, at the prices before them."""
        first, last = int(self.times[0]), int(self.times[-1])
        more = np.array([at for at in moments if first < at < last], np.int64)
        times = np.union1d(self.times, more)
        old = np.searchsorted(times, self.times)
        values = self.values[np.searchsorted(self.times, times, side="right") - 1]
        changes = {asset: (old[places].tolist(), texts) for asset, (places, texts) in self._changes.items()}
        return History(self.assets, times, values, changes)

    def place_at(self, timestamp: int) -> int:
        """The place of the last moment not after this time; -1 before the first."""
        return int(np.searchsorted(self.times, timestamp, side="right")) - 1


def exact(text: str) -> int:
    """A decimal as an integer of DECIMALS digits, cut off toward zero."""
    return int(Decimal(text).scaleb(DECIMALS, _EXACT))


def read_history(file: Path, report: Report) -> History:
    """Raises ConfigError naming file, line, value and remedy for the first row that cannot be meant."""
    times: list[int] = []
    changes: dict[str, tuple[list[int], list[str]]] = {}
    for number, (written, asset, price) in _rows(file):
        timestamp = _timestamp(written, file, number)
        _check_price(price, file, number)
        if not asset:
            raise ConfigError(f"{file}:{number}: the asset has no name; write one, such as ETH")
        if not times or timestamp > times[-1]:
            times.append(timestamp)
        elif timestamp < times[-1]:
            raise ConfigError(
                f"{file}:{number}: timestamp {timestamp} comes after {times[-1]}; sort the rows by time, oldest first"
            )
        places, texts = changes.setdefault(asset, ([], []))
        if places and places[-1] == len(times) - 1:
            texts[-1] = price
        else:
            places.append(len(times) - 1)
            texts.append(price)
        if number % _TELL_EVERY == 0:
            report("price rows read", number, 0)
    if not times:
        raise ConfigError(f"{file}: has a header but no prices; add rows of timestamp,asset,price")
    values = np.full((len(times), len(changes)), np.nan)
    for column, (places, texts) in enumerate(changes.values()):
        last = np.searchsorted(np.asarray(places), np.arange(len(times)), side="right") - 1
        known = last >= 0
        values[known, column] = np.array([float(text) for text in texts])[last[known]]
    return History(tuple(changes), np.array(times, np.int64), values, changes)


def _rows(file: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            header = [name.strip() for name in next(reader, [])]
            if header != _HEADER:
                raise ConfigError(
                    f"{file}:1: the header is {','.join(header)!r}; it must be {','.join(_HEADER)!r}, one price a row"
                )
            for row in reader:
                if not row:
                    continue
                if len(row) != len(_HEADER):
                    raise ConfigError(
                        f"{file}:{reader.line_num}: has {len(row)} fields ({','.join(row)!r}); "
                        "it must have three: timestamp,asset,price"
                    )
                yield reader.line_num, (row[0].strip(), row[1].strip(), row[2].strip())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the right path with --prices") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(f"{file}: is no valid CSV ({error}); write timestamp,asset,price without quotes") from error


def _timestamp(text: str, file: Path, number: int) -> int:
    try:
        timestamp = int(text)
    except ValueError:
        raise ConfigError(f"{file}:{number}: timestamp {text!r} is no whole number of unix seconds") from None
    if not 0 <= timestamp <= _LATEST:
        raise ConfigError(
            f"{file}:{number}: timestamp {timestamp} is no time in unix seconds; divide milliseconds by 1000"
        )
    return timestamp


def _check_price(text: str, file: Path, number: int) -> None:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{file}:{number}: price {text!r} is no decimal number, such as 1850.25") from None
    if not (math.isfinite(value) and value >= 10.0**-DECIMALS) or "_" in text:
        raise ConfigError(
            f"{file}:{number}: price {text!r} must be a decimal number above 0; leave the row out if there was no price"
        )

"""Positions of a replay: JSON Lines, of which each says what a position holds and owes from a time on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from keeper.core.errors import ConfigError
from keeper.core.units import BPS
from keeper.replay.history import DECIMALS, exact

_KEYS = ("position", "account", "from", "to", "collaterals", "debts", "borrow_rates")
_LARGEST_RATE = 100  # a yearly rate of 10,000 %


@dataclass(frozen=True, slots=True)
class Holding:
    """Raw units of DECIMALS digits. threshold_bps: 0 for a debt."""

    asset: bytes
    amount: int
    threshold_bps: int = 0


@dataclass(frozen=True, slots=True)
class Balances:
    """What a position holds and owes from a time on. rates: yearly, by debt asset, as written."""

    since: int
    collaterals: tuple[Holding, ...]
    debts: tuple[Holding, ...]
    rates: Mapping[bytes, str]


@dataclass(frozen=True, slots=True)
class Track:
    """One position: its balances in their order, and the last moment that counts."""

    position: str
    account: str
    to: int
    balances: tuple[Balances, ...]

    @property
    def since(self) -> int:
        return self.balances[0].since


def read_positions(file: Path, assets: Collection[str]) -> list[Track]:
    """By position, in the order in which each is first named. assets: those that have prices.

    Raises ConfigError naming file, line, value and remedy for the first line that cannot be meant.
    """
    found: dict[str, list[tuple[str, int, Balances]]] = {}
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the right path with --positions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    known = set(assets)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader = _Line(f"{file}:{number}", line, known)
            versions = found.setdefault(reader.text("position"), [])
            balances = reader.balances()
            if versions and balances.since < versions[-1][2].since:
                raise ConfigError(
                    f"{file}:{number}: position {reader.text('position')!r} goes back to {balances.since}, before "
                    f"{versions[-1][2].since} in an earlier line; write its lines in the order of time"
                )
            versions.append((reader.text("account"), reader.whole("to"), balances))
    if not found:
        raise ConfigError(f"{file}: has no positions; write one JSON object a line")
    return [
        Track(position, versions[0][0], max(to for _, to, _ in versions), tuple(one for _, _, one in versions))
        for position, versions in found.items()
    ]


class _Line:
    def __init__(self, where: str, line: str, assets: Collection[str]) -> None:
        self._where, self._assets = where, assets
        try:
            row = json.loads(line, parse_float=str)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{where}: is no valid JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: is no JSON object; write {{…}} with the keys {', '.join(_KEYS)}")
        self._row: dict[str, Any] = row
        for key in _KEYS[:-1]:
            if key not in row:
                raise ConfigError(f"{where}: {key!r} is missing; a position has the keys {', '.join(_KEYS)}")

    def text(self, key: str) -> str:
        value = self._row[key]
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{self._where}: {key} is {value!r}; it must be text in quotes")
        return value

    def whole(self, key: str) -> int:
        value = self._row[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ConfigError(f"{self._where}: {key} is {value!r}; it must be a time in whole unix seconds")
        return value

    def balances(self) -> Balances:
        since, to = self.whole("from"), self.whole("to")
        if to < since:
            raise ConfigError(f"{self._where}: to ({to}) is before from ({since}); exchange them")
        debts = tuple(Holding(asset, amount) for asset, amount, _ in self._holdings("debts"))
        collaterals = tuple(
            Holding(asset, amount, self._threshold(one)) for asset, amount, one in self._holdings("collaterals")
        )
        return Balances(since, collaterals, debts, self._rates())

    def _holdings(self, key: str) -> list[tuple[bytes, int, Mapping[str, Any]]]:
        rows = self._row[key]
        if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
            raise ConfigError(f"{self._where}: {key} must be a list of objects")
        return [(self._asset(one.get("asset"), key), self._amount(one.get("amount"), key), one) for one in rows]

    def _asset(self, name: object, key: str) -> bytes:
        if not isinstance(name, str) or name not in self._assets:
            named = ", ".join(sorted(self._assets)[:12])
            raise ConfigError(f"{self._where}: {key} name the asset {name!r}, which has no prices; there are {named}")
        return name.encode()

    def _amount(self, text: object, key: str) -> int:
        value = _decimal(text)
        if value is None or value < 0:
            raise ConfigError(
                f'{self._where}: amount {text!r} in {key} must be a decimal string in whole units, such as "1.5"'
            )
        return exact(str(text))

    def _threshold(self, one: Mapping[str, Any]) -> int:
        value = one.get("liquidation_threshold_bps")
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= BPS:
            raise ConfigError(
                f"{self._where}: liquidation_threshold_bps is {value!r}; it must be a whole number from 0 to {BPS}"
            )
        return value

    def _rates(self) -> Mapping[bytes, str]:
        rates = self._row.get("borrow_rates") or {}
        if not isinstance(rates, dict):
            raise ConfigError(
                f'{self._where}: borrow_rates must be an object of yearly rates, such as {{"USDC": "0.05"}}'
            )
        for asset, text in rates.items():
            value = _decimal(text)
            if value is None or not 0 <= value <= _LARGEST_RATE:
                raise ConfigError(
                    f"{self._where}: borrow rate {text!r} of {asset} must be a yearly rate, a decimal string from 0 to "
                    f'{_LARGEST_RATE}, such as "0.05"'
                )
        return {asset.encode(): str(text) for asset, text in rates.items()}


def _decimal(text: object) -> Decimal | None:
    """None for what is no finite decimal number of a sane size."""
    if isinstance(text, bool) or not isinstance(text, (str, int)) or "_" in str(text):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and value.adjusted() <= 60 - DECIMALS else None

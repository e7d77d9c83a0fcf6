"""Recorded prices as rows of a replay, by what each file of the data folder is. Nothing is copied into the project."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

Row = tuple[int, str, str]  # unix seconds, asset, price


@dataclass(frozen=True)
class Series:
    """name: of what it is. rows: in the order of time."""

    name: str
    rows: tuple[Row, ...]

    def between(self, begin: int, end: int) -> list[Row]:
        return [row for row in self.rows if begin <= row[0] <= end]

    def as_an_oracle(self, deviation: float = 0.005, heartbeat_s: int = 3600) -> Series:
        """What a price feed would have published: on a move of this size, or after this time."""
        last: dict[str, tuple[int, float]] = {}
        kept = []
        for row in self.rows:
            at, asset, price = row[0], row[1], float(row[2])
            told = last.get(asset)
            if told is None or at - told[0] >= heartbeat_s or abs(price / told[1] - 1) >= deviation:
                last[asset] = at, price
                kept.append(row)
        return Series(f"{self.name}, as an oracle", tuple(kept))


def unix(text: str) -> int:
    """Of "2021-05-19", or with a time behind it."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def load(data: Path) -> Mapping[str, Series]:
    """Every series by name."""
    return {
        "hourly": _hourly(data / "prices/bhemen"),
        "bitcoin": _bitcoin(data / "prices/gymtrading/BTC_USD-Hourly.csv"),
        "rounds": _rounds(data / "oracle-rounds"),
        "january 2021": _ask_bid(data / "prices/riskdao/ethusdt-1m-2021-01.csv"),
        "january 2022": _minutes(data / "prices/nautilus/btc-perp-1m-2022-01.csv", "timestamp", "close", "BTC"),
        "august 2023": _minutes(data / "aave-minute/price_weth_usdc_0813_0817.csv", "", "WETH", "ETH"),
        **{f"day {file.stem[4:]}": _ten_minutes(file) for file in sorted(data.glob("prices/stablesims/eth-*.json"))},
        **{f"gmx {file.stem[-10:]}": _index_minutes(file) for file in sorted(data.glob("gmx/arbitrum-ETH-USDC-*.csv"))},
        **{f"usdc {file.stem}": _quarters(file) for file in sorted(data.glob("prices/usdc/*.json"))},
    }


def _hourly(folder: Path) -> Series:
    rows = []
    for file in sorted(folder.glob("*_usd.csv")):
        rows += [(int(row["timestamp"]) // 1000, row["symbol"], row["USD_price"]) for row in _table(file)]
    return _series("hourly prices 2021-2023", rows)


def _bitcoin(file: Path) -> Series:
    times = ((float(row["unix"]), row["close"]) for row in _table(file))
    rows = [(int(at / 1000 if at > 1e11 else at), "BTC", price) for at, price in times]
    return _with_dollar("hourly bitcoin 2018-2022", rows)


def _rounds(folder: Path) -> Series:
    rows = []
    for asset in ("ETH", "BTC"):
        file = next(folder.glob(f"chainlink-{asset}USD-*.csv"))
        rows += [
            (int(row["update"]), asset, f"{int(row['answer']) / 1e8:.8f}") for row in _table(file) if int(row["update"])
        ]
    return _with_dollar("oracle rounds 2023-2024", rows)


def _ask_bid(file: Path) -> Series:
    rows = []
    for row in _table(file):
        middle = (float(row["ask_price"]) + float(row["bid_price"])) / 2
        rows.append((int(float(row["timestamp_x"]) / 1e6), "ETH", f"{middle:.8f}"))
    return _with_dollar("minutes of January 2021", rows)


def _minutes(file: Path, time: str, price: str, asset: str) -> Series:
    rows = [(unix(row[time].partition(".")[0]), asset, row[price]) for row in _table(file)]
    return _with_dollar(f"minutes of {file.stem}", rows)


def _index_minutes(file: Path) -> Series:
    rows = [(unix(row["timestamp"]), "ETH", row["indexPrice"]) for row in _table(file)]
    return _with_dollar(f"the index of a perpetual market by minutes, {file.stem[-10:]}", rows)


def _ten_minutes(file: Path) -> Series:
    rows = [(unix(row["time_period_end"][:19]), "ETH", str(row["price_close"])) for row in json.loads(file.read_text())]
    return _with_dollar(f"one day by ten minutes, {file.stem}", rows)


def _quarters(file: Path) -> Series:
    rows = [(unix(row["dt"][:19]), "USDC", str(row["c"])) for row in json.loads(file.read_text())["data"]]
    return _with_dollar(f"USDC by quarters of an hour, {file.stem}", rows)


def _with_dollar(name: str, rows: list[Row]) -> Series:
    first = min(row[0] for row in rows)
    return _series(name, [(first, "USD", "1"), *rows])


def _series(name: str, rows: list[Row]) -> Series:
    return Series(name, tuple(sorted(rows, key=lambda row: row[0])))


def _table(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="") as lines:
        yield from csv.DictReader(lines)

"""Real borrowers of Aave v2, followed every 5,000 blocks, as positions of a replay."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.calibratelib.series import Row, Series

_CHANGED = 0.005  # what is less than this of a holding is interest
_DUST = 1.0  # dollars
_MOST_BPS = 9_500


def write(folder: Path, hourly: Series, into: Path) -> tuple[Path, Path]:
    """The two files of a replay. Prices by the hour, and where there are none those noted with the balances.

    The liquidation threshold is what the noted health factor (two digits) implies, over all collateral alike.
    """
    followed = {file.name[:42]: list(_observations(file)) for file in sorted(folder.glob("*_details_v2.csv"))}
    first = hourly.rows[0][0]
    last = min(hourly.rows[-1][0], max(one["at"] for seen in followed.values() for one in seen))
    known = {row[1] for row in hourly.rows}
    noted = [
        (int(one["at"]), asset, f"{price:.12f}")
        for observations in followed.values()
        for one in observations
        for asset, price in one["prices"].items()
        if asset not in known and first <= one["at"] <= last
    ]
    needed = {asset for seen in followed.values() for one in seen for asset in (*one["held"], *one["owed"])}
    rows: list[Row] = sorted(row for row in {*hourly.rows, *noted} if row[1] in needed and row[0] <= last)
    priced = {asset for _, asset, _ in rows}
    begin = max(next(at for at, one, _ in rows if one == asset) for asset in priced)
    prices, positions = into / "prices.csv", into / "positions.jsonl"
    prices.write_text("timestamp,asset,price\n" + "".join(f"{at},{asset},{price}\n" for at, asset, price in rows))
    lines = (line for name, seen in followed.items() for line in _lines(name, seen, begin, last, priced))
    positions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return prices, positions


def _observations(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            prices = {
                name.removesuffix("_USD_price"): float(value)
                for name, value in row.items()
                if name.endswith("_USD_price") and value
            }
            yield {
                "at": int(float(row["timestamp"])),
                "health": float(row["healthFactor"] or 0),
                "held": _amounts(row, "_collateral (in USD)", prices),
                "owed": _amounts(row, "_debt (in USD)", prices),
                "collateral": float(row["totalCollateral (in USD)"] or 0),
                "debt": float(row["totalDebt (in USD)"] or 0),
                "prices": {asset: price for asset, price in prices.items() if price > 0},
            }


def _amounts(row: Mapping[str, str], ending: str, prices: Mapping[str, float]) -> dict[str, float]:
    values = {name.removesuffix(ending): float(value or 0) for name, value in row.items() if name.endswith(ending)}
    return {
        asset: value / prices[asset] for asset, value in values.items() if value > _DUST and prices.get(asset, 0) > 0
    }


def _lines(
    name: str, observations: list[dict[str, Any]], begin: int, last: int, priced: set[str]
) -> Iterator[dict[str, Any]]:
    before: tuple[dict[str, float], dict[str, float]] | None = None
    last = min(last, observations[-1]["at"])  # nobody noted what it held after that
    for one in observations:
        held, owed = one["held"], one["owed"]
        if not begin <= one["at"] <= last:
            continue
        if not held or not {*held, *owed} <= priced:
            held, owed = {}, {}  # closed, or backed by what has no price here: nothing can be said of it
        if before is not None and _same(before[0], held) and _same(before[1], owed):
            continue
        before = held, owed
        worth = sum(amount * one["prices"][asset] for asset, amount in held.items())
        debt = sum(amount * one["prices"][asset] for asset, amount in owed.items())
        threshold = round(10_000 * one["health"] * debt / worth) if debt and worth else 8_000
        yield {
            "position": name,
            "account": name,
            "from": one["at"],
            "to": last,
            "collaterals": [
                {
                    "asset": asset,
                    "amount": f"{amount:.12f}",
                    "liquidation_threshold_bps": max(1, min(threshold, _MOST_BPS)),
                }
                for asset, amount in held.items()
            ],
            "debts": [{"asset": asset, "amount": f"{amount:.12f}"} for asset, amount in owed.items()],
            "borrow_rates": {},
        }


def _same(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return before.keys() == after.keys() and all(abs(after[one] / before[one] - 1) < _CHANGED for one in after)

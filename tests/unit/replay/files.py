"""Files of a replay, stating only what matters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keeper.replay.history import History, read_history
from keeper.replay.positions import Track, read_positions

START = 1_700_000_100  # the beginning of a bar


def prices_file(folder: Path, rows: Iterable[tuple[int, str, object]]) -> Path:
    file = folder / "prices.csv"
    file.write_text("timestamp,asset,price\n" + "".join(f"{at},{asset},{price}\n" for at, asset, price in rows))
    return file


def position(
    name: str = "p",
    *,
    collateral: Sequence[tuple[str, object]] = (("ETH", 1),),
    debt: Sequence[tuple[str, object]] = (("USD", 100),),
    start: int = START,
    to: int = START + 10**6,
    threshold_bps: int = 8000,
    rates: dict[str, str] | None = None,
) -> dict[str, Any]:
    held = [
        {"asset": asset, "amount": str(amount), "liquidation_threshold_bps": threshold_bps}
        for asset, amount in collateral
    ]
    owed = [{"asset": asset, "amount": str(amount)} for asset, amount in debt]
    row = {"position": name, "account": "0x" + "a1" * 20, "from": start, "to": to, "collaterals": held, "debts": owed}
    return {**row, "borrow_rates": rates or {}}


def positions_file(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file = folder / "positions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def read(
    folder: Path, prices: Iterable[tuple[int, str, object]], positions: Iterable[dict[str, Any]]
) -> tuple[History, list[Track]]:
    history = read_history(prices_file(folder, prices), silent)
    return history, read_positions(positions_file(folder, positions), history.assets)


def silent(what: str, done: int, of: int) -> None:
    pass

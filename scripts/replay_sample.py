"""A small history to try `keeper replay` on, made up by a seeded generator: nothing in it is recorded.

    .venv/bin/python scripts/replay_sample.py var/sample
    .venv/bin/keeper replay --prices var/sample/prices.csv --positions var/sample/positions.jsonl

Forty days by ten minutes: a calm month, a nervous week, a crash of a third within four hours, and what follows. ETH is
wild, stETH follows it closely, USDC trembles around a dollar. The positions begin at healths from 1.04 to 2.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEED = 20
START = 1_704_067_200
STEP_S = 600
DAY_STEPS = 86_400 // STEP_S
DAYS = 40
CRASH_FROM, CRASH_TO = 31.0, 31.15  # days
FALL = 0.7  # what the crash leaves
HEALTHS = (1.04, 1.08, 1.12, 1.16, 1.22, 1.3, 1.4, 1.6, 2.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where prices.csv and positions.jsonl are written")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    prices, positions = write(folder)
    print(f"wrote {prices} and {positions}")
    return 0


def write(folder: Path) -> tuple[Path, Path]:
    prices, positions = folder / "prices.csv", folder / "positions.jsonl"
    rows = list(price_rows())
    prices.write_text("timestamp,asset,price\n" + "".join(f"{at},{asset},{price}\n" for at, asset, price in rows))
    positions.write_text("".join(json.dumps(row) + "\n" for row in position_rows()))
    return prices, positions


def price_rows() -> Iterator[tuple[int, str, str]]:
    chance = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    log, ratio = math.log(2_000), 0.0
    for step in range(DAYS * DAY_STEPS + 1):
        day = step / DAY_STEPS
        crashing = CRASH_FROM <= day < CRASH_TO
        sigma_day = 0.12 if crashing else 0.05 if 24 <= day < CRASH_FROM or day >= CRASH_TO else 0.022
        drift = math.log(FALL) / ((CRASH_TO - CRASH_FROM) * DAY_STEPS) if crashing else 0.0
        log += drift + chance.gauss(0, sigma_day / math.sqrt(DAY_STEPS))
        ratio = 0.98 * ratio + chance.gauss(0, 0.0004)
        at = START + step * STEP_S
        yield at, "ETH", f"{math.exp(log):.4f}"
        yield at, "stETH", f"{math.exp(log + ratio) * 0.999:.4f}"
        yield at, "USDC", f"{1 + chance.gauss(0, 0.0005):.6f}"


def position_rows() -> Iterator[dict[str, Any]]:
    first = {asset: float(price) for at, asset, price in price_rows() if at == START}
    mixes = (("ETH", 8_300, "USDC"), ("USDC", 7_800, "ETH"), ("stETH", 9_300, "ETH"))
    for collateral, threshold_bps, debt in mixes:
        for health in HEALTHS:
            held = 10_000 / first[collateral]
            owed = 10_000 * threshold_bps / 10_000 / health / first[debt]
            yield {
                "position": f"{collateral}-{debt}-{health:g}",
                "account": "0x" + "5a" * 20,
                "from": START,
                "to": START + DAYS * 86_400,
                "collaterals": [
                    {"asset": collateral, "amount": f"{held:.12f}", "liquidation_threshold_bps": threshold_bps}
                ],
                "debts": [{"asset": debt, "amount": f"{owed:.12f}"}],
                "borrow_rates": {debt: "0.03"},
            }


if __name__ == "__main__":
    sys.exit(main())

"""Where lines are chosen and where they are judged: windows of recorded prices, and positions made up for them.

Nobody knows who held what, so positions are made up alike in every window: each mix of assets at 48 healths, spread
evenly from 1.02 to 1.10 (which begin below most lines) and from 1.105 to 1.36, and 1.40, 1.50, 1.60. Debts pay 4 % a
year. A window is `cold` when its prices begin with the positions, as in a replay of one day, and `warm` when the month
before is known as well, as to a daemon.

Settings were settled on the windows of `CHOOSE` and `CHECK`, and the form of the rule was explored on most of both.
`FRESH` were not looked at before the settings stood, and were taken by rule: on either series of hours the six
deepest falls over a day that are more than eight days away from every crash above, the calmest months that overlap
none above (less than 2.6 % a day), the one month of rounds that is left, and each day of 2025 that is recorded
(docs/volatility.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.calibratelib.series import Row, Series, unix

DAY_S = 86_400
WARM_S = 30 * DAY_S
HEALTHS = (
    *(1.02 + 0.08 * step / 8 for step in range(9)),
    *(1.105 + 0.255 * step / 35 for step in range(36)),
    1.40,
    1.50,
    1.60,
)
THRESHOLD_BPS = 8_000

Mix = tuple[Mapping[str, float], Mapping[str, float]]  # shares of the collateral, and of the debt, by asset

_CRYPTO: Sequence[Mix] = (
    ({"WETH": 1.0}, {"USDC": 1.0}),
    ({"WBTC": 1.0}, {"USDT": 1.0}),
    ({"LINK": 1.0}, {"DAI": 1.0}),
    ({"WETH": 0.5, "WBTC": 0.5}, {"USDC": 1.0}),
    ({"WETH": 0.6, "USDC": 0.4}, {"DAI": 1.0}),
    ({"WBTC": 1.0}, {"WETH": 1.0}),
)
_PEGGED: Sequence[Mix] = (({"USDC": 1.0}, {"USDT": 1.0}), ({"DAI": 0.5, "USDT": 0.5}, {"USDC": 1.0}))
_ETH: Sequence[Mix] = (({"ETH": 1.0}, {"USD": 1.0}), ({"USD": 1.0}, {"ETH": 1.0}))
_BTC: Sequence[Mix] = (({"BTC": 1.0}, {"USD": 1.0}),)
_BOTH: Sequence[Mix] = (*_ETH, *_BTC, ({"ETH": 0.5, "BTC": 0.5}, {"USD": 1.0}), ({"BTC": 1.0}, {"ETH": 1.0}))
_USDC: Sequence[Mix] = (({"USDC": 1.0}, {"USD": 1.0}), ({"USD": 1.0}, {"USDC": 1.0}))


@dataclass(frozen=True)
class Window:
    """kind: crash week | worst day | calm month | wild month | pegged. oracle: thinned as a price feed would."""

    series: str
    begin: str
    days: float
    kind: str
    mixes: Sequence[Mix]
    oracle: bool = False

    @property
    def name(self) -> str:
        return f"{self.series} {self.begin}" + (" (oracle)" if self.oracle else "")


def _around(series: str, mixes: Sequence[Mix], *days: str) -> list[Window]:
    """A week around each of these days, and the day itself with the evening before."""
    found = []
    for day in days:
        noon = unix(day)
        found.append(Window(series, str(noon - 3 * DAY_S), 7, "crash week", mixes))
        found.append(Window(series, str(noon - DAY_S // 2), 1.6, "worst day", mixes))
    return found


def _months(series: str, kind: str, mixes: Sequence[Mix], *begins: str) -> list[Window]:
    return [Window(series, begin, 30, kind, mixes) for begin in begins]


CHOOSE: Sequence[Window] = (
    *_around("hourly", _CRYPTO, "2021-01-11", "2021-05-19", "2021-02-22", "2021-09-07", "2021-12-04"),
    *_around("bitcoin", _BTC, "2018-11-19", "2019-06-27", "2018-09-05", "2019-09-24"),
    Window("january 2021", "2021-01-10T12:00:00", 1.6, "worst day", _ETH),
    Window("january 2021", "2021-01-10T12:00:00", 1.6, "worst day", _ETH, oracle=True),
    Window("january 2021", "2021-01-02", 28, "wild month", _ETH, oracle=True),
    Window("day 09-05-2020", "", 1, "worst day", _ETH),
    Window("day 01-21-2021", "", 1, "worst day", _ETH),
    *_months("rounds", "calm month", _BOTH, "2023-04-06", "2023-06-06", "2023-09-01", "2023-11-01"),
    *_months("bitcoin", "calm month", _BTC, "2018-10-01", "2019-03-01", "2020-07-01"),
    *_months("hourly", "wild month", _CRYPTO, "2021-10-10", "2022-03-05"),
    *_months("hourly", "pegged", _PEGGED, "2022-03-05", "2022-09-15", "2021-08-01"),
    Window("usdc no_depeg_2", "", 3, "pegged", _USDC),
    Window("usdc normal_depeg_1", "", 3, "pegged", _USDC),
)
CHECK: Sequence[Window] = (
    *_around("hourly", _CRYPTO, "2022-06-13", "2022-05-11", "2022-11-09", "2022-01-21", "2021-04-18", "2021-06-21"),
    *_around("bitcoin", _BTC, "2020-03-12", "2020-05-10", "2018-11-25", "2021-02-23"),
    Window("august 2023", "2023-08-13T12:00:00", 5, "crash week", _ETH[:1]),
    Window("august 2023", "2023-08-13T12:00:00", 5, "crash week", _ETH[:1], oracle=True),
    Window("rounds", "2023-08-10", 10, "crash week", _BOTH),
    Window("january 2021", "2021-01-21", 1.6, "worst day", _ETH),
    Window("january 2021", "2021-01-03T12:00:00", 2, "worst day", _ETH, oracle=True),
    Window("january 2022", "2022-01-20T18:00:00", 2, "worst day", _BTC),
    Window("january 2022", "2022-01-02", 29, "wild month", _BTC, oracle=True),
    Window("day 01-11-2021", "", 1, "worst day", _ETH),
    Window("day 02-22-2021", "", 1, "worst day", _ETH),
    Window("day 06-21-2021", "", 1, "worst day", _ETH),
    *_months("rounds", "calm month", _BOTH, "2023-05-06", "2023-07-06", "2023-10-01", "2023-12-01"),
    *_months("bitcoin", "calm month", _BTC, "2019-01-15", "2020-01-20", "2020-10-01"),
    *_months("hourly", "calm month", _CRYPTO, "2022-12-01", "2023-01-01"),
    *_months("hourly", "wild month", _CRYPTO, "2022-07-20", "2022-09-15"),
    *_months("hourly", "pegged", _PEGGED, "2022-07-20", "2022-12-01", "2021-10-10"),
    Window("usdc no_depeg_1", "", 13, "pegged", _USDC),
    Window("usdc no_depeg_3", "", 3, "pegged", _USDC),
    Window("usdc normal_depeg_2", "", 3, "pegged", _USDC),
    Window("usdc normal_depeg_3", "", 3, "pegged", _USDC),
)
FRESH: Sequence[Window] = (
    *_around("hourly", _CRYPTO, "2021-06-08", "2022-02-24", "2022-08-19", "2022-01-06", "2021-09-21", "2022-09-19"),
    *_around("bitcoin", _BTC, "2019-07-17", "2020-11-26", "2019-06-04", "2018-08-08", "2019-05-17", "2018-12-07"),
    *(
        Window(f"gmx {day}", "", 1, "worst day", _ETH)
        for day in ("2025-01-08", "2025-11-11", "2025-12-11", "2025-12-15")
    ),
    Window("rounds", "2024-01-01", 28.5, "calm month", _BOTH),
    *_months("bitcoin", "calm month", _BTC, "2020-08-03", "2019-12-07", "2019-04-07", "2019-08-25", "2020-06-01"),
    *_months("bitcoin", "calm month", _BTC, "2018-08-28"),
    *_months("hourly", "calm month", _CRYPTO, "2022-04-04"),
    *_months("hourly", "wild month", _CRYPTO, "2021-03-17", "2021-11-09"),
    *_months("hourly", "pegged", _PEGGED, "2022-04-04", "2021-03-17", "2021-12-21"),
)


def write(window: Window, series: Series, folder: Path, *, warm: bool) -> tuple[Path, Path]:
    """The two files of a replay."""
    shown = series.as_an_oracle() if window.oracle else series
    wanted = {asset for mix in window.mixes for side in mix for asset in side}
    begin = _begin(window, shown)
    end = begin + int(window.days * DAY_S)
    rows = [row for row in shown.between(begin - (WARM_S if warm else 0), end) if row[1] in wanted]
    opening = _opening(shown, begin, wanted)
    if not warm:
        rows = [(begin, asset, price) for asset, price in opening.items()] + [row for row in rows if row[0] > begin]
    elif rows:
        rows = [(rows[0][0], asset, price) for asset, price in _opening(shown, rows[0][0], wanted).items()] + rows
    prices, positions = folder / "prices.csv", folder / "positions.jsonl"
    prices.write_text("timestamp,asset,price\n" + "".join(f"{at},{asset},{price}\n" for at, asset, price in rows))
    made = (
        _position(f"{number}-{health:.4f}", mix, health, opening, begin, end)
        for number, mix in enumerate(window.mixes)
        for health in HEALTHS
    )
    positions.write_text("".join(json.dumps(row) + "\n" for row in made))
    return prices, positions


def _begin(window: Window, series: Series) -> int:
    text = window.begin
    wanted = series.rows[0][0] if not text else int(text) if text.isdigit() else unix(text)
    return max(wanted, series.rows[0][0])


def _opening(series: Series, begin: int, wanted: set[str]) -> dict[str, str]:
    """The prices in force at a moment; of an asset that has none yet, its first."""
    found: dict[str, str] = {}
    for at, asset, price in series.rows:
        if asset in wanted and (at <= begin or asset not in found):
            found[asset] = price
        if at > begin and len(found) == len(wanted):
            break
    return found


def _position(name: str, mix: Mix, health: float, opening: Mapping[str, str], begin: int, end: int) -> dict[str, Any]:
    """Collateral worth 1000 at the opening prices, and debt for this health."""
    held, owed = mix
    debt = 1000 * THRESHOLD_BPS / 10_000 / health
    return {
        "position": name,
        "account": "0x" + "00" * 20,
        "from": begin,
        "to": end,
        "collaterals": [
            {
                "asset": asset,
                "amount": f"{1000 * share / float(opening[asset]):.12f}",
                "liquidation_threshold_bps": THRESHOLD_BPS,
            }
            for asset, share in held.items()
        ],
        "debts": [
            {"asset": asset, "amount": f"{debt * share / float(opening[asset]):.12f}"} for asset, share in owed.items()
        ],
        "borrow_rates": dict.fromkeys(owed, "0.04"),
    }


__all__ = ["CHECK", "CHOOSE", "DAY_S", "FRESH", "Row", "Window", "write"]

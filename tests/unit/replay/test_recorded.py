"""The shipped lines on recorded prices, where those are at hand: what is reported in docs/volatility.md, in part.

The report of each test is printed (`pytest -s`). The whole of it: scripts/calibrate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import rule_of, settings_of
from keeper.replay.engine import replay
from keeper.replay.history import read_history
from keeper.replay.outcome import Outcome, summary
from keeper.replay.positions import read_positions
from scripts.calibratelib import borrowers
from scripts.calibratelib.series import Series, load
from scripts.calibratelib.windows import CHECK, Window, write
from tests.support.recorded import recorded
from tests.unit.replay.files import silent

SHIPPED = MarginCalls.model_validate({})


@pytest.fixture(scope="module")
def series() -> dict[str, Series]:
    return dict(load(recorded("prices").parent))


def replayed(files: tuple[Path, Path]) -> list[Outcome]:
    history = read_history(files[0], silent)
    return replay(history, read_positions(files[1], history.assets), rule_of(SHIPPED), silent)


def report(title: str, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Of positions that began above 1.10, as scripts/calibrate counts."""
    above = [one for one in outcomes if float(one.position.rpartition("-")[2]) > 1.10]
    leads = [one.lead_s or 0 for one in above if one.liquidatable_at is not None]
    months = summary(above, settings_of(SHIPPED))["position_months"] or 1
    found = {
        "breached": len(leads),
        "15 min": sum(lead >= 900 for lead in leads) / max(len(leads), 1),
        "1 hour": sum(lead >= 3600 for lead in leads) / max(len(leads), 1),
        "needless": sum(call.is_needless for one in above for call in one.calls) / months,
        "worst day": max(one.worst_day for one in outcomes),
    }
    print(title, found)
    return found


def windows(kind: str, *names: str) -> list[Window]:
    return [one for one in CHECK if one.kind == kind and one.series in names]


def test_the_crash_of_17_august_2023_on_polygon(series: dict[str, Series], tmp_path: Path) -> None:
    """By the minute, out of the calmest weeks in years, 8 % within an hour."""
    for window in windows("crash week", "august 2023"):
        found = report(window.name, replayed(write(window, series[window.series], tmp_path, warm=False)))
        assert found["15 min"] == 1.0
        assert found["1 hour"] >= 0.75
        assert found["worst day"] <= 4


def test_the_crash_of_november_2022(series: dict[str, Series], tmp_path: Path) -> None:
    window = next(one for one in windows("crash week", "hourly") if one.begin == "1667692800")
    found = report(window.name, replayed(write(window, series["hourly"], tmp_path, warm=True)))
    assert found["breached"] > 100
    assert found["1 hour"] >= 0.97


def test_calm_months_of_real_oracle_rounds(series: dict[str, Series], tmp_path: Path) -> None:
    for window in windows("calm month", "rounds")[:2]:
        found = report(window.name, replayed(write(window, series["rounds"], tmp_path, warm=True)))
        assert found["needless"] <= 0.20


def test_a_dollar_that_trembles_on_an_exchange(series: dict[str, Series], tmp_path: Path) -> None:
    """USDC by quarters of an hour, ±0.3 % from one to the next: nobody is called for it."""
    for window in windows("pegged", "usdc no_depeg_1", "usdc no_depeg_3"):
        outcomes = replayed(write(window, series[window.series], tmp_path, warm=False))
        assert report(window.name, outcomes)["needless"] == 0


def test_real_borrowers_until_they_were_liquidated(series: dict[str, Series], tmp_path: Path) -> None:
    """Three accounts with the balances they had: a breach was called an hour and more ahead, but for those that were
    below their line when prices begin; all were told briefly."""
    outcomes = replayed(borrowers.write(recorded("positions/bhemen"), series["hourly"], tmp_path))
    assert len(outcomes) == 3
    for one in outcomes:
        print(
            one.position, "lowest", round(one.low, 3), "lead (hours)", (one.lead_s or 0) / 3600, len(one.calls), "calls"
        )
        assert one.liquidatable_at is not None
        assert one.began_low or (one.lead_s or 0) >= 3600
        assert one.worst_day <= 4

"""`keeper replay` as interface.md describes it: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from keeper.cli import main
from scripts import replay_sample
from tests.unit.replay.files import START, position, positions_file, prices_file

HOUR = 3600
LINES = '[margin_calls]\ncall = "1.10"\n'


def replayed(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    arguments = ["--prices", str(folder / "prices.csv"), "--positions", str(folder / "positions.jsonl"), "--json"]
    assert main(["replay", *arguments, *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def config(folder: Path, text: str = LINES) -> tuple[str, str]:
    file = folder / "keeper.toml"
    file.write_text(text)
    return "--config", str(file)


def falls(*steps: tuple[float, float]) -> list[tuple[int, str, object]]:
    """Hours after the start, and the price of ETH from then on; 100 gives a health of 1 to a debt of 80."""
    return [(START, "USD", 1)] + [(START + round(hours * HOUR), "ETH", price) for hours, price in steps]


def test_a_line_for_each_position_and_the_summary_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Called below 1.10, urgent below 1.03, liquidatable below 1; then higher than the target again."""
    prices_file(tmp_path, falls((0, 120), (10, 109), (11, 102), (13, 99), (14, 103.5), (20, 130), (30, 131)))
    positions_file(tmp_path, [position(debt=[("USD", 80)], to=START + 40 * HOUR)])
    row, last = replayed(tmp_path, capsys, *config(tmp_path))
    at = {hours: START + hours * HOUR for hours in (0, 10, 11, 13, 14, 20)}
    assert row == {
        "position": "p",
        "liquidatable_at": at[13],
        "called_at": at[10],
        "urgent_at": at[11],
        "lead_s": 3 * HOUR,
        "min_health": 0.99,
        "notices": 4,
        "began_low": False,
        "episodes": [[at[10], at[20], "cured"]],
        "bands": [
            [at[0], "watch"],
            [at[10], "call"],
            [at[11], "urgent"],
            [at[13], "liquidatable"],
            [at[14], "urgent"],
            [at[20], "safe"],
        ],
    }
    summary = last["summary"]
    assert list(last) == ["summary"]
    expected = {
        "positions": 1,
        "breached": 1,
        "called_before_breach": 1,
        "missed": 0,
        "false_calls": 0,
        "needless_calls": 0,
        "lead_s_median": 3 * HOUR,
        "lead_s_p10": 3 * HOUR,
        "called_15m": 1.0,
        "called_1h": 1.0,
        "notices_per_position_day": round(4 / (30 / 24), 6),
        "notices_worst_position_day": 4,
    }
    assert {key: summary[key] for key in expected} == expected
    assert summary["settings"] == {
        "by": "health", "watch": "1.25", "call": "1.1", "urgent": "1.03", "hysteresis": "0.02", "target": "1.25",
    }  # fmt: skip


def test_a_position_that_begins_below_its_line_is_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices_file(tmp_path, falls((0, 108), (5, 99)))
    positions_file(tmp_path, [position(debt=[("USD", 80)])])
    row, last = replayed(tmp_path, capsys, *config(tmp_path))
    assert row["began_low"]
    assert row["episodes"] == [[START, None, None]]
    assert last["summary"]["breached"] == 0
    assert last["summary"]["began_low"]["breached"] == 1


def test_false_and_needless_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """False: cured by prices alone, never below 1.02; not when the owner cured it. Needless: that, or not over."""
    prices_file(tmp_path, falls((0, 120), (10, 109), (20, 130), (30, 108)))
    acted = position("acted", debt=[("USD", 80)])
    repaid = position("acted", debt=[("USD", 60)], start=START + 15 * HOUR)
    near = position("near", debt=[("USD", 85.6)])  # 1.009 at its lowest
    positions_file(tmp_path, [position("alone", debt=[("USD", 80)]), acted, repaid, near])
    *rows, last = replayed(tmp_path, capsys, *config(tmp_path))
    episodes = {row["position"]: row["episodes"] for row in rows}
    assert episodes["alone"] == [[START + 10 * HOUR, START + 20 * HOUR, "cured"], [START + 30 * HOUR, None, None]]
    assert episodes["acted"] == [[START + 10 * HOUR, START + 15 * HOUR, "cured"]]
    assert last["summary"]["false_calls"] == 1
    assert last["summary"]["needless_calls"] == 2


def test_interest_alone_can_breach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A debt of 79 grows by a tenth a year, compounded: it exceeds 80 after 45.9 days."""
    days = [(24 * day, 100) for day in range(80)]
    prices_file(tmp_path, falls(*days))
    positions_file(tmp_path, [position(debt=[("USD", 79)], rates={"USD": "0.1"}, to=START + 10**7)])
    row, _ = replayed(tmp_path, capsys, *config(tmp_path))
    assert row["liquidatable_at"] == START + 46 * 24 * HOUR


def test_rows_of_one_time_apply_together_and_prices_hold_until_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Collateral and debt fall by half at once: nothing happens, whichever row comes first."""
    rows = [(START, "ETH", 100), (START, "BTC", 100), (START + 60, "ETH", 50), (START + 60, "BTC", 50)]
    prices_file(tmp_path, rows)
    positions_file(tmp_path, [position(debt=[("BTC", 0.64)], start=START)])
    row, _ = replayed(tmp_path, capsys, *config(tmp_path))
    assert (row["min_health"], row["episodes"]) == (1.25, [])


def test_repaying_everything_closes_the_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices_file(tmp_path, falls((0, 109), (20, 110)))
    positions_file(tmp_path, [position(debt=[("USD", 80)]), position(debt=[], start=START + 10 * HOUR)])
    row, _ = replayed(tmp_path, capsys, *config(tmp_path))
    assert row["episodes"] == [[START, START + 10 * HOUR, "repaid"]]


def test_without_a_configuration_the_lines_follow_volatility(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices_file(tmp_path, falls((0, 120), (1, 121)))
    positions_file(tmp_path, [position(debt=[("USD", 80)])])
    settings = replayed(tmp_path, capsys)[-1]["summary"]["settings"]
    assert settings["by"] == "both"
    assert settings["volatility"]["probability"] == 0.08


def test_the_sample_tells_a_crash_from_a_calm_month(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that breaches is called an hour ahead, few calls are needless, and the pegged pair is left alone."""
    replay_sample.write(tmp_path)
    *rows, last = replayed(tmp_path, capsys)
    summary = last["summary"]
    assert summary["breached"] >= 5
    assert summary["called_1h"] == 1.0
    assert summary["needless_calls_per_position_month"] < 0.2
    assert summary["notices_worst_position_day"] <= 4
    assert not [row["episodes"] for row in rows if row["position"].startswith("stETH") and row["episodes"]]


def test_a_sweep_names_the_best_for_its_trade_off_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two lines on a history where only the nearer one is quiet: noise that costs nothing is no argument."""
    prices_file(tmp_path, falls((0, 130), (10, 111), (20, 126), (30, 99)))
    positions_file(tmp_path, [position(debt=[("USD", 80)], to=START + 40 * HOUR)])
    chart, by_health = tmp_path / "chart.svg", config(tmp_path, '[margin_calls]\ncall = "1.10"\ntarget = "1.22"\n')
    swept = ("--sweep", "call=1.05,1.15", "--workers", "2", "--chart", str(chart))
    *rows, best = replayed(tmp_path, capsys, *by_health, *swept)
    assert [row["setting"]["label"] for row in rows] == ["as configured", "call 1.05", "call 1.15"]
    assert best["best"]["needless_calls"] == 0
    texts = [text.text or "" for text in ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}text")]
    assert any("(best)" in text for text in texts)


PRICES = "timestamp,asset,price\n1,ETH,100\n1,USD,1\n"
POSITION = json.dumps(position(start=1, to=2))


@pytest.mark.parametrize(
    ("prices", "positions", "said"),
    [
        ("time,asset,price\n1,ETH,100\n", POSITION, "prices.csv:1: the header is 'time,asset,price'"),
        (PRICES + "0,ETH,1\n", POSITION, "prices.csv:4: timestamp 0 comes after 1; sort"),
        (PRICES + "2,ETH,abc\n", POSITION, "prices.csv:4: price 'abc' is no decimal number"),
        (PRICES + "2,ETH,0\n", POSITION, "prices.csv:4: price '0' must be a decimal number above 0"),
        (PRICES + "2,ETH,nan\n", POSITION, "prices.csv:4: price 'nan' must be"),
        (PRICES + "1700000000000,ETH,1\n", POSITION, "divide milliseconds by 1000"),
        (PRICES + "2,ETH\n", POSITION, "prices.csv:4: has 2 fields"),
        ("timestamp,asset,price\n", POSITION, "has a header but no prices"),
        (PRICES, "{", "positions.jsonl:1: is no valid JSON"),
        (PRICES, "", "has no positions"),
        (PRICES, POSITION.replace('"ETH"', '"DOGE"'), "name the asset 'DOGE', which has no prices; there are ETH, USD"),
        (PRICES, POSITION.replace('"amount": "1"', '"amount": "one"'), "amount 'one' in collaterals must be"),
        (PRICES, POSITION.replace("8000", "80000"), "liquidation_threshold_bps is 80000; it must be"),
        (PRICES, POSITION.replace('"from": 1', '"from": 3'), "to (2) is before from (3)"),
        (PRICES, POSITION.replace('"from": 1, ', ""), "'from' is missing"),
        (PRICES, POSITION.replace("{}", '{"USD": "5 %"}'), "borrow rate '5 %' of USD must be a yearly rate"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prices: str, positions: str, said: str
) -> None:
    (tmp_path / "prices.csv").write_text(prices)
    (tmp_path / "positions.jsonl").write_text(positions)
    files = ["--prices", str(tmp_path / "prices.csv"), "--positions", str(tmp_path / "positions.jsonl")]
    assert main(["replay", *files]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told

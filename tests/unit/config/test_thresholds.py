"""From `[margin_calls]` to the rule by which positions are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.config.load import load_margin_calls
from keeper.config.thresholds import rule_of, settings_of
from keeper.core.errors import ConfigError
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules


def written(folder: Path, text: str) -> BandRules | Adaptive:
    file = folder / "keeper.toml"
    file.write_text(text)
    return rule_of(load_margin_calls(file))


def test_without_lines_they_follow_volatility(tmp_path: Path) -> None:
    assert written(tmp_path, "[margin_calls]\naccounts = []\n") == Adaptive()
    assert written(tmp_path, "[chain]\nid = 1\n") == Adaptive()


@pytest.mark.parametrize("line", ['call = "1.10"', 'target = "1.3"', 'by = "health"'])
def test_a_line_that_is_written_holds_for_every_position(tmp_path: Path, line: str) -> None:
    assert isinstance(written(tmp_path, f"[margin_calls]\n{line}\n"), BandRules)


def test_by_both_the_call_that_is_written_is_the_line_by_health(tmp_path: Path) -> None:
    rule = written(
        tmp_path, '[margin_calls]\nby = "both"\ncall = "1.06"\n[margin_calls.volatility]\nhorizon_hours = 24\n'
    )
    assert rule == Adaptive(call=1.06, horizon_s=86_400)


def test_by_probability_there_is_no_line_by_health(tmp_path: Path) -> None:
    assert written(tmp_path, '[margin_calls]\nby = "probability"\n') == Adaptive(call=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('by = "both"\nurgent = "1.02"', "draws urgent from the volatility; remove the key"),
        ('by = "probability"\ncall = "1.1"', "draws call from the volatility"),
        ('call = "1.1"\nvolatility = {probability = 0.1}', "lines by health do not follow the volatility"),
        ("volatility = {probability = 1.5}", "out of range; it must be < 1"),
        ("volatility = {memories_hours = [240.0, 48.0]}", "memories must rise"),
        ('volatility = {widest = "1"}', "widest must be a health from 1.01 to 4"),
        ("volatility = {memory_hours = [1.0]}", "did you mean 'memories_hours'?"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?").replace("[", r"\[")):
        written(tmp_path, f"[margin_calls]\n{text}\n")


def test_settings_are_told_under_the_names_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "keeper.toml"
    file.write_text('[margin_calls]\nby = "both"\n')
    told = settings_of(load_margin_calls(file))
    assert (told["by"], told["call"], told["volatility"]["widest"]) == ("both", "1.09", "1.284")

"""Which settings a sweep compares: the swept keys change, and nothing beside them without being named."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import settings_of
from keeper.core.errors import ConfigError
from keeper.replay.sweep import settings

DOCUMENTED = Path(__file__).parents[3] / "docs/replay.md"


def margin(**written: object) -> MarginCalls:
    return MarginCalls.model_validate(written)


def swept(configured: MarginCalls, *keys: str) -> dict[str, str]:
    """What each setting is called by, by its label."""
    return {label: settings_of(one)["by"] for label, one in settings(keys, configured)}


def test_the_sweep_that_the_documentation_shows_is_one() -> None:
    command = next(line for line in DOCUMENTED.read_text().splitlines() if "--sweep call=" in line)
    words = shlex.split(command)
    keys = [word for word in words[words.index("--sweep") + 1 :] if "=" in word]
    found = list(settings(keys, margin()))
    assert len(found) == 6
    assert found[0][0] == "call 1.06, probability 0.05"
    assert settings_of(found[0][1])["call"] == "1.06"
    assert {settings_of(one)["by"] for _, one in found} == {"both"}


@pytest.mark.parametrize("by", ["health", "both", "probability"])
def test_positions_are_called_by_what_they_were(by: str) -> None:
    """A line that is swept turns nothing off: by health and by volatility it means what it says."""
    key = "volatility.probability=0.05" if by == "probability" else "call=1.06"
    assert set(swept(margin(by=by), key).values()) == {by}


def test_the_shipped_settings_stay_by_both() -> None:
    assert swept(margin(), "call=1.06,1.08") == {"call 1.06": "both", "call 1.08": "both"}
    assert swept(margin(call="1.1"), "call=1.06") == {"call 1.06": "health"}


def test_what_has_no_say_by_the_configured_is_called_by_what_it_has_and_that_is_told() -> None:
    assert swept(margin(), "target=1.3") == {"by health, target 1.3": "health"}
    assert swept(margin(volatility={"probability": 0.05}), "watch=1.4") == {"by health, watch 1.4": "health"}
    assert swept(margin(call="1.1"), "volatility.probability=0.05") == {"by both, probability 0.05": "both"}
    assert swept(margin(by="probability"), "call=1.06") == {"by both, call 1.06": "both"}


def test_lines_that_volatility_draws_are_left_to_it_and_the_call_holds() -> None:
    configured = margin(call="1.12", urgent="1.05", target="1.4")
    ((_, one),) = settings(["volatility.probability=0.05"], configured)
    assert (one.by, settings_of(one)["call"]) == ("both", "1.12")


def test_what_calls_may_be_swept_itself() -> None:
    found = swept(margin(), "by=health,both", "call=1.06")
    assert found == {"by health, call 1.06": "health", "by both, call 1.06": "both"}


def test_keys_that_cannot_hold_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="draws watch from the volatility"):
        list(settings(["watch=1.4", "volatility.probability=0.05"], margin()))

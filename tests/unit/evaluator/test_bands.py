"""Bands of a health factor, by themselves and inside an open episode."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import ConfigError
from keeper.core.types import Band, Health
from keeper.core.units import WAD
from tests.unit.evaluator.builders import RULES, UNPRICED, health, wad


@pytest.mark.parametrize(
    ("factor", "band"),
    [
        (None, Band.SAFE),
        ("1.25", Band.SAFE),
        ("1.249999999999999999", Band.WATCH),
        ("1.1", Band.WATCH),
        ("1.099999999999999999", Band.CALL),
        ("1.03", Band.CALL),
        ("1.029999999999999999", Band.URGENT),
        ("1", Band.URGENT),
        ("0.999999999999999999", Band.LIQUIDATABLE),
    ],
)
def test_a_band_begins_strictly_below_its_threshold(factor: str | None, band: Band) -> None:
    """At the threshold itself the position is still in the better band, to the last wei."""
    assert RULES.band(health(factor)) is band


def test_the_protocols_flag_decides_what_is_liquidatable() -> None:
    """A protocol that liquidates at exactly 1 says so itself; a paused one below 1 leaves the position urgent."""
    assert RULES.band(health("1", liquidatable=True)) is Band.LIQUIDATABLE
    assert RULES.band(health("0.9", liquidatable=False)) is Band.URGENT


def test_without_a_price_the_band_is_unknown_and_an_open_one_is_kept() -> None:
    """Nobody can tell: nothing moves."""
    assert RULES.band(UNPRICED) is None
    assert RULES.held(Band.URGENT, UNPRICED) is Band.URGENT
    assert RULES.held(None, UNPRICED) is None


@pytest.mark.parametrize(
    ("present", "factor", "band"),
    [
        (Band.CALL, "1.119999999999999999", Band.CALL),
        (Band.CALL, "1.12", Band.WATCH),
        (Band.URGENT, "1.049999999999999999", Band.URGENT),
        (Band.URGENT, "1.05", Band.CALL),
        (Band.URGENT, "1.13", Band.WATCH),
        (Band.LIQUIDATABLE, "1.019999999999999999", Band.LIQUIDATABLE),
        (Band.LIQUIDATABLE, "1.02", Band.URGENT),
        (Band.LIQUIDATABLE, "1.11", Band.CALL),
        (Band.WATCH, "1.11", Band.WATCH),
        (Band.WATCH, "1.0", Band.URGENT),
        (Band.CALL, "0.5", Band.LIQUIDATABLE),
        (Band.CALL, "9", Band.WATCH),
    ],
)
def test_a_band_of_an_episode_is_left_upward_only_past_the_hysteresis(present: Band, factor: str, band: Band) -> None:
    """Deeper at once; upward at threshold + hysteresis, into whichever band has not been left yet."""
    assert RULES.held(present, health(factor)) is band


@given(present=st.sampled_from([Band.WATCH, Band.CALL, Band.URGENT, Band.LIQUIDATABLE]), factor=st.integers(0, 2 * WAD))
def test_a_held_band_stays_when_judged_again(present: Band, factor: int) -> None:
    """Holding is idempotent, and never less deep than the health by itself (an episode is watched at least)."""
    found = Health(factor, factor < WAD, 1, 1)
    held, plain = RULES.held(present, found), RULES.band(found)
    assert held is not None and plain is not None
    assert RULES.held(held, found) is held
    assert held >= max(plain, Band.WATCH)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"call_wad": wad("1.3")}, "call 1.3"),
        ({"urgent_wad": wad("1.1")}, "urgent 1.1"),
        ({"urgent_wad": WAD}, "urgent 1 "),
        ({"hysteresis_wad": 0}, "hysteresis 0"),
        ({"target_wad": wad("1.119")}, "1.12"),
    ],
)
def test_thresholds_out_of_order_are_refused_by_name(changes: dict[str, int], named: str) -> None:
    """The message carries the value that is wrong, or the limit it misses."""
    with pytest.raises(ConfigError, match=named):
        replace(RULES, **changes)


def test_an_episode_closes_within_the_target_band_and_never_below_the_call_band() -> None:
    """An owner who did what was demanded is cured although interest took a little of the target meanwhile."""
    assert RULES.closes_wad == wad("1.23")
    assert replace(RULES, target_wad=wad("1.12")).closes_wad == wad("1.12")

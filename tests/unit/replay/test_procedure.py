"""Prices that cross lines hundreds of times tell exactly what the procedure allows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from keeper.core.types import Band
from keeper.core.units import WAD
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.replay.engine import replay
from tests.unit.evaluator.builders import RULES
from tests.unit.replay.files import START, position, read, silent


def oscillating(seed: int, lines: list[float], crossings: int) -> list[float]:
    """Healths that cross a line, tremble on it, and go on to another."""
    chance, healths = random.Random(seed), [1.4]
    for _ in range(crossings):
        line = chance.choice(lines)
        healths += [line + chance.choice((-1, 1)) * chance.choice((1e-9, 1e-4, 0.004, 0.02)) for _ in range(8)]
    return healths


def allowed(healths: list[float], rules: BandRules) -> list[tuple[int, str]]:
    """The procedure in plain words: one notice when a call opens, one for each deeper band it reaches for the first
    time, one when it is cured; whatever happens in between is silence."""
    told: list[tuple[int, str]] = []
    deepest: Band | None = None
    for place, health in enumerate(healths):
        band = next(
            (one for one in (Band.LIQUIDATABLE, Band.URGENT, Band.CALL) if health < rules.enters_below_wad(one) / WAD),
            None,
        )
        if band is not None and (deepest is None or band > deepest):
            told.append((place, "opened" if deepest is None else "escalated"))
            deepest = band
        elif deepest is not None and health >= rules.closes_wad / WAD:
            told.append((place, "cured"))
            deepest = None
    return told


@pytest.mark.parametrize("seed", range(8))
def test_hundreds_of_crossings_tell_what_the_procedure_allows(seed: int, tmp_path: Path) -> None:
    """By health: 300 visits to the lines, 8 crossings each; every notice, at its moment, and no other."""
    lines = [line / WAD for line in (WAD, RULES.urgent_wad, RULES.call_wad, RULES.closes_wad, RULES.watch_wad)]
    healths = oscillating(seed, lines, 300)
    prices = [(START + 60 * place, "ETH", f"{100 * health:.12f}") for place, health in enumerate(healths)]
    owed = position(debt=[("USD", 80)], to=START + 60 * len(healths))
    history, tracks = read(tmp_path, [(START, "USD", 1), *prices], [owed])
    (outcome,) = replay(history, tracks, RULES, silent)
    expected = allowed(healths, RULES)
    assert outcome.notices == [START + 60 * place for place, _ in expected]
    assert 20 < len(expected) < len(healths) / 10


@pytest.mark.parametrize("seed", range(4))
def test_an_asset_that_trembles_on_its_line_is_told_once(seed: int, tmp_path: Path) -> None:
    """By volatility, within one day: the line moves with what it sees, and a tremble of 1 % is told once."""
    chance, rule = random.Random(seed), Adaptive()
    line = rule.presumed.call_wad / WAD
    healths = [1.2, *(line * (1 + chance.uniform(-0.01, 0.01)) for _ in range(1400))]
    prices = [(START + 60 * place, "ETH", f"{100 * health:.12f}") for place, health in enumerate(healths)]
    history, tracks = read(tmp_path, [(START, "USD", 1), *prices], [position(debt=[("USD", 80)])])
    (outcome,) = replay(history, tracks, rule, silent)
    assert len(outcome.notices) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_day_of_any_prices_tells_a_position_at_most_four_times(seed: int, tmp_path: Path) -> None:
    """By volatility: a wild day wanders over all lines; opened, urgent, liquidatable, and perhaps cured."""
    chance, health = random.Random(seed), 1.25
    prices: list[tuple[int, str, object]] = [(START - START % 86_400, "USD", 1)]
    for minute in range(1440):
        health *= 1 + chance.gauss(0, 0.004)
        prices.append((START - START % 86_400 + 60 * minute, "ETH", f"{100 * health:.9f}"))
    owed = position(debt=[("USD", 80)], start=prices[0][0])
    history, tracks = read(tmp_path, prices, [owed])
    (outcome,) = replay(history, tracks, Adaptive(), silent)
    assert outcome.worst_day <= 4
